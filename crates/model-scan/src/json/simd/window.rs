//! A block in which several short strings are found.

use fearless_simd::Simd;

use super::block::Block;

/// The quotes and special bytes of one block, which may have several short strings.
#[derive(Default)]
pub(in super::super) struct Window {
    /// The indices of the block.
    begin: usize,
    pub(super) end: usize,
    quotes: u64,
    /// See [`Block::special`].
    special: u64,
}

/// The end of a string, as far as the block shows it.
pub(super) enum StringEnd {
    /// The string is plain, and its closing quote is at this index.
    At(usize),
    /// The string is plain up to the end of the block.
    PastBlock,
    NotPlain,
}

impl Window {
    #[inline(always)]
    pub(super) fn of<S: Simd>(simd: S, bytes: &[u8], at: usize) -> Self {
        let block = Block::load(simd, bytes, at);
        Self {
            begin: at,
            end: at + block.len,
            quotes: block.equal(b'"'),
            special: block.special(),
        }
    }

    /// Finds the end of the string that begins or goes on at index `at`, before the block's end.
    #[inline(always)]
    pub(super) fn string(&self, at: usize) -> StringEnd {
        let quotes = self.quotes >> (at - self.begin);
        let special = self.special >> (at - self.begin);
        let before = quotes.wrapping_sub(1) & !quotes;
        if special & before != 0 {
            StringEnd::NotPlain
        } else if quotes != 0 {
            StringEnd::At(at + quotes.trailing_zeros() as usize)
        } else {
            StringEnd::PastBlock
        }
    }
}
