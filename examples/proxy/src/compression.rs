//! Compression of responses for the clients that accept it.

use http::{
    Extensions, HeaderMap, HeaderName, StatusCode, Version,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, TRAILER},
};
use tower_http::{
    CompressionLevel,
    compression::{
        Compression, CompressionLayer,
        predicate::{And, Predicate as _, SizeAbove},
    },
};

use crate::hop_by_hop::tokens;

type HeadPredicate = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;
type Predicate = And<SizeAbove, HeadPredicate>;
/// A service whose responses are compressed.
pub(crate) type Compressed<S> = Compression<S, Predicate>;

/// Returns a layer that compresses JSON and text.
pub(crate) fn layer() -> CompressionLayer<Predicate> {
    /// Smaller responses fit into one packet.
    const MIN_BYTES: u16 = 1024;

    let may_be_compressed: HeadPredicate = may_be_compressed;
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_BYTES).and(may_be_compressed))
}

/// Returns whether the response is text that no header ties to its bytes.
fn may_be_compressed(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    /// With digests of the bytes. `Trailer` may announce one.
    const DIGESTS: [HeaderName; 5] = [
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("repr-digest"),
        TRAILER,
    ];

    let has_strong_etag = headers
        .get(ETAG)
        .is_some_and(|etag| !etag.as_bytes().starts_with(b"W/"));
    let forbids = tokens(headers, &CACHE_CONTROL)
        .any(|directive| directive.eq_ignore_ascii_case("no-transform"));
    is_text(headers)
        // Several ranges have no `Content-Range`.
        && status != StatusCode::PARTIAL_CONTENT
        && !has_strong_etag
        && !forbids
        && !DIGESTS.iter().any(|name| headers.contains_key(name))
}

/// Returns whether the content is JSON or text, and no stream of events or lines.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("text", subtype)) => subtype != "event-stream",
        Some(("application", subtype)) => {
            subtype == "json" || subtype.ends_with("+json") && !subtype.starts_with("grpc")
        }
        _ => false,
    }
}
