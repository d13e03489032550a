//! Compares top-level keys with the target key.

/// The result of comparing a key with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMatch {
    /// Another key.
    Different,
    /// Equal except for the case of its letters.
    OtherCase,
    /// Equal.
    Exact,
}

/// The target in requests.
pub(super) const TARGET: &[u8] = b"model";

/// A comparison of a key with the target while the key is decoded, so that no key is collected.
///
/// Parsers that ignore letter case fold differently: Go's `encoding/json` folds by Unicode, where
/// `K` (the Kelvin sign) is a `k` and `ſ` (the long s) is an `s`. No character beyond ASCII folds
/// to a letter of `model`, as a test checks, so ASCII folding covers them all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyMatcher {
    /// The number of units that were equal except for case, or [`Self::DIFFERENT`].
    len: usize,
    other_case: bool,
}

impl KeyMatcher {
    const DIFFERENT: usize = usize::MAX;

    /// Compares the next decoded UTF-16 unit of the key. Any unit beyond ASCII may stand for
    /// another one beyond ASCII.
    pub(super) fn push(&mut self, unit: u16, target: &[u8]) {
        let byte = u8::try_from(unit).unwrap_or(0);
        match target.get(self.len) {
            Some(&expected) if expected.eq_ignore_ascii_case(&byte) => {
                self.other_case |= expected != byte;
                self.len += 1;
            }
            _ => self.len = Self::DIFFERENT,
        }
    }

    /// Returns the result at the end of the key.
    pub(super) fn finish(self, target: &[u8]) -> KeyMatch {
        if self.len != target.len() {
            KeyMatch::Different
        } else if self.other_case {
            KeyMatch::OtherCase
        } else {
            KeyMatch::Exact
        }
    }
}

/// Compares a whole key without escapes.
#[inline(always)]
pub(super) fn compare_key(key: &[u8], target: &[u8]) -> KeyMatch {
    if !key.eq_ignore_ascii_case(target) {
        KeyMatch::Different
    } else if key != target {
        KeyMatch::OtherCase
    } else {
        KeyMatch::Exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_match(key: &str) -> KeyMatch {
        let mut matcher = KeyMatcher::default();
        key.encode_utf16()
            .for_each(|unit| matcher.push(unit, TARGET));
        assert_eq!(matcher.finish(TARGET), compare_key(key.as_bytes(), TARGET));
        matcher.finish(TARGET)
    }

    #[test]
    fn keys_match_exactly_or_in_another_case() {
        assert_eq!(key_match("model"), KeyMatch::Exact);
        for key in ["Model", "MODEL", "modeL", "mOdel"] {
            assert_eq!(key_match(key), KeyMatch::OtherCase, "{key}");
        }
        for key in [
            "",
            "mode",
            "models",
            "modelmodel",
            "xmodel",
            "mödel",
            "modeĬ",
        ] {
            assert_eq!(key_match(key), KeyMatch::Different, "{key}");
        }
    }

    #[test]
    fn no_character_beyond_ascii_folds_to_a_letter_of_the_target() {
        for c in (0x80..=0x10ffff).filter_map(char::from_u32) {
            let mut folded = c.to_lowercase().chain(c.to_uppercase());
            let mut next = c.to_uppercase().flat_map(char::to_lowercase);
            let clash = |f: char| f.is_ascii() && TARGET.contains(&(f.to_ascii_lowercase() as u8));
            // Simple folding never yields more than one character.
            let simple = c.to_lowercase().count() == 1 && c.to_uppercase().count() == 1;
            assert!(!simple || !(folded.any(clash) || next.any(clash)), "{c:?}");
        }
    }
}
