//! Compares the JSON scanner with `serde_json`, and a naive reading of the rules for keys.

mod keys;
mod reader;
mod suite;

pub(crate) use self::reader::{Verdict, read};
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

/// Asserts that the JSON scanner reads a document, whole and cut into these frames, as `serde_json`
/// and the rules for keys have it.
///
/// # Panics
///
/// Panics if it does not.
pub fn check(document: &[u8], frames: &[&[u8]]) {
    check_and_scan(document, frames);
}

/// Runs [`check`], and returns the results.
pub(super) fn check_and_scan(document: &[u8], frames: &[&[u8]]) -> Outcome {
    let verdict = read(document, None);
    let whole = scan(&[document]);
    match whole.result {
        Ok(()) => {
            assert_eq!(verdict.result, Ok(()), "serde_json disagrees");
            assert_eq!(whole.model, verdict.model);
            check_insertion(document, whole.insertion);
            assert!(whole.complete);
            if let Model::String {
                start,
                end,
                escaped,
            } = whole.model
            {
                let literal = &document[start as usize..end as usize];
                let text = serde_json::from_slice::<String>(literal).ok();
                assert_eq!(decode_string(literal, escaped).as_deref(), text.as_deref());
            }
        }
        Err(error) => {
            let (kind, offset) = (error.kind(), error.offset() as usize);
            match verdict.result {
                Ok(()) => panic!("serde_json accepts it: {error}"),
                Err(reader::Rejected::Key(expected, at)) => {
                    assert_eq!((kind, offset), (expected, at));
                }
                Err(reader::Rejected::Invalid) => {
                    assert!(matches!(kind, JsonErrorKind::Invalid(_)), "{error}");
                    check_offset(document, error);
                }
            }
        }
    }
    for &way in SCANS {
        assert_eq!(scan_with(way, &[document]), whole);
        assert_eq!(scan_with(way, frames), whole);
    }
    whole
}

/// Asserts that a member can be inserted there.
fn check_insertion(document: &[u8], insertion: Option<Insertion>) {
    let insertion = insertion.expect("there is an opening brace");
    let (before, after) = document.split_at(insertion.at as usize);
    let comma: &[u8] = if insertion.object_is_empty { b"" } else { b"," };
    let inserted = [before, b"\"\":0", comma, after].concat();
    assert!(read(&inserted, None).result.is_ok());
}

/// Asserts that some continuation of the bytes before the error is valid, but none with the byte at
/// the error.
fn check_offset(document: &[u8], error: JsonError) {
    let offset = error.offset() as usize;
    let is_stricter = matches!(
        error.kind(),
        JsonErrorKind::Invalid(Reason::Surrogate | Reason::TooDeep)
    );
    if !is_stricter {
        assert!(reader::may_go_on(&document[..offset]), "{error}");
    }
    if let Some(through) = document.get(..=offset) {
        assert!(is_stricter || !reader::may_go_on(through), "{error}");
    }
}
