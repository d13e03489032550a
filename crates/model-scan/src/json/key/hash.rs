//! Keys with the hash of `model`, in readers that compare the hashes of keys only.

/// The hashes of a key, as readers compute them while they read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    jsoniter: Fnv<{ Jsoniter::PRIME }>,
    /// Of the key in lower case.
    jsoniter_lower: Fnv<{ Jsoniter::PRIME }>,
    fastjson: Fnv<{ Fastjson::PRIME }>,
    /// Of the key in lower case, without `_` and `-`.
    fastjson_lower: Fnv<{ Fastjson::PRIME }>,
    /// The same without spaces too.
    fastjson_spaceless: Fnv<{ Fastjson::PRIME }>,
}

/// The struct decoder of json-iterator/go: `readFieldHash` and `calcHash` in `iter_object.go`. It
/// hashes UTF-8 bytes into 64 bits, but with the constants of 32-bit FNV.
struct Jsoniter;

impl Jsoniter {
    const BASIS: u64 = 0x811c_9dc5;
    const PRIME: u64 = 0x0100_0193;
    /// The hash of `model`.
    const MODEL: u64 = Fnv::<{ Self::PRIME }>(Self::BASIS).with_ascii(b"model").0;
}

/// fastjson and fastjson2: `hashCode64` and `hashCode64LCase` in `util/Fnv.java`. They hash UTF-16
/// units.
struct Fastjson;

impl Fastjson {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    /// The hashes of `model`: names of up to eight characters are no hashes but the bytes
    /// themselves, in either order, except in fastjson and when told to (`MIXED_HASH_ALGORITHM`).
    const MODEL: [u64; 3] = [
        u64::from_le_bytes(*b"model\0\0\0"),
        u64::from_be_bytes(*b"\0\0\0model"),
        Fnv::<{ Self::PRIME }>(Self::BASIS).with_ascii(b"model").0,
    ];
}

/// FNV-1a with 64 bits and this prime.
#[derive(Clone, Copy, Debug)]
struct Fnv<const PRIME: u64>(u64);

impl<const PRIME: u64> Fnv<PRIME> {
    const fn with(self, unit: u16) -> Self {
        Self((self.0 ^ unit as u64).wrapping_mul(PRIME))
    }

    const fn with_ascii(mut self, mut text: &[u8]) -> Self {
        while let Some((&byte, rest)) = text.split_first() {
            self = self.with(byte as u16);
            text = rest;
        }
        self
    }

    fn push(&mut self, unit: u16) {
        *self = self.with(unit);
    }
}

impl Default for Hashes {
    fn default() -> Self {
        Self {
            jsoniter: Fnv(Jsoniter::BASIS),
            jsoniter_lower: Fnv(Jsoniter::BASIS),
            fastjson: Fnv(Fastjson::BASIS),
            fastjson_lower: Fnv(Fastjson::BASIS),
            fastjson_spaceless: Fnv(Fastjson::BASIS),
        }
    }
}

impl Hashes {
    #[inline]
    pub(super) fn push(&mut self, c: char) {
        for &byte in c.encode_utf8(&mut [0; 4]).as_bytes() {
            self.jsoniter.push(byte.into());
            self.jsoniter_lower.push(byte.to_ascii_lowercase().into());
        }
        let lower = c.to_ascii_lowercase();
        for (&mut unit, &mut lower) in c
            .encode_utf16(&mut [0; 2])
            .iter_mut()
            .zip(lower.encode_utf16(&mut [0; 2]))
        {
            self.fastjson.push(unit);
            if !matches!(c, '_' | '-') {
                self.fastjson_lower.push(lower);
            }
            if !matches!(c, '_' | '-' | ' ') {
                self.fastjson_spaceless.push(lower);
            }
        }
    }

    /// Returns the hashes of a key of ASCII characters, and the number of those that are not `_`,
    /// `-` or a space.
    pub(super) fn of_ascii(key: &[u8]) -> (Self, usize) {
        let mut hashes = Self::default();
        let mut kept = 0;
        for &byte in key {
            let [unit, lower] = [byte, byte.to_ascii_lowercase()].map(u16::from);
            hashes.jsoniter.push(unit);
            hashes.jsoniter_lower.push(lower);
            hashes.fastjson.push(unit);
            if !matches!(byte, b'_' | b'-') {
                hashes.fastjson_lower.push(lower);
                if byte != b' ' {
                    hashes.fastjson_spaceless.push(lower);
                    kept += 1;
                }
            }
        }
        (hashes, kept)
    }

    /// Returns whether one is that of `model`.
    pub(super) fn collide(&self) -> bool {
        let jsoniter = [self.jsoniter.0, self.jsoniter_lower.0];
        let fastjson = [
            self.fastjson.0,
            self.fastjson_lower.0,
            self.fastjson_spaceless.0,
        ];
        jsoniter.contains(&Jsoniter::MODEL)
            || fastjson.iter().any(|it| Fastjson::MODEL.contains(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collides(key: &str) -> bool {
        let mut hashes = Hashes::default();
        key.chars().for_each(|c| hashes.push(c));
        assert_eq!(
            hashes.collide(),
            Hashes::of_ascii(key.as_bytes()).0.collide()
        );
        hashes.collide()
    }

    #[test]
    fn known_collisions_are_found() {
        for key in [
            "model",
            // jsoniter, in either case.
            "-655e|!)j$(|z&/0",
            // fastjson2.
            "65_5_lf($>7%7?$x",
            // By their lower case, and without what is dropped.
            "MODEL",
            "mo-d_el",
        ] {
            assert!(collides(key), "{key}");
        }
        for key in ["", "models", "temperature", "655_lf($>7%7?$x"] {
            assert!(!collides(key), "{key}");
        }
    }
}
