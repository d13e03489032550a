//! Reads newline-delimited JSON: one document a line.

use super::{Edits, finder::Finder};

/// The state of a reader of lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// Scans the current line.
    finder: Finder,
    /// The offset at which the current line begins.
    line_start: u64,
    read: u64,
    /// The offset from which on bytes are held back.
    hold: Option<u64>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            finder: Finder::new(None),
            line_start: 0,
            read: 0,
            hold: None,
        }
    }

    /// Reads the next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Edits {
        let mut spans = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            let Self { finder, hold, .. } = self;
            finder.read_on(line, self.read, self.line_start, hold, &mut spans);
            self.read += line.len() as u64;
            rest = &rest[line.len()..];
            if end.is_some() {
                // A string does not go on in the next line.
                *self = Self {
                    line_start: self.read + 1,
                    read: self.read + 1,
                    ..Self::new()
                };
                rest = &rest[1..];
            }
        }
        Edits {
            spans,
            hold: self.hold,
        }
    }

    /// Leaves the rest of the current line as it is.
    pub(super) fn disable(&mut self) {
        self.hold = None;
        self.finder.disable();
    }
}
