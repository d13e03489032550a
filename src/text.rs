//! Text of others on its way into messages and logs.

/// The first characters of a client's text.
pub(crate) fn abridge(text: &str) -> String {
    const MAX_CHARS: usize = 128;
    match text.char_indices().nth(MAX_CHARS) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
