//! Tests of the multipart scanner, each form whole and cut into pieces.

mod clients;
mod content;
mod delimiters;
mod disposition;
mod edits;
mod heads;
mod properties;

use super::{
    Model, MultipartError, MultipartErrorKind, MultipartScanner, Reason,
    oracle::{Outcome, check, scan_frames},
};

const BOUNDARY: &str = "XyZ";

/// Scans `form` in one piece and byte by byte, with the same result.
fn scan_with(boundary: &str, form: impl AsRef<[u8]>) -> Outcome {
    let form = form.as_ref();
    let whole = scan_frames(boundary, [form]);
    assert_eq!(whole, scan_frames(boundary, form.chunks(1)), "byte by byte");
    whole
}

fn scan(form: impl AsRef<[u8]>) -> Outcome {
    scan_with(BOUNDARY, form)
}

/// Returns the model's content in a form that must be accepted.
#[track_caller]
fn model(form: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let form = form.as_ref();
    let span = scan(form).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(form)));
    span.map(|(start, end)| form[start as usize..end as usize].to_vec())
}

#[track_caller]
fn assert_model(form: impl AsRef<[u8]>, expected: &str) {
    let found = model(form).map(|value| String::from_utf8(value).unwrap());
    assert_eq!(found.as_deref(), Some(expected));
}

#[track_caller]
fn assert_rejected(form: impl AsRef<[u8]>, kind: MultipartErrorKind, offset: usize) {
    let form = form.as_ref();
    let error = MultipartError::new(kind, offset as u64);
    assert_eq!(scan(form), Err(error), "{}", String::from_utf8_lossy(form));
}

#[track_caller]
fn assert_invalid(form: impl AsRef<[u8]>, reason: Reason, offset: usize) {
    assert_rejected(form, MultipartErrorKind::Invalid(reason), offset);
}

/// Asserts that `form` is rejected at the first byte of `place` in it.
#[track_caller]
fn assert_invalid_at(form: impl AsRef<[u8]>, reason: Reason, place: &str) {
    let form = form.as_ref();
    let offset = memchr::memmem::find(form, place.as_bytes()).expect("the place is in the form");
    assert_invalid(form, reason, offset);
}

/// Returns a form of these parts, each a head without its last line end, and a content.
fn form(parts: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (head, content) in parts {
        form += &format!("--{BOUNDARY}\r\n{head}\r\n\r\n{content}\r\n");
    }
    form + &format!("--{BOUNDARY}--\r\n")
}

const FILE: (&str, &str) = (
    "Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg",
    "ID3\x04\r\n\r\n--\r\n--Xy\r\nsound\r\r\n",
);
const MODEL: (&str, &str) = (
    "Content-Disposition: form-data; name=\"model\"",
    "whisper-1",
);
