//! Compares the rewrite of responses with a naive reader.

mod reader;

use bytes::Bytes;

use self::reader::Literal;
use super::{MAX_HELD, ModelRewriter, ResponseFormat};

const NAME: &str = r#""the name""#;

/// Asserts of a response in these frames that all of it goes out and nothing but model literals
/// changes, that it changes where a naive reader says so, and that nothing is held back but a model
/// that is not complete.
///
/// # Panics
///
/// Panics if that does not hold.
pub fn check(format: ResponseFormat, frames: &[&[u8]]) {
    let response = frames.concat();
    let literals = reader::literals(format, &response);
    let mut rewriter = ModelRewriter::new(format, Bytes::from_static(NAME.as_bytes()));
    let mut out = Vec::new();
    let mut read = 0;
    for frame in frames {
        out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(frame)));
        read += frame.len();
        assert!(
            rewriter.is_empty() || reader::is_pending(format, &response[..read]),
            "bytes are held back after {read} bytes"
        );
        assert!(rewriter.held.len() as u64 <= MAX_HELD);
    }
    out.extend_from_slice(&rewriter.flush());
    assert!(rewriter.is_empty());
    compare(&response, &literals, &out);
}

/// Asserts that the output is the response with the name in place of all literals that must be
/// replaced, and perhaps of others.
fn compare(response: &[u8], literals: &[Literal], out: &[u8]) {
    let mut rest = out;
    let mut done = 0;
    for literal in literals {
        let (before, spelling) = (
            &response[done..literal.span.start],
            &response[literal.span.clone()],
        );
        rest = rest
            .strip_prefix(before)
            .expect("the bytes before a literal stay");
        let replaced = rest.strip_prefix(NAME.as_bytes());
        assert!(
            replaced.is_some() || !literal.must_change,
            "{} is not replaced",
            spelling.escape_ascii()
        );
        rest = replaced
            .or_else(|| rest.strip_prefix(spelling))
            .expect("a literal stays, or is replaced");
        done = literal.span.end;
    }
    assert_eq!(rest, &response[done..], "the bytes after the literals stay");
}
