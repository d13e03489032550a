//! Paths as the most lenient server would read them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Returns the path without the file extension of its last segment, if that has one: Rails routes
/// `/v1/embeddings.json` like `/v1/embeddings`.
pub(crate) fn without_extension(path: &str) -> Option<&str> {
    let last = path.bytes().rposition(|byte| byte == b'/')? + 1;
    let dot = path.bytes().skip(last).rposition(|byte| byte == b'.')?;
    (dot > 0).then(|| &path[..last + dot])
}

/// Normalizes a path as the most lenient server would: percent-decoded, without empty and dot
/// segments (RFC 3986, 6.2.2) and without the parameters of segments. A stricter reading would be
/// a way around the layer.
pub(crate) fn normalize(path: &str) -> Cow<'_, str> {
    let trimmed = path.trim_end_matches('/');
    if is_normal(trimmed) {
        return Cow::Borrowed(trimmed);
    }
    let decoded = percent_decode_str(trimmed).decode_utf8_lossy();
    let mut segments = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
}

/// Returns `true` if [`normalize`] has nothing to do.
fn is_normal(path: &str) -> bool {
    let mut pairs = path.as_bytes().windows(2);
    is_plain(path) && !pairs.any(|pair| matches!(pair, b"//" | b"/."))
}

/// Returns `true` if no escape, parameter or backslash hides how a server splits the path.
pub(crate) fn is_plain(path: &str) -> bool {
    !path.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\'))
}
