//! Finds the models of one JSON document that is fed in pieces.

use std::ops::Range;

use super::STEP;
use crate::{
    edit::ValueKind,
    json::{JsonScanner, Model},
};

/// A finder of the document's top-level `model`, and of the one in the object under its top-level
/// key `parent`, if there is such a key.
#[derive(Debug)]
pub(super) struct Finder {
    read: u64,
    top: Option<JsonScanner>,
    parent: Option<JsonScanner>,
    /// The scanner of the parent's value, and the offset of that value.
    child: Option<(JsonScanner, u64)>,
}

impl Finder {
    pub(super) fn new(parent: Option<&'static str>) -> Self {
        Self {
            read: 0,
            top: Some(JsonScanner::for_key("model")),
            parent: parent.map(JsonScanner::for_key),
            child: None,
        }
    }

    /// Reads the next bytes of the document, which are at offset `at` of the response, `lag` bytes
    /// further than in the document. Adds the string literals that they complete to `spans`, and
    /// sets `hold` to the offset of a field that they do not complete. Both are offsets in the
    /// response.
    pub(super) fn read_on(
        &mut self,
        bytes: &[u8],
        at: u64,
        lag: u64,
        hold: &mut Option<u64>,
        spans: &mut Vec<Range<u64>>,
    ) {
        for (piece, step) in bytes.chunks(STEP).zip(0..) {
            if self.is_done() {
                break;
            }
            let found = self.feed(piece).into_iter().flatten();
            spans.extend(found.map(|literal| literal.start + lag..literal.end + lag));
            let begin = at + step * STEP as u64;
            // Complete literals are sent: a pending field comes after them.
            let done = spans.last().map_or(0, |span| span.end);
            *hold = self.is_pending().then(|| hold.unwrap_or(begin).max(done));
        }
    }

    /// Reads the next piece of the document. Returns the spans in the document of the string
    /// literals that this piece completes, in ascending order.
    pub(super) fn feed(&mut self, piece: &[u8]) -> [Option<Range<u64>>; 2] {
        let at = self.read;
        self.read += piece.len() as u64;
        let top = find(&mut self.top, piece);
        let child = self.feed_child(piece, at);
        match (&top, &child) {
            (Some(first), Some(second)) if second.start < first.start => [child, top],
            _ => [top, child],
        }
    }

    fn feed_child(&mut self, piece: &[u8], at: u64) -> Option<Range<u64>> {
        let mut piece = piece;
        if let Some(parent) = &mut self.parent {
            let failed = parent.feed(piece).is_err();
            match parent.model() {
                Model::Other {
                    start,
                    kind: ValueKind::Object,
                } if !failed => {
                    self.child = Some((JsonScanner::for_key("model"), start));
                    self.parent = None;
                    piece = &piece[usize::try_from(start - at).ok()?..];
                }
                Model::Unseen | Model::Pending if !failed => return None,
                _ => {
                    self.parent = None;
                    return None;
                }
            }
        }
        let (mut scanner, start) = self.child.take()?;
        let failed = scanner.feed(piece).is_err();
        // An error after the end of the object is not the object's.
        let failed = failed && !scanner.is_complete();
        match scanner.model() {
            Model::String {
                start: from, end, ..
            } if !failed => Some(start + from..start + end),
            Model::Unseen | Model::Pending if !failed && !scanner.is_complete() => {
                self.child = Some((scanner, start));
                None
            }
            _ => None,
        }
    }

    /// Returns the number of bytes read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Returns whether a model has begun and is not complete.
    pub(super) fn is_pending(&self) -> bool {
        let child = self.child.as_ref().map(|(scanner, _)| scanner);
        [self.top.as_ref(), child]
            .into_iter()
            .flatten()
            .any(|scanner| scanner.model() == Model::Pending)
    }

    /// Returns whether nothing more can be found.
    pub(super) fn is_done(&self) -> bool {
        self.top.is_none() && self.parent.is_none() && self.child.is_none()
    }

    pub(super) fn disable(&mut self) {
        (self.top, self.parent, self.child) = (None, None, None);
    }
}

/// Feeds the scanner until its model is found, cannot be replaced, or the document is invalid.
fn find(slot: &mut Option<JsonScanner>, piece: &[u8]) -> Option<Range<u64>> {
    let scanner = slot.as_mut()?;
    let failed = scanner.feed(piece).is_err();
    let model = scanner.model();
    if failed || !matches!(model, Model::Unseen | Model::Pending) || scanner.is_complete() {
        *slot = None;
    }
    match model {
        Model::String { start, end, .. } if !failed => Some(start..end),
        _ => None,
    }
}
