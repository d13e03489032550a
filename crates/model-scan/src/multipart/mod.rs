//! An incremental scanner of `multipart/form-data` (RFC 7578) that finds the `model` part.
//!
//! No two readers of an accepted form may see different models, or one a model and the other none.
//! Where parsers are known to differ the form is rejected, and a comment names the parsers:
//!
//! - Delimiters: CRLF, `--boundary`, CRLF, without padding; `--boundary` occurs nowhere else,
//!   neither in content, where a CR or an LF may be within it, nor in heads. No other line begins
//!   with the boundary, no Content-Disposition follows one in content, and neither heads nor the
//!   model contain one of two characters or more. Only one empty line may come before the first
//!   delimiter, and only CRLF after the close delimiter, which is required.
//! - Heads: lines end in CRLF and are UTF-8 without control characters, each `Name: value`, not
//!   folded, at most 4 KiB and 8 headers. A Content-Length must be right, a charset UTF-8, the type
//!   none whose content is a form, a multipart or a message, and a transfer encoding one that
//!   changes nothing.
//! - Names: exactly one `Content-Disposition: form-data; name="…"`, with one space after the colon
//!   and each semicolon, `name` first and in lower case, its value in quotes or a token. No
//!   parameter is encoded or continued, except `filename*` in UTF-8, which .NET sends. A name that
//!   some server might read as `model` is an
//!   [`AmbiguousModel`](MultipartErrorKind::AmbiguousModel).
//! - The `model` part: once, plain text in UTF-8, at most 64 KiB, not encoded, and without a file
//!   name, which is not in any other header either.

mod broken_delimiter;
mod edits;
mod error;
mod head;
mod lookalikes;
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
