//! What the targets check, each for any input at all.
//!
//! The checks themselves lie with the tests, which run them on random input.

#[path = "../../tests/it/fuzz/mod.rs"]
mod checks;

/// What the tests have at hand.
#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../../tests/it/support"]
mod support {
    pub(crate) mod body;
    pub(crate) mod gateway;
    pub(crate) mod source;
}

use tower_model_routing::fuzzing;

use checks::input::cut;

/// The JSON scanner, whole and cut, against a naive reader and `serde_json`.
///
/// The input: lengths of frames, and the document.
pub fn scanner(input: &[u8]) {
    if let Some((document, frames)) = frames(input) {
        fuzzing::json(document, &frames);
    }
}

/// The scanner of forms, whole and cut, against a naive reader.
///
/// The input: a byte that selects the boundary, lengths of frames, and the form.
pub fn multipart(input: &[u8]) {
    // Some are easily taken for something else.
    const BOUNDARIES: [&str; 4] = ["XyZ", "a", "--", "----WebKitFormBoundary0Az"];

    let Some((&boundary, input)) = input.split_first() else {
        return;
    };
    if let Some((form, frames)) = frames(input) {
        let boundary = BOUNDARIES[usize::from(boundary) % BOUNDARIES.len()];
        fuzzing::multipart(boundary, form, &frames);
    }
}

/// The restorer of names, whole and cut, against a naive reader of answers.
///
/// The input: a byte that selects the kind of answer, lengths of frames, and
/// the answer.
pub fn restore(input: &[u8]) {
    let Some((&kind, input)) = input.split_first() else {
        return;
    };
    if let Some((_, frames)) = frames(input) {
        let events = match kind % 4 {
            0 => None,
            1 => Some(None),
            2 => Some(Some("response")),
            _ => Some(Some("message")),
        };
        fuzzing::restore(events, &frames);
    }
}

/// A request through the whole layer.
pub fn request(input: &[u8]) {
    checks::request::check(input);
}

/// A list of models.
pub fn catalog(input: &[u8]) {
    checks::catalog::check(input);
}

/// Names, IDs, tags and errors in statistics, headers, lists and answers.
pub fn names(input: &[u8]) {
    checks::names::check(input);
}

/// Takes lengths of frames off the front of an input. Returns the rest, whole
/// and cut into frames of these lengths.
fn frames(input: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (lengths, bytes) = input.split_first_chunk()?;
    Some((bytes, cut(bytes, lengths)))
}
