//! Naive readers that the scanners are compared with, for tests and fuzz targets.
//!
//! Every check accepts any input and panics if a scanner's result differs from the naive reader's,
//! or depends on how the input is cut into frames.

pub use crate::{
    json::oracle::{check as check_json, suite as json_suite},
    multipart::oracle::check as check_multipart,
    rewrite::oracle::{check as check_rewrite, check_error},
};
