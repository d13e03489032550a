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

/// The number of levels in a word.
const WORD: usize = 63;

/// The open brackets: one bit each, in words of 63 levels.
#[derive(Clone, Debug)]
pub(super) struct Brackets {
    /// The kinds of the innermost levels, the innermost one in the lowest bit; set for objects.
    /// Above them is one more bit that is set.
    inner: u64,
    /// The outer levels, in full words. Ordinary documents have none, and need no heap.
    outer: Vec<u64>,
}

/// No levels.
const EMPTY: u64 = 1;

/// One level, an object.
const OUTERMOST: u64 = 0b11;

impl Default for Brackets {
    fn default() -> Self {
        Self {
            inner: EMPTY,
            outer: Vec::new(),
        }
    }
}

impl Brackets {
    /// Returns the number of open brackets.
    pub(super) fn depth(&self) -> usize {
        self.outer.len() * WORD + self.inner.ilog2() as usize
    }

    /// Returns whether the top-level object is open, and no other bracket.
    #[inline(always)]
    pub(super) fn is_outermost(&self) -> bool {
        self.inner == OUTERMOST && self.outer.is_empty()
    }

    /// Returns whether the innermost bracket is an object's.
    #[inline(always)]
    pub(super) fn in_object(&self) -> bool {
        self.inner & 1 == 1
    }

    pub(super) fn open(&mut self, bracket: Bracket) -> Result<(), Reason> {
        if self.depth() == MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        if self.inner.leading_zeros() == 0 {
            self.outer.push(self.inner);
            self.inner = EMPTY;
        }
        self.inner = self.inner << 1 | u64::from(bracket == Bracket::Object);
        Ok(())
    }

    /// Closes the innermost bracket, which must exist and be of this kind.
    pub(super) fn close(&mut self, bracket: Bracket) -> Result<(), Reason> {
        if self.inner == EMPTY || self.in_object() != (bracket == Bracket::Object) {
            return Err(Reason::Bracket);
        }
        self.inner >>= 1;
        if self.inner == EMPTY
            && let Some(outer) = self.outer.pop()
        {
            self.inner = outer;
        }
        Ok(())
    }

    /// Consumes the brackets of a block, given as bits, up to the one after which only the outermost
    /// bracket is open. Returns the innermost levels that they leave, the places of the block that
    /// are in objects rather than arrays, and the place of that last bracket; a bracket is at a
    /// place of the outer level. Returns `None` if one does not match, or there might be more levels
    /// than one word has.
    ///
    /// There is no branch on the kinds of brackets, because none could be predicted.
    #[cfg(feature = "simd")]
    #[inline(always)]
    pub(super) fn take_all(
        &self,
        opening: u64,
        closing: u64,
        curly: u64,
    ) -> Option<(Levels, u64, Option<u32>)> {
        if !self.outer.is_empty() || self.inner.leading_zeros() < opening.count_ones() {
            return None;
        }
        let mut inner = self.inner;
        let mut objects = (inner & 1).wrapping_neg();
        let mut mismatch = 0;
        let mut end = None;
        let mut rest = opening | closing;
        while rest != 0 {
            let bit = rest & rest.wrapping_neg();
            let after = !(bit ^ (bit - 1));
            let object = u64::from(curly & bit != 0);
            let closes = closing & bit != 0;
            mismatch |= u64::from(closes) & (inner ^ object);
            inner = if closes {
                inner >> 1
            } else {
                inner << 1 | object
            };
            objects = objects & !after | (inner & 1).wrapping_neg() & after;
            if inner == OUTERMOST {
                end = Some(rest.trailing_zeros());
                break;
            }
            rest ^= bit;
        }
        (mismatch == 0).then_some((Levels(inner), objects, end))
    }

    /// Does the same as [`take_all`](Self::take_all) one by one, for any number of levels.
    #[cfg(feature = "simd")]
    #[cold]
    pub(super) fn take_each(
        &mut self,
        all: u64,
        closing: u64,
        curly: u64,
    ) -> Result<(u64, Option<u32>), Reason> {
        let mut objects = 0;
        let mut from = 0;
        let mut rest = all;
        while rest != 0 {
            let place = rest.trailing_zeros();
            let bit = 1 << place;
            let through = bit | (bit - 1);
            if self.in_object() {
                objects |= through & !from;
            }
            from = through;
            rest ^= bit;
            let bracket = match curly & bit {
                0 => Bracket::Array,
                _ => Bracket::Object,
            };
            if closing & bit == 0 {
                self.open(bracket)?;
            } else {
                self.close(bracket)?;
                if self.is_outermost() {
                    return Ok((objects, Some(place)));
                }
            }
        }
        if self.in_object() {
            objects |= !from;
        }
        Ok((objects, None))
    }

    #[cfg(feature = "simd")]
    #[inline(always)]
    pub(super) fn set_inner(&mut self, Levels(inner): Levels) {
        self.inner = inner;
    }
}

/// The innermost levels, as a block leaves them.
#[cfg(feature = "simd")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels(u64);

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
        use std::iter;

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
            for (depth, fits) in [(59, true), (60, false), (63, false), (64, false)] {
                let mut brackets = Brackets::default();
                for _ in 0..depth {
                    brackets.open(Bracket::Object).unwrap();
                }
                assert_eq!(
                    brackets.take_all(0b1111, 0, 0b0101).is_some(),
                    fits,
                    "{depth}"
                );
            }
        }

        /// Generates open brackets, and a block in which most closing brackets match.
        fn brackets_and_block() -> impl Strategy<Value = (Brackets, Vec<(bool, Bracket)>)> {
            let block = vec((weighted(0.4), weighted(0.5), weighted(0.98)), 0..=64);
            (vec(any::<bool>(), 1..140), block).prop_map(|(open, block)| {
                let kind = |object| match object {
                    true => Bracket::Object,
                    false => Bracket::Array,
                };
                let mut brackets = Brackets::default();
                // In blocks are nested values; the outermost bracket is an object's.
                for object in iter::once(true).chain(open) {
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

        /// Returns the places in objects, by one bracket after the other.
        fn objects(brackets: &Brackets, block: &[(bool, Bracket)]) -> u64 {
            let mut now = brackets.clone();
            let mut objects = 0;
            for place in 0..64 {
                objects |= u64::from(now.in_object()) << place;
                if let Some(bracket) = block.get(place) {
                    let _ = take_each(&mut now, &[*bracket]);
                }
            }
            objects
        }

        proptest! {
            /// A block is consumed exactly if its brackets match and they fit into `inner`; the
            /// result is that of consuming them one by one.
            #[test]
            fn a_block_is_consumed_at_once_or_not_at_all((before, block) in brackets_and_block()) {
                let all = bits(&block, |_| true);
                let closing = bits(&block, |(closes, _)| *closes);
                let curly = bits(&block, |(_, kind)| *kind == Bracket::Object);
                let opens = (all & !closing).count_ones();
                let fits = before.depth() + opens as usize <= WORD;

                let mut one_by_one = before.clone();
                let expected = one_by_one.take_each(all, closing, curly);
                let taken = before.take_all(all & !closing, closing, curly);
                prop_assert_eq!(taken.is_some(), fits && expected.is_ok());
                if let (Some((levels, found, end)), Ok((objects, expected_end))) = (taken, expected) {
                    prop_assert_eq!(end, expected_end);
                    let consumed = end.map_or(u64::MAX, |place| u64::MAX >> (63 - place));
                    prop_assert_eq!(found & consumed, objects & consumed);
                    let mut at_once = before.clone();
                    at_once.set_inner(levels);
                    prop_assert_eq!(format!("{at_once:?}"), format!("{one_by_one:?}"));
                }
            }

            /// One by one, they are consumed up to the last but one level.
            #[test]
            fn a_block_is_consumed_up_to_the_end_of_a_value((before, block) in brackets_and_block()) {
                let mut expected = before.clone();
                let end = block.iter().position(|bracket| {
                    take_each(&mut expected, &[*bracket]).is_err()
                        || bracket.0 && expected.is_outermost()
                });
                let all = bits(&block, |_| true);
                let closing = bits(&block, |(closes, _)| *closes);
                let curly = bits(&block, |(_, kind)| *kind == Bracket::Object);
                let mut found = before.clone();
                if let Ok((in_objects, place)) = found.take_each(all, closing, curly) {
                    prop_assert_eq!(place.map(|place| place as usize), end);
                    prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
                    let consumed = place.map_or(u64::MAX, |place| u64::MAX >> (63 - place));
                    prop_assert_eq!(in_objects, objects(&before, &block) & consumed);
                }
            }
        }
    }
}
