//! The error and the frame conversion that request and response bodies share.

use bytes::{Buf, Bytes};
use http_body::Frame;

/// Any error, in the form that tower, axum and hyper use.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Converts a frame's data into `Bytes`, without a copy if it already is. Other frames stay
/// unchanged.
pub(crate) fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
