use super::error::Reason;

/// How deep a document may nest, its top-level object being the first level.
pub(crate) const MAX_DEPTH: usize = 1024;

/// A kind of bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Array,
    Object,
}

/// The brackets that are open: one bit each, in words of 64 levels.
#[derive(Clone, Debug, Default)]
pub(super) struct Brackets {
    depth: usize,
    /// The kinds of the innermost levels, as many as are not in `outer`; the
    /// last one opened is the lowest bit.
    inner: u64,
    /// Full words. Ordinary documents have none and thus need no heap.
    outer: Vec<u64>,
}

impl Brackets {
    const WORD: usize = u64::BITS as usize;

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn open(&mut self, bracket: Bracket) -> Result<(), Reason> {
        if self.depth == MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        if self.depth > 0 && self.depth.is_multiple_of(Self::WORD) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(bracket == Bracket::Object);
        self.depth += 1;
        Ok(())
    }

    /// Closes the innermost bracket, which must be there and of this kind.
    pub(super) fn close(&mut self, bracket: Bracket) -> Result<(), Reason> {
        if self.depth == 0 || self.inner & 1 != u64::from(bracket == Bracket::Object) {
            return Err(Reason::Bracket);
        }
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(Self::WORD) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
        Ok(())
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
