//! Compares top-level keys with the target key.

mod hash;
mod similar;

#[cfg(any(test, feature = "oracle"))]
pub(super) use self::similar::is_dropped;
use self::{
    hash::Hashes,
    similar::{MODEL, Similar},
};

/// The result of comparing a key with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMatch {
    /// Another key.
    Different,
    /// A key that some readers take for the target.
    Ambiguous,
    /// Equal.
    Exact,
}

/// The key that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The `model` of a request: keys that some readers take for it are ambiguous.
    Model,
    /// This key of a response: all other keys are different.
    Exactly(&'static str),
}

impl Target {
    #[inline(always)]
    fn name(self) -> &'static [u8] {
        match self {
            Self::Model => b"model",
            Self::Exactly(name) => name.as_bytes(),
        }
    }
}

/// Keys that some readers replace by the members of their value, or by another value.
const SPECIAL: [&[u8]; 4] = [
    // YAML's merge key, which Ruby's Psych reads in JSON too.
    b"<<",
    // JavaScript's prototypes.
    b"__proto__",
    // References of Newtonsoft.Json.
    b"$id",
    b"$ref",
];

/// Common parameters, which no reader takes for `model`, as a test checks. Most keys are among them,
/// so that few are hashed.
const COMMON: [&[u8]; 22] = [
    b"messages",
    b"stream",
    b"temperature",
    b"max_tokens",
    b"top_p",
    b"stop",
    b"user",
    b"stream_options",
    b"tools",
    b"tool_choice",
    b"n",
    b"seed",
    b"input",
    b"prompt",
    b"response_format",
    b"max_completion_tokens",
    b"frequency_penalty",
    b"presence_penalty",
    b"parallel_tool_calls",
    b"reasoning_effort",
    b"logit_bias",
    b"metadata",
];

/// The number of bytes of a key that are kept: enough for the longest target and special key.
const KEPT: usize = 10;

/// A comparison of a key with the target while the key is decoded, so that no key is collected.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyMatcher {
    /// The first bytes of the decoded key.
    head: [u8; KEPT],
    /// The length of the decoded key; saturates.
    len: usize,
    /// Whether a printable ASCII character is spelled by a `\u` escape.
    ///
    /// Some readers compare keys before they unescape them (simdjson on demand), and others match
    /// an escaped prefix of the target (goccy/go-json).
    escaped: bool,
    similar: Similar,
    hashes: Hashes,
}

impl KeyMatcher {
    /// Compares the next character of the key.
    pub(super) fn push(&mut self, decoded: char, unicode_escape: bool) {
        for &byte in decoded.encode_utf8(&mut [0; 4]).as_bytes() {
            if let Some(place) = self.head.get_mut(self.len) {
                *place = byte;
            }
            self.len = self.len.saturating_add(1);
        }
        self.escaped |= unicode_escape && matches!(decoded, ' '..='~');
        self.similar.push(decoded);
        self.hashes.push(decoded);
    }

    /// Returns the result at the end of the key.
    pub(super) fn finish(&self, target: Target) -> KeyMatch {
        let key = self.head.get(..self.len).unwrap_or_default();
        let is_exact = key == target.name() && self.len > 0;
        match target {
            Target::Exactly(_) if is_exact => KeyMatch::Exact,
            Target::Exactly(_) => KeyMatch::Different,
            Target::Model if self.escaped => KeyMatch::Ambiguous,
            Target::Model if is_exact => KeyMatch::Exact,
            Target::Model
                if self.similar.is_target() || self.hashes.collide() || SPECIAL.contains(&key) =>
            {
                KeyMatch::Ambiguous
            }
            Target::Model => KeyMatch::Different,
        }
    }
}

/// Compares a whole key of ASCII characters without escapes and control characters.
#[inline(always)]
pub(super) fn compare_key(key: &[u8], target: Target) -> KeyMatch {
    if key == target.name() {
        return KeyMatch::Exact;
    }
    match target {
        Target::Exactly(_) => KeyMatch::Different,
        Target::Model if COMMON.contains(&key) => KeyMatch::Different,
        Target::Model => compare_ascii(key),
    }
}

/// Compares in one loop what `KeyMatcher` compares by character.
fn compare_ascii(key: &[u8]) -> KeyMatch {
    let (hashes, kept) = Hashes::of_ascii(key);
    if kept != MODEL.len() && !hashes.collide() && !SPECIAL.contains(&key) {
        return KeyMatch::Different;
    }
    let mut matcher = KeyMatcher::default();
    for &byte in key {
        matcher.push(byte.into(), false);
    }
    matcher.finish(Target::Model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_match(key: &str) -> KeyMatch {
        let mut matcher = KeyMatcher::default();
        for c in key.chars() {
            matcher.push(c, false);
        }
        let found = matcher.finish(Target::Model);
        if key.bytes().all(|byte| matches!(byte, b' '..=0x7f)) {
            assert_eq!(compare_key(key.as_bytes(), Target::Model), found, "{key}");
        }
        found
    }

    #[test]
    fn common_keys_are_different() {
        for key in COMMON {
            assert_eq!(compare_ascii(key), KeyMatch::Different);
        }
    }

    #[test]
    fn other_keys_are_different() {
        for key in [
            "",
            "mode",
            "models",
            "modelmodel",
            "xmodel",
            "mödel",
            "modeĬ",
            "mo.del",
            "messages",
            "max_tokens",
            "$idx",
            "<<<",
            "__proto",
            "proto",
            "id",
            "a\0b",
            "mode\0s",
        ] {
            assert_eq!(key_match(key), KeyMatch::Different, "{key}");
        }
    }

    #[test]
    fn keys_that_readers_take_for_the_target_are_ambiguous() {
        assert_eq!(key_match("model"), KeyMatch::Exact);
        for key in [
            "Model",
            "MODEL",
            "modeL",
            "_model",
            "mo-del",
            "model_",
            "__mo--del",
            "Mo_Del",
            " model",
            "model\t",
            "\u{a0}model",
            "mod\u{ad}el",
            "model\u{feff}",
            "\u{e0001}model",
            "mode\0l",
            "mode\0\0\0l",
            "\x1fmodel",
            "model\0",
            "model\0x",
            "_model\0",
            "<<",
            "__proto__",
            "$id",
            "$ref",
        ] {
            assert_eq!(key_match(key), KeyMatch::Ambiguous, "{key}");
        }
    }

    #[test]
    fn escapes_of_printable_ascii_are_ambiguous() {
        for (escaped, expected) in [
            ('m', KeyMatch::Ambiguous),
            (' ', KeyMatch::Ambiguous),
            ('~', KeyMatch::Ambiguous),
            ('\n', KeyMatch::Different),
            ('\x7f', KeyMatch::Different),
            ('é', KeyMatch::Different),
        ] {
            let mut matcher = KeyMatcher::default();
            matcher.push('a', false);
            matcher.push(escaped, true);
            assert_eq!(matcher.finish(Target::Model), expected);
            let exactly = Target::Exactly("am");
            let expected = [KeyMatch::Different, KeyMatch::Exact][usize::from(escaped == 'm')];
            assert_eq!(matcher.finish(exactly), expected);
        }
    }

    #[test]
    fn responses_match_exactly() {
        for (key, expected) in [
            (&b"response"[..], KeyMatch::Exact),
            (b"Response", KeyMatch::Different),
            (b"$id", KeyMatch::Different),
            (b"", KeyMatch::Different),
        ] {
            let target = Target::Exactly("response");
            assert_eq!(compare_key(key, target), expected);
            let mut matcher = KeyMatcher::default();
            key.iter()
                .for_each(|&byte| matcher.push(byte.into(), false));
            assert_eq!(matcher.finish(target), expected);
        }
    }
}
