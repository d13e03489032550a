//! What holds of the restorer whatever the answer: property tests and the fuzz target assert it.

mod oracle;

use bytes::Bytes;

use self::oracle::Literal;
use super::{AnswerFormat, MAX_HELD, Restorer};

const NAME: &str = r#""the name""#;

/// Asserts of an answer in these frames that all of it goes out and nothing
/// but model literals changes, that it changes where a naive reader says so,
/// and that nothing is held back but a model that is not complete.
pub fn check(format: AnswerFormat, frames: &[&[u8]]) {
    let answer = frames.concat();
    let literals = oracle::literals(format, &answer);
    let mut restorer = Restorer::new(format, Bytes::from_static(NAME.as_bytes()));
    let mut out = Vec::new();
    let mut read = 0;
    for frame in frames {
        out.extend_from_slice(&restorer.push(Bytes::copy_from_slice(frame)));
        read += frame.len();
        assert!(
            restorer.holds_nothing() || oracle::is_pending(format, &answer[..read]),
            "something is held back after {read} bytes"
        );
        assert!(restorer.held.len() as u64 <= MAX_HELD);
    }
    out.extend_from_slice(&restorer.flush());
    assert!(restorer.holds_nothing());
    compare(&answer, &literals, &out);
}

/// Asserts that the output is the answer, but with the name in place of all
/// those literals that must be replaced, and perhaps of others.
fn compare(answer: &[u8], literals: &[Literal], out: &[u8]) {
    let mut rest = out;
    let mut done = 0;
    for literal in literals {
        let (before, spelling) = (
            &answer[done..literal.span.start],
            &answer[literal.span.clone()],
        );
        rest = rest
            .strip_prefix(before)
            .expect("what comes before a literal stays");
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
    assert_eq!(rest, &answer[done..], "what comes after the literals stays");
}
