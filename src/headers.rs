//! What a message's head says of its body.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};

/// Checksums of the body (RFC 9530, and its ancestors RFC 3230 and RFC 1864).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let text = values.next()?.to_str().ok()?;
    // `parse` would take a plus sign too.
    let is_plain = values.next().is_none() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Makes the head true of a body that is other than it was, and longer by
/// `change` bytes.
pub(crate) fn update_length_and_digests(headers: &mut HeaderMap, change: i64) {
    // One allocation less than by `HeaderValue::from(u64)`.
    let text = content_length(headers).map(|old| old.saturating_add_signed(change).to_string());
    match text.and_then(|text| HeaderValue::try_from(text).ok()) {
        Some(length) => {
            headers.insert(CONTENT_LENGTH, length);
        }
        // Absent, or nothing that could be mended.
        None => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    strip_stale_digests(headers);
}

/// Makes the head true of a body that may become other than it was.
pub(crate) fn remove_length_and_digests(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    strip_stale_digests(headers);
}

/// Removes the checksums of a body that has changed; trailers can have them
/// too.
pub(crate) fn strip_stale_digests(headers: &mut HeaderMap) {
    // One look at every name costs less than four that are looked up.
    if !headers.keys().any(|name| DIGESTS.contains(&name.as_str())) {
        return;
    }
    for digest in DIGESTS {
        headers.remove(digest);
    }
}

/// Whether some server may take one header for the other: CGI and its kin (WSGI,
/// PHP) turn both `-` and `_` into `_`.
pub(crate) fn is_cgi_equivalent(a: &HeaderName, b: &HeaderName) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte };
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

/// Removes every header that some server may take for this one.
pub(crate) fn remove_cgi_equivalents(headers: &mut HeaderMap, name: &HeaderName) {
    while let Some(alike) = headers
        .keys()
        .find(|other| is_cgi_equivalent(name, other))
        .cloned()
    {
        headers.remove(alike);
    }
}

/// Whether a media type, without parameters and in any letter case, is JSON
/// (RFC 6839, 3.1).
pub(crate) fn is_json(essence: &str) -> bool {
    let essence = essence.as_bytes();
    let (prefix, suffix) = (b"application/", b"+json");
    essence.eq_ignore_ascii_case(b"application/json")
        || essence.len() >= prefix.len() + suffix.len()
            && essence[..prefix.len()].eq_ignore_ascii_case(prefix)
            && essence[essence.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_length_that_cannot_be_mended_is_removed() {
        for (before, after) in [
            (Some("13"), Some("20")),
            (Some("13, 13"), None),
            (Some("+13"), None),
            (None, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(before) = before {
                headers.insert(CONTENT_LENGTH, before.parse().unwrap());
            }
            update_length_and_digests(&mut headers, 7);
            let length = headers
                .get(CONTENT_LENGTH)
                .map(|value| value.to_str().unwrap());
            assert_eq!(length, after);
        }
    }

    #[test]
    fn headers_that_differ_in_dashes_and_underscores_are_alike() {
        let mut headers = HeaderMap::new();
        for name in ["model_id", "model-id", "model_idx", "x-model_id"] {
            headers.append(HeaderName::from_static(name), "x".parse().unwrap());
        }
        remove_cgi_equivalents(&mut headers, &HeaderName::from_static("model_id"));
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["model_idx", "x-model_id"]);
    }
}
