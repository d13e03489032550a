//! Compares the rewrite of responses with a naive reader.

mod reader;

use bytes::Bytes;

use self::reader::Literal;
use super::{IdRewriter, MAX_HELD, ModelRewriter, ResponseFormat, TextFormat};

const NAME: &str = r#""the name""#;

/// Asserts of a response in these frames that all of it goes out and nothing but model literals
/// changes, that it changes where a naive reader says so, and that nothing is held back but a model
/// that is not complete. With a look-up only the literals change that it has a name for.
///
/// # Panics
///
/// Panics if that does not hold.
pub fn check(format: ResponseFormat, frames: &[&[u8]]) {
    let name = Bytes::from_static(NAME.as_bytes());
    let fixed = ModelRewriter::new(format, name.clone());
    check_rewriter(format, frames, fixed, |_| true);
    let is_known = |literal: &[u8]| literal.len().is_multiple_of(2);
    let lookup = move |literal: &[u8]| is_known(literal).then(|| name.clone());
    let lookup = ModelRewriter::with_lookup(format, lookup);
    check_rewriter(format, frames, lookup, is_known);
}

fn check_rewriter(
    format: ResponseFormat,
    frames: &[&[u8]],
    mut rewriter: ModelRewriter,
    is_known: impl Fn(&[u8]) -> bool,
) {
    let response = frames.concat();
    let mut literals = reader::literals(format, &response);
    literals.retain(|literal| is_known(&response[literal.span.clone()]));
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

/// Asserts of an error message in these frames that the words in it that are an ID, as a naive
/// reader finds them, are replaced, and nothing else.
///
/// # Panics
///
/// Panics if that does not hold.
pub fn check_error(format: TextFormat, frames: &[&[u8]]) {
    // It may seem to begin within an escape.
    const ID: &str = "n0";

    let mut rewriter = IdRewriter::new(format, ID.into(), "the name".into());
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(frame)));
    }
    out.extend_from_slice(&rewriter.flush());
    assert!(rewriter.is_empty());

    let text = frames.concat();
    if text.len() > IdRewriter::MAX_LEN {
        assert_eq!(out, text);
        return;
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let mut expected = Vec::new();
    let mut rest = &text[..];
    let mut is_in_word = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(ID.as_bytes())
            && !is_in_word
            && !after.first().is_some_and(is_part)
        {
            expected.extend_from_slice(b"the name");
            rest = after;
            continue;
        }
        let len = match (format, rest) {
            (TextFormat::Json, [b'\\', b'u', digits @ ..]) => {
                let digits = digits
                    .iter()
                    .take(4)
                    .filter(|byte| byte.is_ascii_hexdigit());
                if digits.count() < 4 {
                    // No JSON, and any reading of it is as good as another.
                    return;
                }
                6
            }
            (TextFormat::Json, [b'\\', ..]) => 2,
            _ => 1,
        };
        let (token, after) = rest.split_at(len.min(rest.len()));
        expected.extend_from_slice(token);
        is_in_word = len == 1 && is_part(&token[0]);
        rest = after;
    }
    assert_eq!(out, expected, "{}", text.escape_ascii());
}
