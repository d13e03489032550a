//! Incremental scanners that find the `model` of a request or response.

#![allow(missing_docs)]

pub mod json;
pub mod multipart;
pub mod restore;
