//! Reads a stream of server-sent events (WHATWG HTML, 9.2.6): lines of
//! `field: value`, and an empty one at the end of each event.

use super::{Edits, finder::Finder};

/// Where in the stream the reader is, and what it looks for.
#[derive(Debug)]
pub(super) struct Events {
    parent: Option<&'static str>,
    line: Line,
    /// A line has just ended in a carriage return: a line feed next is part of
    /// that end.
    after_return: bool,
    read: u64,
    /// Looks at the data of the event at hand, once it has begun.
    finder: Option<Finder>,
    /// Where the bytes begin that must not go out yet.
    hold: Option<u64>,
}

/// What part of a line comes next.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// Its field name, which is so many bytes of [`DATA`] so far.
    Name(usize),
    /// What follows `data:`, of which one space is not part of the value.
    BeforeValue,
    /// The value of a `data` line; the document is so many bytes behind the
    /// stream.
    Value { lag: u64 },
    /// Anything else.
    Other,
}

const DATA: &[u8] = b"data";

impl Events {
    pub(super) fn new(parent: Option<&'static str>) -> Self {
        Self {
            parent,
            line: Line::Name(0),
            after_return: false,
            read: 0,
            finder: None,
            hold: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Edits {
        let base = self.read;
        let mut spans = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let ends_line = matches!(byte, b'\n' | b'\r');
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                at += 1;
                continue;
            }
            match self.line {
                _ if ends_line => {
                    self.end_line(byte);
                    at += 1;
                }
                Line::Name(len) => {
                    self.line = match byte {
                        b':' if len == DATA.len() => Line::BeforeValue,
                        _ if DATA.get(len) == Some(&byte) => Line::Name(len + 1),
                        _ => Line::Other,
                    };
                    at += 1;
                }
                Line::BeforeValue => {
                    at += usize::from(byte == b' ');
                    self.line = Line::Value {
                        lag: self.begin_value(base + at as u64),
                    };
                }
                Line::Value { lag } => {
                    let len = line_len(&bytes[at..]);
                    if let Some(finder) = &mut self.finder {
                        let value = &bytes[at..at + len];
                        finder.read_on(value, base + at as u64, lag, &mut self.hold, &mut spans);
                    }
                    at += len;
                }
                Line::Other => at += line_len(&bytes[at..]),
            }
        }
        self.read += bytes.len() as u64;
        Edits {
            spans,
            hold: self.hold,
        }
    }

    /// Leaves the rest of the event at hand as it is.
    pub(super) fn disable(&mut self) {
        self.hold = None;
        if let Some(finder) = &mut self.finder {
            finder.disable();
        }
    }

    /// The value of a `data` line begins here. Returns how far the document is
    /// behind the stream.
    fn begin_value(&mut self, at: u64) -> u64 {
        match &mut self.finder {
            // The lines of one event are joined by line feeds.
            Some(finder) => drop(finder.feed(b"\n")),
            None => self.finder = Some(Finder::new(self.parent)),
        }
        at - self.finder.as_ref().map_or(0, Finder::read)
    }

    fn end_line(&mut self, terminator: u8) {
        self.after_return = terminator == b'\r';
        // A string cannot go on in the next line.
        self.hold = None;
        if matches!(self.line, Line::Name(0)) {
            self.finder = None;
        }
        self.line = Line::Name(0);
    }
}

/// The length of what comes before the line's end.
fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len())
}
