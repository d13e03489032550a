mod cases;
mod generate;
mod oracle;
mod properties;

use super::{Insertion, Model, ScanError, Scanner};

/// All that a scan tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<(), ScanError>,
    model: Model,
    insertion: Option<Insertion>,
    complete: bool,
}

/// Scans frames to the end, or to the first error.
fn scan<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut scanner = Scanner::new();
    let result = frames
        .into_iter()
        .try_for_each(|frame| scanner.feed(frame))
        .and_then(|()| scanner.finish());
    if result.is_err() {
        assert_eq!(scanner.feed(b" "), result, "errors are sticky");
    }
    assert_eq!(scanner.finish(), result, "the end is final");
    Outcome {
        result,
        model: scanner.model(),
        insertion: scanner.insertion(),
        complete: scanner.is_complete(),
    }
}
