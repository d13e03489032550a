//! Header rules that hold for requests and responses alike: length, digests, equivalent names.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};

/// Digests of the body (RFC 9530, and its predecessors RFC 3230 and RFC 1864).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Returns the `Content-Length` if there is exactly one and it is valid.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let text = values.next()?.to_str().ok()?;
    // `parse` accepts a plus sign, too.
    let is_plain = values.next().is_none() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Updates `Content-Length` and removes digests after the body changed by `delta` bytes.
///
/// An invalid `Content-Length` is removed.
pub(crate) fn update_length_and_digests(headers: &mut HeaderMap, delta: i64) {
    // One allocation less than `HeaderValue::from(u64)`.
    let text = content_length(headers).map(|old| old.saturating_add_signed(delta).to_string());
    let length = text.and_then(|text| HeaderValue::try_from(text).ok());
    // In place, because `insert` may grow the map.
    match (headers.get_mut(CONTENT_LENGTH), length) {
        (Some(value), Some(length)) => *value = length,
        _ => drop(headers.remove(CONTENT_LENGTH)),
    }
    strip_stale_digests(headers);
}

/// Removes what describes the encoded form of a body that is decoded.
pub(crate) fn remove_coding(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    remove_length_and_digests(headers);
}

/// Removes `Content-Length` and digests of a body that may change while it streams.
pub(crate) fn remove_length_and_digests(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    strip_stale_digests(headers);
}

/// Removes the digests of a changed body from its headers or trailers.
pub(crate) fn strip_stale_digests(headers: &mut HeaderMap) {
    // One pass over all names costs less than four lookups.
    if !headers.keys().any(|name| DIGESTS.contains(&name.as_str())) {
        return;
    }
    for digest in DIGESTS {
        headers.remove(digest);
    }
}

/// Returns `true` if CGI, WSGI or PHP may take one header for the other: they turn both `-` and
/// `_` into `_`.
pub(crate) fn is_cgi_equivalent(a: &HeaderName, b: &HeaderName) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte };
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

/// Removes every header that [`is_cgi_equivalent`] to this one, itself included.
pub(crate) fn remove_cgi_equivalents(headers: &mut HeaderMap, name: &HeaderName) {
    while let Some(found) = headers
        .keys()
        .find(|other| is_cgi_equivalent(name, other))
        .cloned()
    {
        headers.remove(found);
    }
}

/// Returns `true` if a media type without parameters is JSON (RFC 6839, 3.1).
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
    fn content_length_is_updated_or_removed_if_invalid() {
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
            let length = headers.get(CONTENT_LENGTH);
            assert_eq!(length.map(|value| value.to_str().unwrap()), after);
        }
    }

    #[test]
    fn dashes_and_underscores_are_cgi_equivalent() {
        let mut headers = HeaderMap::new();
        for name in ["model_id", "model-id", "model_idx", "x-model_id"] {
            headers.append(HeaderName::from_static(name), "x".parse().unwrap());
        }
        remove_cgi_equivalents(&mut headers, &HeaderName::from_static("model_id"));
        let mut remaining: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        remaining.sort_unstable();
        assert_eq!(remaining, ["model_idx", "x-model_id"]);
    }
}
