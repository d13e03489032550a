//! The bulk of a document in blocks of 64 bytes, with vector instructions.
//!
//! Each function is compiled once per level of instructions, for which all of
//! them must be inlined into one (see [`dispatch!`]).

mod block;

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x32};

use self::block::{BLOCK, Block, escaped, prefix_xor};
use super::{
    engine::{Bytewise, Engine},
    error::ScanError,
    nested::{Nested, NestedEnd},
    scanner::Scanner,
    text::Text,
};

/// After so many blocks of a string without a backslash it is taken for one
/// without any, as base64 is, for which `memchr` is faster still.
const CLEAN_BLOCKS: u32 = 16;

/// What this machine can do.
static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

/// [`Scanner::scan`] with the best instructions that there are.
pub(super) fn scan(scanner: &mut Scanner, bytes: &[u8]) -> Result<(), ScanError> {
    let level = *LEVEL;
    // Without vectors, or with less than a block, there is nothing to gain.
    if level.is_fallback() || bytes.len() < BLOCK {
        return scanner.scan(Bytewise, bytes);
    }
    dispatch!(level, simd => scanner.scan(Blocks(simd), bytes))
}

/// The same with older instructions, where the best ones are newer.
#[cfg(any(test, fuzzing))]
pub(super) fn scan_older(scanner: &mut Scanner, bytes: &[u8]) -> Result<(), ScanError> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let (Some(simd), BLOCK..) = (LEVEL.as_sse4_2(), bytes.len()) {
        return simd.vectorize(|| scanner.scan(Blocks(simd), bytes));
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
        // Frames that end in the middle of such a string do not start anew.
        let mut clean = if text.escaped { 0 } else { text.clean };
        while at < bytes.len() {
            if clean == CLEAN_BLOCKS {
                let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else {
                    break;
                };
                at += found;
                clean = 0;
            }
            let block = Block::load(self.0, bytes, at);
            let backslashes = block.equal(b'\\');
            let ends = block.equal(b'"') & !escaped(backslashes, &mut carry, block.len);
            if ends != 0 {
                text.escaped = false;
                return Some(at + ends.trailing_zeros() as usize + 1);
            }
            at += block.len;
            clean = if backslashes == 0 { clean + 1 } else { 0 };
        }
        text.escaped = carry != 0;
        text.clean = clean;
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
            let before = carry;
            let backslashes = block.equal(b'\\');
            let quotes = block.equal(b'"') & !escaped(backslashes, &mut carry, block.len);
            if quotes == 0 && in_string != 0 {
                at += block.len;
                let mut text = Text {
                    escaped: carry != 0,
                    clean: 0,
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
            let numbers = block.numbers();
            if quotes == 0 && block.bits(numbers) == block.valid() {
                at = self.skip_numbers(bytes, at + block.len);
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
                    clean: 0,
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
            clean: 0,
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
