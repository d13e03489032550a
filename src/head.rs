//! What a message's head says of its body.

use http::{HeaderMap, HeaderValue, header::CONTENT_LENGTH};

/// Checksums of the body (RFC 9530, and its ancestors RFC 3230 and RFC 1864).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    parse(headers.get(CONTENT_LENGTH)?)
}

/// Makes the head true of a body that is other than it was, and longer by
/// `change` bytes.
pub(crate) fn body_has_changed(headers: &mut HeaderMap, change: i64) {
    if let Some(value) = headers.get_mut(CONTENT_LENGTH)
        && let Some(length) = parse(value)
        // One allocation less than by `HeaderValue::from(u64)`.
        && let Ok(length) = length.saturating_add_signed(change).to_string().try_into()
    {
        *value = length;
    }
    remove_digests(headers);
}

/// Makes the head true of a body that may become other than it was.
pub(crate) fn body_may_change(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    remove_digests(headers);
}

/// Removes the checksums of a body that has changed; trailers can have them
/// too.
pub(crate) fn remove_digests(headers: &mut HeaderMap) {
    // One look at every name costs less than four that are looked up.
    if !headers.keys().any(|name| DIGESTS.contains(&name.as_str())) {
        return;
    }
    for digest in DIGESTS {
        headers.remove(digest);
    }
}

fn parse(length: &HeaderValue) -> Option<u64> {
    length.to_str().ok()?.parse().ok()
}
