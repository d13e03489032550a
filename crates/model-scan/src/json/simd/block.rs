//! A block of bytes as masks, one bit per byte.

use fearless_simd::{Simd, mask8x64, prelude::*, u8x64};

pub(super) const BLOCK: usize = 64;

/// One boolean per byte of a block.
pub(super) type Mask<S> = mask8x64<S>;

/// A block of 64 bytes.
///
/// The last block of a frame consists of the frame's last 64 bytes, and its masks are shifted so
/// that the bytes of the block before are gone. So no byte of it is outside the frame.
#[derive(Clone, Copy)]
pub(super) struct Block<S: Simd> {
    bytes: u8x64<S>,
    /// The number of new bytes.
    pub(super) len: usize,
}

impl<S: Simd> Block<S> {
    #[inline(always)]
    pub(super) fn load(simd: S, bytes: &[u8], at: usize) -> Self {
        let start = at.min(bytes.len() - BLOCK);
        Self {
            bytes: u8x64::from_slice(simd, &bytes[start..start + BLOCK]),
            len: BLOCK - (at - start),
        }
    }

    /// Creates a block that is not the last, without any shifts.
    #[inline(always)]
    pub(super) fn whole(simd: S, bytes: &[u8; BLOCK]) -> Self {
        Self {
            bytes: u8x64::from_slice(simd, bytes),
            len: BLOCK,
        }
    }

    #[inline(always)]
    pub(super) fn bits(&self, mask: Mask<S>) -> u64 {
        mask.to_bitmask() >> (BLOCK - self.len)
    }

    /// Returns a bit for each new byte.
    #[inline(always)]
    pub(super) fn valid(&self) -> u64 {
        u64::MAX >> (BLOCK - self.len)
    }

    #[inline(always)]
    pub(super) fn equal(&self, byte: u8) -> u64 {
        self.bits(self.bytes.simd_eq(byte))
    }

    /// Returns the bytes that do not stand for themselves in a string, or are beyond ASCII.
    #[inline(always)]
    pub(super) fn special(&self) -> u64 {
        let bytes = self.bytes;
        self.bits(bytes.simd_eq(b'\\') | bytes.simd_lt(0x20) | bytes.simd_ge(0x80))
    }

    /// Returns the quotes that are not escaped. For `carry` see [`escaped`].
    #[inline(always)]
    pub(super) fn quotes(&self, backslashes: u64, carry: &mut u64) -> u64 {
        self.equal(b'"') & !escaped(backslashes, carry, self.len)
    }

    /// Returns the bytes of arrays of numbers: digits, punctuation and spaces.
    #[inline(always)]
    pub(super) fn numbers(&self) -> Mask<S> {
        let bytes = self.bytes;
        // From `+` to `:` there is only the slash besides.
        let numbers = (bytes - b'+').simd_le(b':' - b'+') & !bytes.simd_eq(b'/');
        numbers | bytes.simd_eq(b' ')
    }

    /// Returns the white space other than spaces.
    #[inline(always)]
    fn breaks(&self) -> Mask<S> {
        let bytes = self.bytes;
        // A tab and a carriage return differ in one bit.
        bytes.simd_eq(b'\n') | (bytes & !4).simd_eq(b'\t')
    }

    /// Returns the letters of `true`, `false`, `null` and numbers.
    #[inline(always)]
    fn letters(&self) -> u64 {
        let bytes = self.bytes;
        let letters = (bytes - b'r').simd_le(b'u' - b'r')
            | bytes.simd_eq(b'e')
            | bytes.simd_eq(b'f')
            | (bytes & !2).simd_eq(b'l')
            | bytes.simd_eq(b'a')
            | bytes.simd_eq(b'E');
        self.bits(letters)
    }

    /// Returns the opening and the closing brackets of both kinds, which differ in one bit.
    #[inline(always)]
    pub(super) fn brackets(&self) -> (Mask<S>, Mask<S>) {
        let curly = self.bytes | 0x20;
        (curly.simd_eq(b'{'), curly.simd_eq(b'}'))
    }

    /// Returns whether a byte outside strings is not of the JSON alphabet, part of which is
    /// `known`. The quotes of strings are allowed.
    #[inline(always)]
    pub(super) fn has_non_json(&self, known: [Mask<S>; 3], outside: u64, quotes: u64) -> bool {
        let [numbers, opening, closing] = known;
        let alphabet = numbers | self.breaks() | opening | closing;
        let other = outside & !(self.bits(alphabet) | quotes);
        // Most blocks have no letters.
        other != 0 && other & !self.letters() != 0
    }

    /// Returns the curly brackets, and other bytes.
    #[inline(always)]
    pub(super) fn curly(&self) -> u64 {
        self.bits((self.bytes & 0x20).simd_eq(0x20))
    }
}

/// Returns the bytes that are escaped, among the `len` of a block: those after an odd run of
/// backslashes. `carry` is 1 if the first one is escaped, and becomes 1 if the one after the block
/// is.
///
/// The method is simdjson's: subtracting the starts of runs from the odd places carries through
/// each run to its end.
#[inline(always)]
fn escaped(backslashes: u64, carry: &mut u64, len: usize) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let starts = backslashes & !*carry;
    let ends = ((starts << 1 | ODD).wrapping_sub(starts)) ^ ODD;
    let escaped = ends ^ (backslashes | *carry);
    *carry = (ends & backslashes) >> (len - 1) & 1;
    escaped
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

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::*;

    /// Returns the masks of a block of this byte only: numbers, breaks, letters, opening, closing
    /// and curly brackets.
    #[inline(always)]
    fn masks<S: Simd>(simd: S, byte: u8) -> [u64; 6] {
        let block = Block::load(simd, &[byte; BLOCK], 0);
        let (opening, closing) = block.brackets();
        let [numbers, breaks] = [block.numbers(), block.breaks()].map(|mask| block.bits(mask));
        let [opening, closing] = [opening, closing].map(|mask| block.bits(mask));
        let letters = block.letters();
        [numbers, breaks, letters, opening, closing, block.curly()]
    }

    #[test]
    fn masks_have_their_bytes_and_no_others() {
        for byte in 0..=u8::MAX {
            let is_bracket = matches!(byte, b'[' | b']' | b'{' | b'}');
            let expected = [
                matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b',' | b':' | b' '),
                matches!(byte, b'\n' | b'\r' | b'\t'),
                b"truefalsnE".contains(&byte),
                matches!(byte, b'[' | b'{'),
                matches!(byte, b']' | b'}'),
                matches!(byte, b'{' | b'}'),
            ]
            .map(|all| if all { u64::MAX } else { 0 });
            let mut found = dispatch!(Level::new(), simd => masks(simd, byte));
            if !is_bracket {
                // The mask is used for brackets only.
                found[5] = 0;
            }
            assert_eq!(found, expected, "{byte:#x}");
        }
    }

    #[inline(always)]
    fn masks_have_non_json<S: Simd>(simd: S, bytes: &[u8], outside: u64, quotes: u64) -> bool {
        let block = Block::load(simd, bytes, 0);
        let (opening, closing) = block.brackets();
        block.has_non_json([block.numbers(), opening, closing], outside, quotes)
    }

    #[test]
    fn non_json_bytes_are_found_outside_strings() {
        fn has_non_json(bytes: &[u8], outside: u64, quotes: u64) -> bool {
            dispatch!(Level::new(), simd => masks_have_non_json(simd, bytes, outside, quotes))
        }

        // A byte of each kind, and non-JSON bytes in the first and the last place.
        let ordinary = b"[{1.5e+3,true: null}]\t\r\n false -0 ";
        let mut bytes: Vec<_> = ordinary.iter().copied().cycle().take(BLOCK).collect();
        assert!(!has_non_json(&bytes, u64::MAX, 0));
        for byte in [b'"', b'/', b'x', b'\\', 0, 0x80] {
            for place in [0, BLOCK - 1] {
                let before = std::mem::replace(&mut bytes[place], byte);
                assert!(has_non_json(&bytes, u64::MAX, 0), "{byte}");
                assert!(has_non_json(&bytes, 1 << place, 0), "{byte}");
                assert!(!has_non_json(&bytes, !(1 << place), 0), "{byte}");
                assert!(!has_non_json(&bytes, u64::MAX, 1 << place), "{byte}");
                bytes[place] = before;
            }
            assert!(has_non_json(&[byte; BLOCK], u64::MAX, 0), "{byte}");
        }
    }

    proptest! {
        #[test]
        fn bytes_after_an_odd_run_of_backslashes_are_escaped(
            mask in any::<[u64; 2]>(),
            carry in 0..2_u64,
            len in 1..=BLOCK,
        ) {
            // With long runs, and none past the last byte.
            let backslashes = (mask[0] | mask[1]) & u64::MAX >> (BLOCK - len);
            let mut is_escaped = carry == 1;
            let mut expected = 0;
            for place in 0..len {
                expected |= u64::from(is_escaped) << place;
                is_escaped = !is_escaped && backslashes >> place & 1 == 1;
            }
            let mut carry = carry;
            let found = escaped(backslashes, &mut carry, len);
            prop_assert_eq!(found & u64::MAX >> (BLOCK - len), expected);
            prop_assert_eq!(carry, u64::from(is_escaped));
        }
    }
}
