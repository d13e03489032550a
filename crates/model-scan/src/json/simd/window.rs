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
    odd: u64,
}

/// What is to be seen of a string.
pub(super) enum Look {
    /// It is plain, and this is the place of its closing quote.
    EndsAt(usize),
    /// It is plain as far as the block goes.
    GoesOn,
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
            odd: block.odd(),
        }
    }

    /// Looks at the string that begins here, or goes on, before the block's end.
    #[inline(always)]
    pub(super) fn string(&self, at: usize) -> Look {
        let quotes = self.quotes >> (at - self.begin);
        let odd = self.odd >> (at - self.begin);
        let before = quotes.wrapping_sub(1) & !quotes;
        if odd & before != 0 {
            Look::NotPlain
        } else if quotes != 0 {
            Look::EndsAt(at + quotes.trailing_zeros() as usize)
        } else {
            Look::GoesOn
        }
    }
}
