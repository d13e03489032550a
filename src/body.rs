//! What request and response bodies share.

use bytes::{Buf, Bytes};
use http_body::Frame;

/// Any error, as tower, axum and hyper take it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The frame with its data as `Bytes`, which copies nothing when it is one
/// already. Frames that are neither data nor trailers stay what they are.
pub(crate) fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
