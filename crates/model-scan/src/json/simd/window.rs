use fearless_simd::Simd;

use super::block::Block;

/// What a block says of strings: several short ones fit in.
#[derive(Default)]
pub(in super::super) struct Window {
    /// Where the block begins and ends.
    begin: usize,
    pub(super) end: usize,
    quotes: u64,
    /// What does not stand for itself in a string, or is beyond ASCII.
    special: u64,
}

/// What is to be seen of a string.
pub(super) enum StringEnd {
    /// It is plain, and this is the place of its closing quote.
    At(usize),
    /// It is plain as far as the block goes.
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

    /// Looks at the string that begins here, or goes on, before the block's end.
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
