//! Sanitizes untrusted text for messages and logs.

/// Returns the first 128 characters of `text`, with those that could act on a terminal or reorder
/// a line replaced. It does not escape quotes.
pub(crate) fn sanitize_for_log(text: &str) -> String {
    const MAX_CHARS: usize = 128;

    let mut chars = text.chars();
    let mut sanitized: String = chars
        .by_ref()
        .take(MAX_CHARS)
        .map(|c| if is_unsafe_to_print(c) { '\u{fffd}' } else { c })
        .collect();
    if chars.next().is_some() {
        sanitized.push('…');
    }
    sanitized
}

/// Returns `true` for control characters, line and paragraph separators, and characters that are
/// invisible or change the direction of text. JSON needs no escape for most of them.
fn is_unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_unsafe_characters_and_truncates() {
        let harmless = "größe \"1\" e\u{301} 模型";
        assert_eq!(sanitize_for_log(harmless), harmless);
        for c in "\0\n\r\u{1b}\u{7f}\u{9b}\u{2028}\u{202e}\u{2066}\u{feff}".chars() {
            assert_eq!(sanitize_for_log(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        let longest = "é".repeat(128);
        assert_eq!(sanitize_for_log(&longest), longest);
        assert_eq!(sanitize_for_log(&"é".repeat(129)), longest + "…");
    }
}
