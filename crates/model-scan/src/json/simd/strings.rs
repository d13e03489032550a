//! Tracks strings through the blocks of a nested value.

use fearless_simd::Simd;

use super::{
    super::{nested::Nested, skipped_string::SkippedString},
    block::{Block, prefix_xor},
};

/// The state that carries over from one block of a nested value to the next.
#[derive(Clone, Copy, Default)]
pub(super) struct Strings {
    /// All ones if the next byte is in a string.
    inside: u64,
    /// 1 if the next byte is escaped.
    escape: u64,
}

/// The outcome of a block of a nested value.
pub(super) enum BlockOutcome {
    Consumed,
    /// Consumed except for these brackets.
    Brackets(u64),
    /// Consumed: wholly inside a string.
    InString,
    /// Consumed: numbers only.
    Numbers,
    /// Not consumed: a byte is not of the JSON alphabet.
    NonJson,
}

impl Strings {
    /// Consumes a block. Returns its length too.
    #[inline(always)]
    pub(super) fn consume<S: Simd>(
        &mut self,
        nested: &mut Nested,
        block: Block<S>,
    ) -> (BlockOutcome, usize) {
        let mut escape = self.escape;
        let backslashes = block.equal(b'\\');
        let quotes = block.quotes(backslashes, &mut escape);
        if quotes == 0 && self.inside != 0 {
            self.escape = escape;
            return (BlockOutcome::InString, block.len);
        }
        let numbers = block.numbers();
        if quotes == 0 && block.bits(numbers) == block.valid() {
            return (BlockOutcome::Numbers, block.len);
        }
        let strings = prefix_xor(quotes) ^ self.inside;
        let outside = !strings & block.valid();
        let (opening, closing) = block.brackets();
        if block.has_non_json([numbers, opening, closing], outside, quotes) {
            return (BlockOutcome::NonJson, block.len);
        }
        self.inside = (strings as i64 >> 63) as u64;
        self.escape = escape;
        let closing = block.bits(closing);
        let brackets = (block.bits(opening) | closing) & outside;
        if brackets != 0 && !nested.brackets.take_all(brackets, closing, block.curly()) {
            return (BlockOutcome::Brackets(brackets), block.len);
        }
        (BlockOutcome::Consumed, block.len)
    }

    /// Returns the string that is not complete.
    pub(super) fn open_string(&self) -> Option<SkippedString> {
        (self.inside != 0).then_some(SkippedString {
            escaped: self.escape != 0,
            clean: 0,
        })
    }
}
