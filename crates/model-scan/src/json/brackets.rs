//! Tracks the brackets that are open, by kind.

use super::error::Reason;

/// The most levels of nesting, of which the top-level object is the first.
const MAX_DEPTH: usize = 1024;

/// A kind of bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Array,
    Object,
}

/// The open brackets: one bit each, in words of 64 levels.
#[derive(Clone, Debug, Default)]
pub(super) struct Brackets {
    /// The kinds of the innermost levels, the innermost one in the lowest bit; set for objects.
    inner: u64,
    /// The number of levels in `inner`: 0 only if nothing is open.
    used: u32,
    /// The outer levels, in full words. Ordinary documents have none, and need no heap.
    outer: Vec<u64>,
}

impl Brackets {
    /// Returns the number of open brackets.
    pub(super) fn depth(&self) -> usize {
        self.outer.len() * 64 + self.used as usize
    }

    /// Returns whether the outermost bracket is open, and no other.
    #[inline(always)]
    pub(super) fn is_outermost(&self) -> bool {
        self.used == 1 && self.outer.is_empty()
    }

    /// Returns whether the innermost bracket is an object's.
    #[inline(always)]
    pub(super) fn in_object(&self) -> bool {
        self.inner & 1 == 1
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

    /// Closes the innermost bracket, which must exist and be of this kind.
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

    /// Consumes all brackets of a block, given as bits, and returns whether it did. It changes
    /// nothing if one does not match, or if the block might close all brackets except the outermost
    /// one, or leave the 64 levels of `inner`.
    ///
    /// There is no branch on the kinds of brackets, because none could be predicted.
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
    fn brackets_match_by_kind_down_to_the_limit() {
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

    #[cfg(feature = "simd")]
    mod blocks {
        use proptest::{bool::weighted, collection::vec, prelude::*};

        use super::*;

        /// Consumes the brackets of a block one by one, from the lowest bit on.
        fn take_each(brackets: &mut Brackets, block: &[(bool, Bracket)]) -> Result<(), Reason> {
            block.iter().try_for_each(|&(closes, kind)| match closes {
                true => brackets.close(kind),
                false => brackets.open(kind),
            })
        }

        fn bits(block: &[(bool, Bracket)], set: impl Fn(&(bool, Bracket)) -> bool) -> u64 {
            let block = block.iter().enumerate();
            block.fold(0, |bits, (at, bracket)| {
                bits | u64::from(set(bracket)) << at
            })
        }

        #[test]
        fn a_block_may_fill_the_inner_word() {
            for (depth, fits) in [(60, true), (61, false), (124, true), (125, false)] {
                let mut brackets = Brackets::default();
                for _ in 0..depth {
                    brackets.open(Bracket::Object).unwrap();
                }
                assert_eq!(brackets.take_all(0b1111, 0, 0b0101), fits, "{depth}");
            }
        }

        /// Generates open brackets, and a block in which most closing brackets match.
        fn brackets_and_block() -> impl Strategy<Value = (Brackets, Vec<(bool, Bracket)>)> {
            let block = vec((weighted(0.4), weighted(0.5), weighted(0.98)), 0..=64);
            (vec(any::<bool>(), 0..140), block).prop_map(|(open, block)| {
                let kind = |object| match object {
                    true => Bracket::Object,
                    false => Bracket::Array,
                };
                let mut brackets = Brackets::default();
                for object in open {
                    brackets.open(kind(object)).unwrap();
                }
                let mut now = brackets.clone();
                let block = block.into_iter().map(|(closes, object, fits)| {
                    let object = if closes && fits {
                        now.inner & 1 == 1
                    } else {
                        object
                    };
                    let bracket = (closes, kind(object));
                    let _ = take_each(&mut now, &[bracket]);
                    bracket
                });
                let block = block.collect();
                (brackets, block)
            })
        }

        proptest! {
            /// A block is consumed exactly if its brackets match, more are open than it closes, and
            /// they fit into `inner`; the result is that of consuming them one by one.
            #[test]
            fn a_block_is_consumed_whole_or_not_at_all((before, block) in brackets_and_block()) {
                let mut one_by_one = before.clone();
                let matches = take_each(&mut one_by_one, &block).is_ok();

                let all = bits(&block, |_| true);
                let closing = bits(&block, |(closes, _)| *closes);
                let objects = bits(&block, |(_, kind)| *kind == Bracket::Object);
                let closes = closing.count_ones();
                let opens = block.len() as u32 - closes;
                let fits = before.used > closes + 1 && before.used + opens <= 64;

                let mut at_once = before.clone();
                prop_assert_eq!(at_once.take_all(all, closing, objects), fits && matches);
                let expected = if fits && matches { one_by_one } else { before };
                prop_assert_eq!(format!("{at_once:?}"), format!("{expected:?}"));
            }
        }
    }
}
