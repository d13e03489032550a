//! A block of bytes as masks, one bit per byte.

use fearless_simd::{Simd, mask8x64, prelude::*, u8x64};

/// The number of bytes that are loaded at once.
pub(super) const BLOCK: usize = 64;

/// One boolean per byte of a block.
type Mask<S> = mask8x64<S>;

/// A block of 64 bytes.
///
/// The last block of a frame consists of the frame's last 64 bytes, and its masks are shifted so
/// that the bytes of the block before are gone. So no byte of it is outside the frame.
#[derive(Clone, Copy)]
pub(super) struct Block<S: Simd> {
    simd: S,
    bytes: u8x64<S>,
    /// The number of new bytes.
    pub(super) len: usize,
}

impl<S: Simd> Block<S> {
    #[inline(always)]
    pub(super) fn load(simd: S, bytes: &[u8], at: usize) -> Self {
        let start = at.min(bytes.len() - BLOCK);
        Self {
            simd,
            bytes: u8x64::from_slice(simd, &bytes[start..start + BLOCK]),
            len: BLOCK - (at - start),
        }
    }

    /// Creates a block that is not the last, without any shifts.
    #[inline(always)]
    pub(super) fn whole(simd: S, bytes: &[u8; BLOCK]) -> Self {
        Self {
            simd,
            bytes: u8x64::from_slice(simd, bytes),
            len: BLOCK,
        }
    }

    #[inline(always)]
    fn bits(&self, mask: Mask<S>) -> u64 {
        mask.to_bitmask() >> (BLOCK - self.len)
    }

    /// Returns the places of the block that are in the frame.
    #[inline(always)]
    pub(super) fn within(&self) -> u64 {
        first_places(self.len)
    }

    #[inline(always)]
    pub(super) fn equal(&self, byte: u8) -> u64 {
        self.bits(self.bytes.simd_eq(byte))
    }

    /// Compares the bytes as signed numbers: those beyond ASCII are negative.
    #[inline(always)]
    fn less_signed(&self, than: i8) -> Mask<S> {
        // `bitcast` would not be inlined.
        self.simd.cvt_from_bytes_i8x64(self.bytes).simd_lt(than)
    }

    /// Returns the quotes, the control characters, and unless `is_utf8` the bytes beyond ASCII.
    #[inline(always)]
    pub(super) fn special_and_quotes(&self, is_utf8: bool) -> u64 {
        // With the sign flipped, the bytes beyond ASCII are greater than all others.
        let sign = u8::from(is_utf8) << 7;
        let signed = self.simd.cvt_from_bytes_i8x64(self.bytes ^ sign);
        let special = signed.simd_lt((sign | 0x20) as i8);
        self.bits(special | self.bytes.simd_eq(b'"'))
    }

    /// Returns quotes, backslashes, and the letters of line breaks and tabs.
    #[inline(always)]
    pub(super) fn usually_escaped(&self) -> u64 {
        let bytes = self.bytes;
        let letters = bytes.simd_eq(b'n') | bytes.simd_eq(b't');
        self.bits(bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | letters)
    }

    #[inline(always)]
    pub(super) fn not_ascii(&self) -> u64 {
        self.bits(self.less_signed(0))
    }

    /// Returns the bytes that do not stand for themselves in a string, or are beyond ASCII.
    #[inline(always)]
    pub(super) fn special(&self) -> u64 {
        self.bits(self.bytes.simd_eq(b'\\') | self.less_signed(0x20))
    }

    /// Returns whether all 64 bytes are plain ASCII inside a string.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        let bytes = self.bytes;
        let quotes = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\');
        !(quotes | self.less_signed(0x20)).any_true()
    }

    /// Returns the control characters that are white space.
    #[inline(always)]
    pub(super) fn breaks(&self) -> u64 {
        let bytes = self.bytes;
        // A tab and a carriage return differ in one bit.
        self.bits(bytes.simd_eq(b'\n') | (bytes & !4).simd_eq(b'\t'))
    }

    /// Returns the opening and the closing brackets of both kinds, which differ in one bit.
    #[inline(always)]
    pub(super) fn brackets(&self) -> (u64, u64) {
        let curly = self.bytes | 0x20;
        let [opening, closing] = [curly.simd_eq(b'{'), curly.simd_eq(b'}')];
        (self.bits(opening), self.bits(closing))
    }

    /// Returns the curly brackets, and other bytes.
    #[inline(always)]
    pub(super) fn curly(&self) -> u64 {
        self.bits((self.bytes & 0x20).simd_eq(0x20))
    }

    #[inline(always)]
    pub(super) fn digits(&self) -> u64 {
        self.bits((self.bytes - b'0').simd_lt(10))
    }

    /// Returns the letters `e` and `E`.
    #[inline(always)]
    pub(super) fn exponent_marks(&self) -> u64 {
        self.bits((self.bytes | 0x20).simd_eq(b'e'))
    }

    /// Returns the bytes that may follow a backslash, except for quotes, backslashes and `u`.
    #[inline(always)]
    pub(super) fn escapable(&self) -> u64 {
        let bytes = self.bytes;
        // Two pairs of letters differ in one bit.
        let letters = (bytes | 0x10).simd_eq(b'r') | (bytes | 8).simd_eq(b'n');
        self.bits(letters | bytes.simd_eq(b't') | bytes.simd_eq(b'/'))
    }

    #[inline(always)]
    pub(super) fn hex_digits(&self) -> u64 {
        let letters = ((self.bytes | 0x20) - b'a').simd_lt(6);
        self.bits((self.bytes - b'0').simd_lt(10) | letters)
    }
}

/// Returns a mask of this many places, at least one.
#[inline(always)]
pub(super) fn first_places(len: usize) -> u64 {
    u64::MAX >> (BLOCK - len)
}

/// Returns the bytes that are escaped, and the backslashes that escape them. `first` is set if the
/// first byte is escaped.
///
/// The method is simdjson's: subtracting runs of backslashes from the odd places, shifted by one,
/// carries through each run to its end.
#[inline(always)]
pub(super) fn escapes(backslashes: u64, first: u64) -> (u64, u64) {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let potential = backslashes & !first;
    let after_run = (potential << 1 | ODD).wrapping_sub(potential) ^ ODD;
    (after_run ^ (backslashes | first), after_run & backslashes)
}

/// Replaces each bit by the parity of itself and those below: quotes become a mask of strings with
/// their opening quotes.
#[inline(always)]
pub(super) fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Moves each marker to the first place, from its own on, that is not in `class`. The place before
/// a marker must not be in `class`.
#[inline(always)]
pub(super) fn skip_runs(markers: u64, class: u64) -> u64 {
    markers.wrapping_add(class) & !class
}

/// Returns the first place after each token that is not in `class`, and whether one is past the
/// last place. `first` is set if there is a token before the first place. No token may be in
/// `class`.
#[inline(always)]
pub(super) fn next_places(tokens: u64, class: u64, first: u64) -> (u64, u64) {
    // Each token carries into the next place, and from there through the run of `class`.
    let sum = u128::from(tokens) + u128::from(tokens | class) + u128::from(first);
    (sum as u64 & !class, (sum >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::*;

    /// Returns the masks of a block of this byte only.
    // In the loop of the test it takes LLVM six minutes to optimize.
    #[inline(never)]
    fn masks_of(byte: u8) -> [u64; 13] {
        dispatch!(Level::new(), simd => masks(simd, byte))
    }

    #[inline(always)]
    fn masks<S: Simd>(simd: S, byte: u8) -> [u64; 13] {
        let block = Block::load(simd, &[byte; BLOCK], 0);
        let (opening, closing) = block.brackets();
        [
            block.special_and_quotes(false),
            block.special_and_quotes(true),
            block.not_ascii(),
            block.special(),
            block.breaks(),
            opening,
            closing,
            block.curly(),
            block.digits(),
            block.exponent_marks(),
            block.usually_escaped(),
            block.escapable(),
            block.hex_digits(),
        ]
    }

    #[test]
    fn masks_have_their_bytes_and_no_others() {
        for byte in 0..=u8::MAX {
            let is_bracket = matches!(byte, b'[' | b']' | b'{' | b'}');
            let expected = [
                !(0x20..0x80).contains(&byte) || byte == b'"',
                byte < 0x20 || byte == b'"',
                byte >= 0x80,
                !(0x20..0x80).contains(&byte) || byte == b'\\',
                b"\t\r\n".contains(&byte),
                matches!(byte, b'[' | b'{'),
                matches!(byte, b']' | b'}'),
                matches!(byte, b'{' | b'}'),
                byte.is_ascii_digit(),
                matches!(byte, b'e' | b'E'),
                b"\"\\nt".contains(&byte),
                b"/bfnrt".contains(&byte),
                byte.is_ascii_hexdigit(),
            ]
            .map(|all| if all { u64::MAX } else { 0 });
            let mut found = masks_of(byte);
            if !is_bracket {
                // The mask is used for brackets only.
                found[7] = 0;
            }
            assert_eq!(found, expected, "{byte:#x}");
        }
    }

    #[test]
    fn blocks_are_plain_without_quotes_escapes_controls_and_characters_beyond_ascii() {
        for byte in 0..=u8::MAX {
            for place in [0, BLOCK - 1] {
                let mut bytes = [b'x'; BLOCK];
                bytes[place] = byte;
                let is_plain =
                    dispatch!(Level::new(), simd => Block::load(simd, &bytes, 0).is_plain());
                let expected = matches!(byte, b' '..=0x7f) && !matches!(byte, b'"' | b'\\');
                assert_eq!(is_plain, expected, "{byte:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_after_an_odd_run_of_backslashes_are_escaped(
            mask in any::<[u64; 2]>(),
            first in 0_u64..2,
        ) {
            // With long runs.
            let backslashes = mask[0] | mask[1];
            let mut is_escaped = first == 1;
            let mut expected = (0, 0);
            for place in 0..BLOCK {
                expected.0 |= u64::from(is_escaped) << place;
                is_escaped = !is_escaped && backslashes >> place & 1 == 1;
                expected.1 |= u64::from(is_escaped) << place;
            }
            prop_assert_eq!(escapes(backslashes, first), expected);
        }

        #[test]
        fn markers_skip_the_runs_that_they_are_at(class in any::<u64>(), wanted in any::<u64>()) {
            let markers = wanted & !(class << 1);
            let mut expected = 0;
            for place in (0..BLOCK).filter(|place| markers >> place & 1 == 1) {
                if let Some(at) = (place..BLOCK).find(|at| class >> at & 1 == 0) {
                    expected |= 1 << at;
                }
            }
            prop_assert_eq!(skip_runs(markers, class), expected);
        }

        #[test]
        fn places_after_tokens_skip_the_runs_that_follow(
            class in any::<u64>(),
            wanted in any::<u64>(),
            first in 0_u64..2,
        ) {
            let tokens = wanted & !class;
            let mut expected = (0, 0);
            let mut follows = first == 1;
            for place in 0..BLOCK {
                let is_in = |mask: u64| mask >> place & 1 == 1;
                expected.0 |= u64::from(follows && !is_in(class)) << place;
                follows = is_in(tokens) || follows && is_in(class);
            }
            expected.1 = u64::from(follows);
            prop_assert_eq!(next_places(tokens, class, first), expected);
        }
    }
}
