//! An incremental JSON scanner that finds the top-level `model` of a request.
//!
//! The scanner is fed a body frame by frame and can stop and resume at any
//! byte. It builds no tree and copies nothing: all it reports are byte offsets,
//! so that a caller can put another name in place of the model's by slicing.
//!
//! # What is checked
//!
//! The rule is to be strict wherever two JSON parsers could disagree about
//! which `model` a document names, and to leave everything else to whoever
//! parses the document in full:
//!
//! - *At the top level* the full grammar of RFC 8259 holds: one object with
//!   nothing but white space around it. Keys and the model's own value must be
//!   valid strings throughout; of other strings only the end matters, which is
//!   the first quote that is not escaped.
//! - *In nested values* brackets must match by kind and nest at most
//!   1,024 deep (the top-level object is the first level), and outside
//!   strings only bytes of the JSON alphabet may occur.
//! - A second `model`, and a key that differs from `model` only in letter case,
//!   are errors.
//!
//! # How
//!
//! An automaton that takes a byte at a time is what defines the scanner
//! ([`scanner`]). Two short cuts give it its speed, and neither changes any
//! result: whole members are taken at once as long as nothing about them is out
//! of the ordinary ([`members`]), and an [`engine`] skips what is inside nested
//! values and long strings. With the feature `simd`, on by default, that engine
//! looks at blocks of 64 bytes with vector instructions (`simd.rs`).
//!
//! # Cost
//!
//! Time is linear in the number of bytes, however they are cut into frames.
//! Memory is constant, but for a bit per level of nesting past 64.

mod brackets;
#[cfg(any(test, feature = "oracle"))]
pub mod check;
mod engine;
mod error;
mod key;
mod members;
mod model;
mod nested;
mod number;
mod scanner;
#[cfg(feature = "simd")]
mod simd;
mod string;
#[cfg(test)]
mod tests;
mod text;

#[cfg(any(test, feature = "oracle"))]
pub use self::error::Reason;
pub use self::{
    error::{ScanError, ScanErrorKind},
    model::{Insertion, Model, ValueKind},
    scanner::Scanner,
    string::decode_string,
};
