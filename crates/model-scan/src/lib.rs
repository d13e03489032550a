//! Finds the `model` of a request while its body streams by, and rewrites the one in a response.
//!
//! A request to an LLM API names its model in the top-level `model` of a JSON object, or in the
//! `model` part of a `multipart/form-data` body. [`ModelScanner`] is fed such a body frame by
//! frame, can stop and resume at any byte, builds no tree and copies nothing. It returns byte
//! offsets: where the model is ([`ModelField`]), and which bytes to put where so that the body
//! names another one ([`Edit`]). [`rewrite::ModelRewriter`] sets the `model` of a response, JSON or
//! server-sent events, as it streams by.
//!
//! The crate knows neither HTTP nor async: bytes in, offsets and bytes out.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use model_scan::{ModelField, ModelScanner, Replacement};
//!
//! let frames = [r#"{"stream":true,"mod"#, r#"el":"gpt-4o","messages":[]}"#];
//! let mut scanner = ModelScanner::json();
//! for frame in frames {
//!     scanner.feed(frame.as_bytes())?;
//! }
//! scanner.finish()?;
//!
//! let mut body = frames.concat().into_bytes();
//! let ModelField::String { span, escaped } = scanner.model() else {
//!     panic!("the body names a model");
//! };
//! let raw = &body[span.start as usize..span.end as usize];
//! assert_eq!(scanner.decode(raw, escaped)?, "gpt-4o");
//!
//! let replacement = Replacement {
//!     text: "0xb603",
//!     literal: &Bytes::from_static(b"\"0xb603\""),
//! };
//! for edit in scanner.edits(replacement)? {
//!     body.splice(edit.span.start as usize..edit.span.end as usize, edit.bytes);
//! }
//! assert_eq!(body, br#"{"stream":true,"model":"0xb603","messages":[]}"#);
//! # Ok::<_, model_scan::ScanError>(())
//! ```
//!
//! # Accepted bodies
//!
//! A body is rejected wherever two parsers could disagree about which model it names.
//!
//! - **JSON.** The top level must be one object of RFC 8259 with nothing but white space around it.
//!   Its keys and the model must be valid strings throughout; of other strings only the end
//!   matters. In nested values brackets must match and nest at most 1,024 levels deep, and outside
//!   of strings only bytes of the JSON alphabet may occur. A second top-level `model`, and a key
//!   that differs from it only in letter case, are errors.
//! - **Multipart.** Delimiters, part heads and the final delimiter must be spelled as RFC 2046 and
//!   RFC 7578 have it, without what only some servers accept. A second `model` part, and a name
//!   that some servers read as `model`, are errors, and so is a `model` part that is a file,
//!   encoded, not UTF-8 or longer than 64 KiB.
//!
//! Forms of some clients are rejected, because servers read them differently:
//!
//! | form | clients | remedy |
//! |---|---|---|
//! | a text part in ISO-8859-1 | Apache HttpClient's `addTextBody` with its default type | send `text/plain; charset=utf-8` |
//! | a line end in a file name | Go 1.19, Ruby's `net/http`, LWP | rename the file |
//! | ` name=` or `;name=` in a file name | all | rename the file |
//! | a backslash at the end of a file name | clients that do not escape it, such as `fetch` | rename the file |
//!
//! # Cost
//!
//! Time is linear in the number of bytes, however they are cut into frames. The memory of a JSON
//! scanner is constant, except for one bit per level of nesting past 64; that of a multipart
//! scanner is at most 16 KiB, for an unfinished header line.
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `simd` | yes | vector instructions in the JSON scanner, chosen at run time; without them it is 3 to 40 times slower |
//! | `oracle` | no | the module `oracle`: naive readers that the scanners are tested against |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod edit;
mod error;
mod json;
mod multipart;
#[cfg(any(test, feature = "oracle"))]
#[cfg_attr(docsrs, doc(cfg(feature = "oracle")))]
pub mod oracle;
#[cfg(test)]
mod random;
pub mod rewrite;
mod scanner;

pub use edit::{Edit, ValueKind};
pub use error::{ScanError, ScanErrorKind};
pub use scanner::{ModelField, ModelScanner, Replacement};

/// The README's example is a test too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
