//! An incremental scanner of JSON that finds the top-level `model`.
//!
//! What is accepted is on the crate's page.
//!
//! An automaton that consumes one byte at a time defines the scanner ([`scanner`]). Two short cuts
//! give it its speed, and neither changes any result: ordinary members are consumed as a whole
//! ([`members`]), and an [`engine`] skips nested values and long strings. With the feature `simd`
//! that engine reads blocks of 64 bytes with vector instructions (`simd.rs`).

mod brackets;
mod edits;
mod engine;
mod error;
mod feed;
mod key;
mod members;
mod model;
mod number;
#[cfg(any(test, feature = "oracle"))]
pub(crate) mod oracle;
mod scanner;
#[cfg(feature = "simd")]
mod simd;
mod string;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "oracle"))]
use self::error::Reason;
pub(crate) use self::{
    error::{JsonError, JsonErrorKind},
    model::{Insertion, Model},
    scanner::JsonScanner,
    string::decode_string,
};
