//! The name of the model that served, put back into the answer as it streams
//! by: bytes → bytes.
//!
//! An answer is trusted more than a request: what the scanner does not take
//! for JSON is not refused but passed on untouched.

#[cfg(any(test, feature = "oracle"))]
pub mod check;
mod events;
mod finder;

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use self::{events::Events, finder::Finder};

/// A document is read in steps of this many bytes: where a model field begins
/// in one and goes on in the next frame, it is held back from there on.
const STEP: usize = 4 << 10;
/// No more than this is held back of a model field that does not end, in
/// bytes.
const MAX_HELD: u64 = 4 * STEP as u64;

/// Which answers a [`Restorer`] reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnswerFormat {
    /// One JSON object.
    Json,
    /// `text/event-stream`, with a JSON object in the data of each event. Some
    /// APIs have the model in an object of the event's: the Responses API in
    /// `response`, Anthropic's in `message`.
    Events { parent: Option<&'static str> },
}

/// Sets the model of an answer, and changes nothing else.
///
/// What is fed comes out at once, but for a model field that is not complete.
#[derive(Debug)]
pub struct Restorer {
    reader: Reader,
    /// The name as a JSON string literal.
    name: Bytes,
    /// What has come in and not gone out, and where in the answer that is.
    held: Bytes,
    held_at: u64,
}

#[derive(Debug)]
enum Reader {
    Json {
        finder: Finder,
        hold: Option<u64>,
        read: u64,
    },
    Events(Events),
}

/// What to do with the bytes fed so far; offsets count from the answer's
/// beginning.
#[derive(Debug, Default)]
struct Plan {
    /// Model fields to be replaced, in ascending order.
    edits: Vec<Range<u64>>,
    /// Bytes from here on are not to go out yet.
    hold: Option<u64>,
}

impl Restorer {
    /// `name`: a JSON string literal.
    pub fn new(format: AnswerFormat, name: Bytes) -> Self {
        let reader = match format {
            AnswerFormat::Json => Reader::Json {
                finder: Finder::new(None),
                hold: None,
                read: 0,
            },
            AnswerFormat::Events { parent } => Reader::Events(Events::new(parent)),
        };
        Self {
            reader,
            name,
            held: Bytes::new(),
            held_at: 0,
        }
    }

    /// Takes the next bytes of the answer. Returns what can go out now.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        let mut plan = match &mut self.reader {
            Reader::Json { finder, hold, read } => {
                let mut edits = Vec::new();
                finder.read_on(&bytes, *read, 0, hold, &mut edits);
                *read += bytes.len() as u64;
                Plan { edits, hold: *hold }
            }
            Reader::Events(events) => events.feed(&bytes),
        };
        let ready = if self.held.is_empty() {
            bytes
        } else {
            [&self.held[..], &bytes[..]].concat().into()
        };
        let end = self.held_at + ready.len() as u64;
        if plan.hold.is_some_and(|hold| end - hold > MAX_HELD) {
            self.reader.give_up();
            plan.hold = None;
        }
        let hold = plan.hold.unwrap_or(end);
        let out = self.apply(ready.slice(..self.local(hold)), &plan.edits);
        self.held = ready.slice(self.local(hold)..);
        self.held_at = hold;
        out
    }

    /// Whether everything that came in has gone out.
    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// What was held back, when nothing more will come.
    pub fn flush(&mut self) -> Bytes {
        self.reader.give_up();
        self.held_at += self.held.len() as u64;
        std::mem::take(&mut self.held)
    }

    /// Replaces these ranges of the bytes that begin at `held_at`. One piece
    /// goes out for one that comes in: a write for each would cost more than
    /// the copy.
    fn apply(&self, bytes: Bytes, edits: &[Range<u64>]) -> Bytes {
        if edits.is_empty() {
            return bytes;
        }
        let mut out = BytesMut::with_capacity(bytes.len() + edits.len() * self.name.len());
        let mut copied = 0;
        for edit in edits {
            out.extend_from_slice(&bytes[copied..self.local(edit.start)]);
            out.extend_from_slice(&self.name);
            copied = self.local(edit.end);
        }
        out.extend_from_slice(&bytes[copied..]);
        out.freeze()
    }

    fn local(&self, offset: u64) -> usize {
        // No more than what is held and one frame lies between the two.
        usize::try_from(offset.saturating_sub(self.held_at)).unwrap_or(usize::MAX)
    }
}

impl Reader {
    /// Leaves the rest of the document at hand as it is.
    fn give_up(&mut self) {
        match self {
            Self::Json { finder, hold, .. } => {
                finder.give_up();
                *hold = None;
            }
            Self::Events(events) => events.give_up(),
        }
    }
}

#[cfg(test)]
mod tests;
