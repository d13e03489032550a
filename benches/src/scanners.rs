//! Ways to put an ID in place of a body's model.

use std::{borrow::Cow, hint::black_box, ops::Range};

use model_scan::{ModelField, ModelScanner};
use serde::Deserialize;
use simd_json::prelude::ValueObjectAccessAsScalar;

const ID: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";

/// Replaces the model of a body, or finds it, and keeps the optimizer from dropping the result.
pub type Subject = fn(&[u8]);

/// This project's scanner first, then others, and last the lower bound.
pub const SUBJECTS: [(&str, Subject); 8] = [
    ("scanner", scanner),
    ("scanner-16KB-frames", scanner_in_frames),
    ("serde_json-value", value),
    ("serde_json-ignored", ignored),
    ("simd_json-tape", tape),
    ("sonic_rs-lazy-utf8", lazy),
    ("sonic_rs-get", sonic),
    ("memchr2", limit),
];

/// This project's scanner, which reads the body to its end.
#[derive(Debug)]
pub struct ModelFinder(ModelScanner);

impl Default for ModelFinder {
    fn default() -> Self {
        Self(ModelScanner::json())
    }
}

impl ModelFinder {
    pub fn feed(&mut self, frame: &[u8]) {
        self.0.feed(frame).expect("valid JSON");
    }

    /// Returns where the model's value is, with its quotes.
    pub fn finish(mut self) -> Range<usize> {
        self.0.finish().expect("valid JSON");
        match self.0.model() {
            ModelField::String { span, .. } => span.start as usize..span.end as usize,
            field => panic!("{field:?}"),
        }
    }
}

fn scanner(body: &[u8]) {
    let mut finder = ModelFinder::default();
    finder.feed(black_box(body));
    splice(body, finder.finish());
}

fn scanner_in_frames(body: &[u8]) {
    let mut finder = ModelFinder::default();
    for frame in body.chunks(16 * 1024) {
        finder.feed(black_box(frame));
    }
    splice(body, finder.finish());
}

/// Splices by slices.
fn splice(body: &[u8], model: Range<usize>) {
    black_box([
        &body[..model.start],
        b"\"",
        ID.as_bytes(),
        b"\"",
        &body[model.end..],
    ]);
}

/// Parses the body, sets the model, and serializes everything.
fn value(body: &[u8]) {
    let mut value: serde_json::Value = serde_json::from_slice(black_box(body)).unwrap();
    value["model"] = ID.into();
    black_box(serde_json::to_vec(&value).unwrap());
}

/// Parses the body, and keeps the model only. (It does not tell where the model was.)
fn ignored(body: &[u8]) {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        model: Cow<'a, str>,
    }
    let request: Request<'_> = serde_json::from_slice(black_box(body)).unwrap();
    black_box(request.model);
}

/// Validates the whole body, as the scanner does, and indexes its values. (It overwrites the body,
/// so that it gets a copy.)
fn tape(body: &[u8]) {
    let mut body = black_box(body).to_vec();
    let tape = simd_json::to_tape(&mut body).unwrap();
    black_box(tape.as_value().get_str("model"));
}

/// Validates the whole body, and finds the model as the first does.
fn lazy(body: &[u8]) {
    simdutf8::basic::from_utf8(black_box(body)).unwrap();
    let value: sonic_rs::LazyValue<'_> = sonic_rs::from_slice(body).unwrap();
    black_box(value.as_raw_str());
    sonic(body);
}

/// Finds the first model, and reads no further.
fn sonic(body: &[u8]) {
    let model = sonic_rs::get(black_box(body), ["model"]).unwrap();
    let raw = model.as_raw_str();
    let start = raw.as_ptr() as usize - body.as_ptr() as usize;
    splice(body, start..start + raw.len());
}

/// Compares each byte with two that do not occur.
fn limit(body: &[u8]) {
    assert_eq!(memchr::memchr2(0, 1, black_box(body)), None);
}
