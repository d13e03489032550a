//! Compares the JSON scanner with a naive reader and `serde_json`.

mod reader;
mod suite;

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

pub(crate) use self::reader::{Verdict, read, read_key};
pub use self::suite::suite;
use super::{
    Insertion, JsonError, JsonErrorKind, JsonScanner, Model, Reason, decode_string,
    engine::Bytewise,
};

/// The results of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result: Result<(), JsonError>,
    pub(super) model: Model,
    pub(super) insertion: Option<Insertion>,
    pub(super) complete: bool,
}

/// One of the ways to scan.
pub(super) type Scan = fn(&mut JsonScanner, &[u8]) -> Result<(), JsonError>;

/// All ways to scan, which have the same results.
pub(super) const SCANS: &[Scan] = &[
    JsonScanner::feed,
    |scanner, bytes| scanner.feed_with(bytes, |scanner, bytes| scanner.scan(Bytewise, bytes)),
    #[cfg(feature = "simd")]
    |scanner, bytes| scanner.feed_with(bytes, super::simd::scan_older),
];

/// Scans frames to the end or the first error.
pub(super) fn scan(frames: &[&[u8]]) -> Outcome {
    scan_with(JsonScanner::feed, frames)
}

pub(super) fn scan_with(scan: Scan, frames: &[&[u8]]) -> Outcome {
    let mut scanner = JsonScanner::new();
    let result = frames
        .iter()
        .try_for_each(|frame| scan(&mut scanner, frame))
        .and_then(|()| scanner.finish());
    if result.is_err() {
        assert_eq!(scan(&mut scanner, b" "), result, "errors are sticky");
    }
    assert_eq!(scanner.finish(), result, "the end is final");
    Outcome {
        result,
        model: scanner.model(),
        insertion: scanner.insertion(),
        complete: scanner.is_complete(),
    }
}

/// Asserts that the JSON scanner reads a document, whole and cut into these frames, as a naive
/// reader does, and as `serde_json` does where both are equally strict.
///
/// # Panics
///
/// Panics if it does not.
pub fn check(document: &[u8], frames: &[&[u8]]) {
    check_and_read(document, frames);
}

/// Runs [`check`], and returns the naive reader's verdict.
pub(super) fn check_and_read(document: &[u8], frames: &[&[u8]]) -> Verdict {
    let verdict = read(document);
    let whole = scan(&[document]);
    let result = whole
        .result
        .map_err(|error| (error.kind(), error.offset() as usize));
    assert_eq!(result, verdict.result);
    assert_eq!(whole.model, verdict.model);
    assert_eq!(whole.insertion, verdict.insertion);
    assert_eq!(whole.complete, verdict.complete);
    for &way in SCANS {
        assert_eq!(scan_with(way, &[document]), whole);
        assert_eq!(scan_with(way, frames), whole);
    }
    if verdict.result.is_ok() {
        check_model(document, whole.model);
    }
    let is_stricter = matches!(
        verdict.result,
        Err((
            JsonErrorKind::DuplicateModel
                | JsonErrorKind::AmbiguousModel
                | JsonErrorKind::Invalid(Reason::NulInKey),
            _
        ))
    );
    if verdict.all_strict && !is_stricter {
        let accepted = serde_json::from_slice::<StrictObject>(document).is_ok();
        assert_eq!(verdict.result.is_ok(), accepted, "serde_json disagrees");
    }
    verdict
}

/// Asserts that `serde_json` sees the same model in an accepted document, if it can read that: it
/// also validates nested values.
fn check_model(document: &[u8], model: Model) {
    // Raw values, because it rejects numbers out of range.
    let Ok(members) = serde_json::from_slice::<HashMap<String, &RawValue>>(document) else {
        return;
    };
    let seen = members.get("model").map(|value| value.get());
    let spelled = |start: u64, end: u64| &document[start as usize..end as usize];
    match model {
        Model::String {
            start,
            end,
            escaped,
        } => {
            let literal = spelled(start, end);
            assert_eq!(seen.map(str::as_bytes), Some(literal));
            let name = seen.and_then(|seen| serde_json::from_str::<String>(seen).ok());
            assert_eq!(decode_string(literal, escaped).as_deref(), name.as_deref());
        }
        Model::Null { start, end } => {
            assert_eq!(spelled(start, end), b"null");
            assert_eq!(seen, Some("null"));
        }
        Model::Other { start, .. } => {
            let seen = seen.expect("there is a model").as_bytes();
            assert!(document[start as usize..].starts_with(seen));
        }
        Model::Unseen => assert_eq!(seen, None),
        Model::Pending => panic!("the document is complete"),
    }
}

/// An object with valid strings, and numbers of any size.
struct StrictObject;

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StrictObject)
    }
}

impl<'de> de::Visitor<'de> for StrictObject {
    type Value = StrictObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some((_, value)) = map.next_entry::<String, &RawValue>()? {
            if value.get().starts_with('"') {
                serde_json::from_str::<String>(value.get()).map_err(de::Error::custom)?;
            }
        }
        Ok(StrictObject)
    }
}
