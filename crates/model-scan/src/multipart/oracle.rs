//! Compares the multipart scanner with a naive reader.

mod reader;

use super::{Model, MultipartError, MultipartScanner};

/// The result of scanning a whole form.
pub(super) type Outcome = Result<Option<(u64, u64)>, MultipartError>;

/// Scans a form that is cut into these frames, to the end or the first error.
pub(super) fn scan_frames<'a>(
    boundary: &str,
    frames: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut scanner = MultipartScanner::new(boundary.as_bytes())?;
    for frame in frames {
        scanner.feed(frame)?;
    }
    scanner.finish()?;
    assert!(scanner.is_complete());
    match scanner.model() {
        Model::Unseen => Ok(None),
        Model::Pending => panic!("a complete form has a pending model"),
        Model::Value { start, end } => Ok(Some((start, end))),
    }
}

/// Asserts that the multipart scanner reads a form, whole, byte by byte and cut into these frames,
/// as a naive reader does.
///
/// # Panics
///
/// Panics if it does not.
pub fn check(boundary: &str, form: &[u8], frames: &[&[u8]]) {
    let whole = scan_frames(boundary, [form]);
    let cut = scan_frames(boundary, frames.iter().copied());
    assert_eq!(whole, cut, "cut in pieces");
    let bytewise = scan_frames(boundary, form.chunks(1));
    assert_eq!(whole, bytewise, "byte by byte");
    let oracle = reader::model(boundary, form);
    assert_eq!(
        whole.map_err(|_| ()),
        oracle,
        "the oracle disagrees: {whole:?}"
    );
}
