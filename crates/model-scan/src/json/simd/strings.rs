use fearless_simd::Simd;

use super::{
    super::{nested::Nested, skipped_string::SkippedString},
    block::{Block, prefix_xor},
};

/// What carries over from a block of a nested value into the next.
#[derive(Clone, Copy, Default)]
pub(super) struct Strings {
    /// All ones in a string.
    inside: u64,
    /// Whether the next byte is escaped.
    escape: u64,
}

/// What a block of a nested value is.
pub(super) enum BlockOutcome {
    Consumed,
    /// Taken but for these brackets.
    Brackets(u64),
    /// Wholly inside a string.
    InString,
    Numbers,
    /// Not taken: bytes that are not of JSON's alphabet.
    NonJson,
}

impl Strings {
    /// Takes a block, of the length returned.
    #[inline(always)]
    pub(super) fn take<S: Simd>(
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

    /// The string that goes on.
    pub(super) fn open_string(&self) -> Option<SkippedString> {
        (self.inside != 0).then_some(SkippedString {
            escaped: self.escape != 0,
            clean: 0,
        })
    }
}
