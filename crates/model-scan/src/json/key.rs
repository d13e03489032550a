/// How a key compares to the one that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMatch {
    /// Another key.
    Different,
    /// Equal but for the case of its letters.
    OtherCase,
    /// Equal.
    Exact,
}

/// The key that is looked for in requests.
pub(super) const TARGET: &[u8] = b"model";

/// Compares a key with the one that is looked for as it is decoded, so that keys need not be
/// collected, however long they are.
///
/// Parsers that ignore letter case do not all agree on what that means: Go's
/// `encoding/json` folds by Unicode, where `K` (the Kelvin sign) is a `k` and
/// `ſ` (the long s) is an `s`. None of the letters in `model` has such a
/// relative, so that ASCII folding covers all of them; a test checks that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyMatcher {
    /// How many units were equal but for case, or a number past the target's
    /// length after one that was not.
    len: usize,
    other_case: bool,
}

impl KeyMatcher {
    const DIFFERENT: usize = usize::MAX;

    /// Takes the key's next decoded UTF-16 unit (or anything beyond ASCII in
    /// place of one that is beyond ASCII).
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

    /// The verdict at the end of the key.
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

/// Compares a key that has no escapes.
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
    fn only_the_exact_key_is_the_same() {
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
    fn no_letter_beyond_ascii_folds_to_a_letter_of_the_target() {
        for c in (0x80..=0x10ffff).filter_map(char::from_u32) {
            let mut folded = c.to_lowercase().chain(c.to_uppercase());
            let mut next = c.to_uppercase().flat_map(char::to_lowercase);
            let clash = |f: char| f.is_ascii() && TARGET.contains(&(f.to_ascii_lowercase() as u8));
            // A fold to more than one character is none that simple folding does.
            let simple = c.to_lowercase().count() == 1 && c.to_uppercase().count() == 1;
            assert!(!simple || !(folded.any(clash) || next.any(clash)), "{c:?}");
        }
    }
}
