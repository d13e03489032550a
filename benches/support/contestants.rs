//! Ways to put an ID in place of a body's model.

use std::{borrow::Cow, hint::black_box};

use serde::Deserialize;

use super::json::{Model, Scanner};

const ID: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";

/// Takes a body and keeps the optimiser from dropping what it made of it.
pub(crate) type Contestant = fn(&[u8]);

/// Ours first, then others, and last what no scanner can beat.
pub(crate) const ALL: [(&str, Contestant); 6] = [
    ("scanner", scanner),
    ("scanner-16KB-frames", scanner_in_frames),
    ("serde_json-value", value),
    ("serde_json-ignored", ignored),
    ("sonic_rs-get", sonic),
    ("memchr2", limit),
];

/// The scanner reads the body to its end, so that no second model slips by, and
/// splices by slices.
fn scanner(body: &[u8]) {
    let mut scanner = Scanner::new();
    scanner.feed(black_box(body)).unwrap();
    scanner.finish().unwrap();
    splice(body, scanner.model());
}

fn scanner_in_frames(body: &[u8]) {
    let mut scanner = Scanner::new();
    for frame in body.chunks(16 * 1024) {
        scanner.feed(black_box(frame)).unwrap();
    }
    scanner.finish().unwrap();
    splice(body, scanner.model());
}

fn splice(body: &[u8], model: Model) {
    let Model::String { start, end, .. } = model else {
        panic!("{model:?}");
    };
    black_box([
        &body[..start as usize],
        b"\"",
        ID.as_bytes(),
        b"\"",
        &body[end as usize..],
    ]);
}

/// Parses all, changes the model, and serialises all.
fn value(body: &[u8]) {
    let mut value: serde_json::Value = serde_json::from_slice(black_box(body)).unwrap();
    value["model"] = ID.into();
    black_box(serde_json::to_vec(&value).unwrap());
}

/// Parses all, but keeps only the model. (It says not where it was.)
fn ignored(body: &[u8]) {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        model: Cow<'a, str>,
    }
    let request: Request<'_> = serde_json::from_slice(black_box(body)).unwrap();
    black_box(request.model);
}

/// Looks for the first model, and not beyond.
fn sonic(body: &[u8]) {
    let model = sonic_rs::get(black_box(body), ["model"]).unwrap();
    let raw = model.as_raw_str();
    let start = raw.as_ptr() as usize - body.as_ptr() as usize;
    black_box([
        &body[..start],
        b"\"",
        ID.as_bytes(),
        b"\"",
        &body[start + raw.len()..],
    ]);
}

/// Looks at each byte for two that aren't there.
fn limit(body: &[u8]) {
    assert_eq!(memchr::memchr2(0, 1, black_box(body)), None);
}
