//! Helpers of several test files.

#![allow(
    dead_code,
    reason = "some feature sets leave out the tests that use a part of it"
)]

pub(crate) mod body;
pub(crate) mod encoding;
pub(crate) mod gateway;
pub(crate) mod log;
#[cfg(feature = "rustls")]
pub(crate) mod server;
pub(crate) mod shape;
pub(crate) mod source;
