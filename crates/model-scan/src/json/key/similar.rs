//! Keys that are `model` once letter case and what readers drop from keys is ignored.

/// A comparison with `model`, character by character.
///
/// Readers that ignore letter case fold differently: Go's `encoding/json` folds by Unicode, where
/// `K` (the Kelvin sign) is a `k` and `ſ` (the long s) is an `s`. No character beyond ASCII folds
/// to a letter of `model`, as a test checks, so ASCII folding covers them all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Similar {
    /// The number of letters that were equal, or [`Self::DIFFERENT`].
    len: u8,
    /// Whether the target was complete at a NUL, where readers in C and fastjson2 end the key.
    ended: bool,
}

pub(super) const MODEL: &str = "model";

impl Similar {
    const DIFFERENT: u8 = u8::MAX;

    pub(super) fn push(&mut self, c: char) {
        if c == '\0' {
            self.ended |= self.is_target();
        }
        if is_dropped(c) || self.len == Self::DIFFERENT {
            return;
        }
        self.len = match MODEL.as_bytes().get(usize::from(self.len)) {
            Some(&letter) if c.eq_ignore_ascii_case(&letter.into()) => self.len + 1,
            _ => Self::DIFFERENT,
        };
    }

    pub(super) fn is_target(self) -> bool {
        self.ended || usize::from(self.len) == MODEL.len()
    }
}

/// Returns whether some readers drop the character from keys: fastjson drops `_` and `-`,
/// `cJSON_Minify` and others white space, @streamparser/json U+FEFF. Jackson 1 compares keys as
/// integers of four bytes, in which NULs before the last letters vanish.
pub(in super::super) fn is_dropped(c: char) -> bool {
    c < ' ' || c.is_whitespace() || matches!(c, '_' | '-') || is_format(c)
}

/// Returns whether the character is of Unicode's general category Cf, which is invisible.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}'
        | '\u{600}'..='\u{605}'
        | '\u{61c}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'..='\u{891}'
        | '\u{8e2}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}'
        | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}'
        | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_chars() -> impl Iterator<Item = char> {
        ('\0'..=char::MAX).filter(|c| !c.is_ascii())
    }

    #[test]
    fn no_character_beyond_ascii_folds_to_a_letter_of_the_target() {
        for c in all_chars() {
            let mut folded = c.to_lowercase().chain(c.to_uppercase());
            let mut next = c.to_uppercase().flat_map(char::to_lowercase);
            let clash = |f: char| MODEL.contains(f.to_ascii_lowercase());
            // Simple folding never yields more than one character.
            let simple = c.to_lowercase().count() == 1 && c.to_uppercase().count() == 1;
            assert!(!simple || !(folded.any(clash) || next.any(clash)), "{c:?}");
        }
    }

    #[test]
    fn format_characters_are_those_of_unicode() {
        let class = regex_syntax::parse(r"\p{Cf}").unwrap();
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) =
            class.kind()
        else {
            panic!("a class");
        };
        let expected: Vec<char> = class
            .iter()
            .flat_map(|range| range.start()..=range.end())
            .collect();
        let found: Vec<char> = ('\0'..=char::MAX).filter(|&c| is_format(c)).collect();
        assert_eq!(found, expected);
    }
}
