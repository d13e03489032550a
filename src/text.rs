//! Text of others on its way into messages and logs.

/// The first 128 characters of a text, those that could act on a terminal or
/// reorder a line replaced. Quotes are left to whoever writes it.
pub(crate) fn sanitize_for_log(text: &str) -> String {
    const MAX_CHARS: usize = 128;

    let mut chars = text.chars();
    let mut short: String = chars
        .by_ref()
        .take(MAX_CHARS)
        .map(|c| if is_unsafe_to_print(c) { '\u{fffd}' } else { c })
        .collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Whether it is a control character, a line or paragraph separator, or one
/// that is invisible or changes the direction of text. JSON needs no escape for
/// most of them.
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
    fn what_acts_is_replaced_and_the_rest_stays_up_to_the_bound() {
        assert_eq!(
            sanitize_for_log("größe \"1\" e\u{301} 模型"),
            "größe \"1\" e\u{301} 模型"
        );
        for c in "\0\n\r\u{1b}\u{7f}\u{9b}\u{2028}\u{202e}\u{2066}\u{feff}".chars() {
            assert_eq!(sanitize_for_log(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        assert_eq!(sanitize_for_log(&"é".repeat(128)), "é".repeat(128));
        assert_eq!(sanitize_for_log(&"é".repeat(129)), "é".repeat(128) + "…");
    }
}
