mod cases;
mod generate;
mod oracle;
mod properties;

use super::{Insertion, Model, ScanError, Scanner, engine::Bytewise};

/// All that a scan tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<(), ScanError>,
    model: Model,
    insertion: Option<Insertion>,
    complete: bool,
}

/// A way to scan.
type Scan = fn(&mut Scanner, &[u8]) -> Result<(), ScanError>;

/// All ways to scan, which should come to the same.
const SCANS: &[Scan] = &[
    Scanner::feed,
    |scanner, bytes| scanner.feed_with(bytes, |scanner, bytes| scanner.scan(Bytewise, bytes)),
    #[cfg(feature = "simd")]
    |scanner, bytes| scanner.feed_with(bytes, super::simd::scan_older),
];

/// Scans frames to the end, or to the first error.
fn scan<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    scan_with(Scanner::feed, frames)
}

fn scan_with<'a>(scan: Scan, frames: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut scanner = Scanner::new();
    let result = frames
        .into_iter()
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
