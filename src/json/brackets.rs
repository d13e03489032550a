use super::error::Reason;

/// How deep a document may nest, its top-level object being the first level.
const MAX_DEPTH: usize = 1024;

/// A kind of bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Array,
    Object,
}

/// The brackets that are open: one bit each, in words of 64 levels.
#[derive(Clone, Debug, Default)]
pub(super) struct Brackets {
    /// The kinds of the innermost levels, the last one opened in the lowest
    /// bit, and set for objects.
    inner: u64,
    /// How many levels are in `inner`: none only if nothing is open.
    used: u32,
    /// The levels around them, in full words. Ordinary documents have none and
    /// thus need no heap.
    outer: Vec<u64>,
}

impl Brackets {
    /// How many brackets are open.
    pub(super) fn depth(&self) -> usize {
        self.outer.len() * 64 + self.used as usize
    }

    pub(super) fn open(&mut self, bracket: Bracket) -> Result<(), Reason> {
        if self.used == 64 {
            if self.depth() == MAX_DEPTH {
                return Err(Reason::TooDeep);
            }
            self.outer.push(self.inner);
            self.used = 0;
        }
        self.inner = self.inner << 1 | u64::from(bracket == Bracket::Object);
        self.used += 1;
        Ok(())
    }

    /// Closes the innermost bracket, which must be there and of this kind.
    pub(super) fn close(&mut self, bracket: Bracket) -> Result<(), Reason> {
        if self.used == 0 || self.inner & 1 != u64::from(bracket == Bracket::Object) {
            return Err(Reason::Bracket);
        }
        self.inner >>= 1;
        self.used -= 1;
        if self.used == 0
            && let Some(outer) = self.outer.pop()
        {
            self.inner = outer;
            self.used = 64;
        }
        Ok(())
    }

    /// Takes all brackets of a block, given as bits, and says whether it did:
    /// not if one doesn't match, nor if the block might close all brackets but
    /// the outermost one or leave the 64 levels at hand. Then nothing changed.
    ///
    /// There is no branch on what the brackets are, as none could be predicted.
    #[cfg(feature = "simd")]
    #[inline(always)]
    pub(super) fn take_all(&mut self, all: u64, closing: u64, objects: u64) -> bool {
        let closes = (all & closing).count_ones();
        let opens = (all & !closing).count_ones();
        if self.used <= closes + 1 || self.used + opens > 64 {
            return false;
        }
        let mut inner = self.inner;
        let mut mismatch = 0;
        let mut rest = all;
        while rest != 0 {
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            let object = u64::from(objects & bit != 0);
            let close = u64::from(closing & bit != 0);
            let open = close ^ 1;
            mismatch |= close & (inner ^ object);
            inner = (inner << open | object & open) >> close;
        }
        if mismatch != 0 {
            return false;
        }
        self.inner = inner;
        self.used = self.used + opens - closes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_remembered_by_kind_down_to_the_limit() {
        let kind = |level: usize| match level * level % 7 % 2 {
            0 => Bracket::Array,
            _ => Bracket::Object,
        };
        let mut brackets = Brackets::default();
        for level in 0..MAX_DEPTH {
            assert_eq!(brackets.open(kind(level)), Ok(()));
        }
        assert_eq!(brackets.open(Bracket::Array), Err(Reason::TooDeep));
        for level in (0..MAX_DEPTH).rev() {
            let other = match kind(level) {
                Bracket::Array => Bracket::Object,
                Bracket::Object => Bracket::Array,
            };
            assert_eq!(brackets.close(other), Err(Reason::Bracket));
            assert_eq!(brackets.depth(), level + 1);
            assert_eq!(brackets.close(kind(level)), Ok(()));
        }
        assert_eq!(brackets.close(Bracket::Array), Err(Reason::Bracket));
    }
}
