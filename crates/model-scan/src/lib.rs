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
//! - **JSON.** The whole body must be one JSON object of RFC 8259 in valid UTF-8, nested values
//!   included, at most 1,024 levels deep (1,023 inside the object), with nothing but white space
//!   around it. Surrogates as escapes must be paired in top-level keys and in the model; elsewhere
//!   they need not be. A second top-level `model` is an error, and so is a top-level key that some
//!   readers take for it:
//!
//!   | top-level key | reader, for example |
//!   |---|---|
//!   | `Model`: another letter case | Go's encoding/json, Gson |
//!   | `_model`, `mo-del`, `"model "`, `mode\u0000l`, U+FEFF before it: `model` once white space (White_Space), control characters, invisible characters (Cf), `_` and `-` are dropped, in any letter case | fastjson, @streamparser/json, Jackson 1 |
//!   | `model\u0000…`: the same before an escaped NUL | readers in C, fastjson2 |
//!   | `"mod\u0065l"`, `"mod\u0065"`, `"a\u0026b"`: a `\u` escape of printable ASCII anywhere in any key | goccy/go-json, simdjson |
//!   | the hash of `model` | json-iterator/go, fastjson2 |
//!   | `<<`, `__proto__`, `$id`, `$ref` | Psych, jsonlint, Newtonsoft.Json |
//!
//! - **Multipart.** Delimiters, part heads and the final delimiter must be spelled as RFC 2046 and
//!   RFC 7578 have it, without what only some servers accept. A second `model` part, and a name
//!   that some servers read as `model`, are errors, and so is a `model` part that is a file,
//!   encoded, not UTF-8 or longer than 64 KiB.
//!
//! ## What clients can emit and is rejected
//!
//! ### In JSON
//!
//! | in the body | emitted by | remedy, which the error names too |
//! |---|---|---|
//! | `NaN`, `Infinity`, `-Infinity` | Python's `json.dumps`, Gson's lenient mode | send `null`; in Python pass `allow_nan=False` to find the value |
//! | a byte order mark | .NET's and PowerShell's UTF-8 writers | encode as UTF-8 without BOM |
//! | UTF-16, UTF-32 | PowerShell, .NET's `Encoding.Unicode` | encode as UTF-8 without BOM |
//! | raw control characters, such as line feeds in strings | JSON put together by hand, in shell scripts | escape them: `\n` |
//! | bytes that are not UTF-8 | Latin-1 strings of PHP or Perl, cut characters | encode as UTF-8 |
//! | trailing commas, comments, single quotes, unquoted keys | JSON5, JavaScript literals, Python's `repr` | remove them; use double quotes |
//! | `\u0026`, `\u003c`, `\u003e` in a top-level key | Go's encoding/json, for keys with `&`, `<`, `>` | rename the key, or `SetEscapeHTML(false)` |
//!
//! Everything else that JSON allows passes: unpaired surrogates as escapes in values, escaped NULs,
//! numbers of any size, duplicate keys other than `model`.
//!
//! ### In forms
//!
//! Servers read these differently:
//!
//! | form | clients | remedy |
//! |---|---|---|
//! | a text part in ISO-8859-1 | Apache HttpClient's `addTextBody` with its default type | send `text/plain; charset=utf-8` |
//! | a line end in a file name | Go 1.19, Ruby's `net/http`, LWP | rename the file |
//! | ` name=model` or `;name=model` in a file name | all | rename the file |
//! | a part in `base64` or `quoted-printable` | Python's `email`, Indy | send it as it is |
//! | a boundary with `=` | Python's `email`, JavaMail | set another one |
//! | a backslash at the end of a file name | clients that do not escape it, such as `fetch` | rename the file |
//!
//! # Cost
//!
//! Time is linear in the number of bytes, however they are cut into frames. The memory of a JSON
//! scanner is constant, except for one bit per level of nesting past 64; that of a multipart
//! scanner is at most 4 KiB, for an unfinished header line.
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `simd` | yes | vector instructions in the JSON scanner, chosen at run time; without them, or with `lto = "off"`, it is 4 to 100 times slower |
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
