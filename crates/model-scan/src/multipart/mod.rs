//! An incremental scanner of multipart/form-data (RFC 7578): finds the content of the part named
//! `model` while the form streams by.
//!
//! It is strict, because two readers of one form must never see two models, or one see a model
//! and the other none. A form passes only if every server reads it the same way; where parsers
//! are known to differ, it is refused, and a comment at that place says who reads what:
//!
//! - Delimiters: CRLF, `--boundary`, CRLF, without padding; and `--boundary` stands nowhere else,
//!   neither in content nor in heads. Nothing but one empty line comes before the first, the close
//!   delimiter must be there, and nothing but empty lines follows it.
//! - Heads: lines end in CRLF and are UTF-8 without control characters, each `Name: value`, not
//!   folded, at most 16 KiB and 32 headers; exactly one Content-Disposition, `form-data` with one
//!   `name`. A Content-Length must be true.
//! - Names: `name="model"` or `name=model`, with `name` in lower case. One that some server might
//!   read as `model` is [`AmbiguousModel`](MultipartErrorKind::AmbiguousModel).
//! - The `model` part: once, plain text in UTF-8, at most 64 KiB, no file, no encoding.

mod edits;
mod error;
mod head;
mod name;
#[cfg(any(test, feature = "oracle"))]
pub(crate) mod oracle;
mod params;
mod scanner;
#[cfg(test)]
mod tests;

use error::Reason;
pub(crate) use error::{MultipartError, MultipartErrorKind};
pub(crate) use scanner::{Model, MultipartScanner};
