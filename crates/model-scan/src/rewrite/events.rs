//! Reads a stream of server-sent events (WHATWG HTML, 9.2.6): lines of `field: value`, and an empty
//! line at the end of each event.

use super::{Edits, finder::Finder};

/// The state of a reader of events.
#[derive(Debug)]
pub(super) struct Events {
    parent: Option<&'static str>,
    /// How many bytes of [`BOM`] the stream begins with, until another byte comes.
    bom: Option<usize>,
    line: Line,
    /// Whether the last line ended in a carriage return, to whose end a line feed belongs.
    after_return: bool,
    read: u64,
    /// Scans the data of the current event, once it has begun.
    finder: Option<Finder>,
    /// The offset from which on bytes are held back.
    hold: Option<u64>,
}

/// The part of a line that comes next.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// The field name, which is this many bytes of [`DATA`] so far.
    Name(usize),
    /// The bytes after `data:`, of which one space is not part of the value.
    BeforeValue,
    /// The value of a `data` line; the document is `lag` bytes behind the stream.
    Value { lag: u64 },
    /// Any other part.
    Other,
}

const DATA: &[u8] = b"data";
/// The byte order mark, which may begin a stream and is no part of its first line.
const BOM: &[u8] = "\u{feff}".as_bytes();

impl Events {
    pub(super) fn new(parent: Option<&'static str>) -> Self {
        Self {
            parent,
            bom: Some(0),
            line: Line::Name(0),
            after_return: false,
            read: 0,
            finder: None,
            hold: None,
        }
    }

    /// Reads the next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Edits {
        let base = self.read;
        let mut spans = Vec::new();
        let mut at = self.skip_bom(bytes);
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

    /// Leaves the rest of the current event as it is.
    pub(super) fn disable(&mut self) {
        self.hold = None;
        if let Some(finder) = &mut self.finder {
            finder.disable();
        }
    }

    /// Begins the value of a `data` line at offset `at`. Returns how many bytes the document is
    /// behind the stream.
    fn begin_value(&mut self, at: u64) -> u64 {
        match &mut self.finder {
            // The lines of one event are joined by line feeds.
            Some(finder) => drop(finder.feed(b"\n")),
            None => self.finder = Some(Finder::new(self.parent)),
        }
        at - self.finder.as_ref().map_or(0, Finder::read)
    }

    /// Returns the number of bytes at the front that belong to the byte order mark.
    fn skip_bom(&mut self, bytes: &[u8]) -> usize {
        let Some(len) = self.bom else { return 0 };
        let pairs = bytes.iter().zip(&BOM[len..]);
        let skipped = pairs
            .take_while(|(byte, expected)| byte == expected)
            .count();
        let len = len + skipped;
        if len < BOM.len() && skipped == bytes.len() {
            self.bom = Some(len);
        } else {
            self.bom = None;
            if (1..BOM.len()).contains(&len) {
                // Part of a mark is part of the line.
                self.line = Line::Other;
            }
        }
        skipped
    }

    fn end_line(&mut self, terminator: u8) {
        self.after_return = terminator == b'\r';
        // A string does not go on in the next line.
        self.hold = None;
        if matches!(self.line, Line::Name(0)) {
            self.finder = None;
        }
        self.line = Line::Name(0);
    }
}

/// Returns the length of the bytes before the line's end.
fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len())
}
