//! The bulk of a document in blocks of 64 bytes, with vector instructions.
//!
//! Each function is compiled once per level of instructions, for which all of
//! them must be inlined into one (see [`dispatch!`]). A block becomes some
//! words with a bit per byte. The last block of a frame is made of the frame's
//! last 64 bytes, and its bits are shifted until those that were seen are gone,
//! so that there is never a byte that isn't the frame's.

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch, mask8x64, prelude::*, u8x32, u8x64};

use super::{
    brackets::Bracket,
    engine::{Bytewise, Engine},
    error::{Reason, ScanError},
    nested::{Nested, NestedEnd},
    scanner::Scanner,
    text::Text,
};

const BLOCK: usize = 64;

/// A block's worth of yes or no.
type Mask<S> = mask8x64<S>;

/// After so many blocks of a string without a backslash it is taken for one
/// without any, as base64 is, for which `memchr` is faster still.
const CLEAN_BLOCKS: u32 = 32;

/// What this machine can do.
static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

/// [`Scanner::scan`] with the best instructions that there are.
pub(super) fn scan(scanner: &mut Scanner, bytes: &[u8]) -> Result<(), ScanError> {
    scan_at(*LEVEL, scanner, bytes)
}

fn scan_at(level: Level, scanner: &mut Scanner, bytes: &[u8]) -> Result<(), ScanError> {
    // Without vectors, or with less than a block, there is nothing to gain.
    if level.is_fallback() || bytes.len() < BLOCK {
        return scanner.scan(Bytewise, bytes);
    }
    dispatch!(level, simd => scanner.scan(Blocks(simd), bytes))
}

/// The same with older instructions, if this machine has newer ones too.
#[cfg(test)]
pub(super) fn scan_older(scanner: &mut Scanner, bytes: &[u8]) -> Result<(), ScanError> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(level) = LEVEL.as_sse4_2() {
        return scan_at(Level::Sse4_2(level), scanner, bytes);
    }
    scan(scanner, bytes)
}

/// The engine for frames of at least a block.
#[derive(Clone, Copy, Debug)]
struct Blocks<S>(S);

impl<S: Simd> Engine for Blocks<S> {
    #[inline(always)]
    fn plain_string(self, bytes: &[u8], mut at: usize) -> Option<usize> {
        const WINDOW: usize = 32;
        while at < bytes.len() {
            let start = at.min(bytes.len() - WINDOW);
            let window = u8x32::from_slice(self.0, &bytes[start..start + WINDOW]);
            let quotes = window.simd_eq(b'"').to_bitmask() >> (at - start);
            let odd = window.simd_eq(b'\\') | window.simd_lt(0x20) | window.simd_ge(0x80);
            let odd = odd.to_bitmask() >> (at - start);
            let before = quotes.wrapping_sub(1) & !quotes;
            if odd & before != 0 {
                return None;
            }
            if quotes != 0 {
                return Some(at + quotes.trailing_zeros() as usize);
            }
            at = start + WINDOW;
        }
        None
    }

    #[inline(always)]
    fn text(self, text: &mut Text, bytes: &[u8], mut at: usize) -> Option<usize> {
        let mut carry = u64::from(text.escaped);
        let mut clean = 0;
        while at < bytes.len() {
            let block = Block::load(self.0, bytes, at);
            let backslashes = block.equal(b'\\');
            let ends = block.equal(b'"') & !escaped(backslashes, &mut carry, block.len);
            if ends != 0 {
                text.escaped = false;
                return Some(at + ends.trailing_zeros() as usize + 1);
            }
            at += block.len;
            clean = if backslashes == 0 { clean + 1 } else { 0 };
            if clean == CLEAN_BLOCKS {
                clean = 0;
                at += memchr::memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
            }
        }
        text.escaped = carry != 0;
        None
    }

    #[inline(always)]
    fn nested(self, nested: &mut Nested, bytes: &[u8], mut at: usize) -> NestedEnd {
        if let Some(text) = &mut nested.text {
            match self.text(text, bytes, at) {
                Some(end) => at = end,
                None => return Ok(None),
            }
            nested.text = None;
        }
        // All ones in a string, and the escape that carries over into a block.
        let mut in_string = 0;
        let mut carry = 0;
        while at < bytes.len() {
            let block = Block::load(self.0, bytes, at);
            let numbers = block.numbers();
            if block.bits(numbers) & !in_string == block.valid() {
                at = self.skip_numbers(bytes, at + block.len);
                continue;
            }
            let before = carry;
            let backslashes = block.equal(b'\\');
            let quotes = block.equal(b'"') & !escaped(backslashes, &mut carry, block.len);
            if in_string != 0 && quotes == 0 {
                at += block.len;
                let mut text = Text {
                    escaped: carry != 0,
                };
                match self.text(&mut text, bytes, at) {
                    Some(end) => at = end,
                    None => {
                        nested.text = Some(text);
                        return Ok(None);
                    }
                }
                (in_string, carry) = (0, 0);
                continue;
            }
            let strings = prefix_xor(quotes) ^ in_string;
            let outside = !strings & block.valid();
            let (opening, closing) = block.brackets();
            let alphabet = numbers | block.breaks() | opening | closing;
            let strange = outside & !(block.bits(alphabet) | quotes);
            if strange != 0 && strange & !block.letters() != 0 {
                // An error, unless the value ends before it.
                nested.text = (in_string != 0).then_some(Text {
                    escaped: before != 0,
                });
                return nested.scan(bytes, at);
            }
            let closing = block.bits(closing);
            let brackets = (block.bits(opening) | closing) & outside;
            if brackets != 0
                && !nested.brackets.take_all(brackets, closing, block.curly())
                && let Some(end) = nested.take_each(brackets, bytes, at)?
            {
                return Ok(Some(end));
            }
            in_string = (strings as i64 >> 63) as u64;
            at += block.len;
        }
        nested.text = (in_string != 0).then_some(Text {
            escaped: carry != 0,
        });
        Ok(None)
    }
}

impl<S: Simd> Blocks<S> {
    /// Skips whole blocks that consist of numbers, outside strings.
    #[inline(always)]
    fn skip_numbers(self, bytes: &[u8], mut at: usize) -> usize {
        while at + BLOCK <= bytes.len() && Block::load(self.0, bytes, at).numbers().all_true() {
            at += BLOCK;
        }
        at
    }
}

impl Nested {
    /// Takes the brackets of the block that begins here, one by one, and
    /// returns the place past the one that ends the value.
    fn take_each(&mut self, mut brackets: u64, bytes: &[u8], at: usize) -> NestedEnd {
        while brackets != 0 {
            let place = at + brackets.trailing_zeros() as usize;
            if self
                .outside(bytes[place])
                .map_err(|reason| (place, reason))?
            {
                return Ok(Some(place + 1));
            }
            brackets &= brackets - 1;
        }
        Ok(None)
    }
}

/// A block of 64 bytes, of which the first may have been seen before.
#[derive(Clone, Copy)]
struct Block<S: Simd> {
    bytes: u8x64<S>,
    /// How many are new.
    len: usize,
}

impl<S: Simd> Block<S> {
    #[inline(always)]
    fn load(simd: S, bytes: &[u8], at: usize) -> Self {
        let start = at.min(bytes.len() - BLOCK);
        Self {
            bytes: u8x64::from_slice(simd, &bytes[start..start + BLOCK]),
            len: BLOCK - (at - start),
        }
    }

    #[inline(always)]
    fn bits(&self, mask: Mask<S>) -> u64 {
        mask.to_bitmask() >> (BLOCK - self.len)
    }

    /// A bit for each new byte.
    #[inline(always)]
    fn valid(&self) -> u64 {
        u64::MAX >> (BLOCK - self.len)
    }

    #[inline(always)]
    fn equal(&self, byte: u8) -> u64 {
        self.bits(self.bytes.simd_eq(byte))
    }

    /// What lists of numbers consist of: digits, punctuation and spaces.
    #[inline(always)]
    fn numbers(&self) -> Mask<S> {
        let bytes = self.bytes;
        // From `+` to `:` there is nothing else but the slash.
        let numbers = (bytes - b'+').simd_le(b':' - b'+') & !bytes.simd_eq(b'/');
        numbers | bytes.simd_eq(b' ')
    }

    /// White space other than spaces.
    #[inline(always)]
    fn breaks(&self) -> Mask<S> {
        let bytes = self.bytes;
        // A tab and a carriage return differ in one bit.
        bytes.simd_eq(b'\n') | (bytes & !4).simd_eq(b'\t')
    }

    /// The letters of `true`, `false`, `null` and numbers.
    #[inline(always)]
    fn letters(&self) -> u64 {
        let bytes = self.bytes;
        let letters = (bytes - b'r').simd_le(b'u' - b'r')
            | (bytes - b'e').simd_le(b'f' - b'e')
            | (bytes & !2).simd_eq(b'l')
            | bytes.simd_eq(b'a')
            | bytes.simd_eq(b'E');
        self.bits(letters)
    }

    /// The opening and the closing brackets of both kinds, which differ in one
    /// bit.
    #[inline(always)]
    fn brackets(&self) -> (Mask<S>, Mask<S>) {
        let curly = self.bytes | 0x20;
        (curly.simd_eq(b'{'), curly.simd_eq(b'}'))
    }

    /// Curly brackets, among others.
    #[inline(always)]
    fn curly(&self) -> u64 {
        self.bits((self.bytes & 0x20).simd_eq(0x20))
    }
}

/// The bytes that are escaped, among the `len` of a block: those after an odd
/// run of backslashes. `carry` says whether the first one is, and then whether
/// the one after the block will be.
///
/// This is how simdjson does it: subtracting the starts of runs from the odd
/// places carries through each run to its end.
#[inline(always)]
fn escaped(backslashes: u64, carry: &mut u64, len: usize) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let starts = backslashes & !*carry;
    let ends = ((starts << 1 | ODD).wrapping_sub(starts)) ^ ODD;
    let escaped = ends ^ (backslashes | *carry);
    *carry = (ends & backslashes) >> (len - 1) & 1;
    escaped
}

/// Each bit becomes the parity of itself and those below: of quotes, a mask of
/// strings with their opening quotes.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}
