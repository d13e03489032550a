//! Sets the `model` of a response as it streams by, and the ID in an error message: bytes in, bytes
//! out.
//!
//! A response is trusted more than a request: one that is not valid JSON is not rejected but passes
//! unchanged.

mod events;
mod finder;
mod id;
mod lines;
#[cfg(any(test, feature = "oracle"))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};

pub use self::id::{IdRewriter, TextFormat};
use self::{events::Events, finder::Finder, lines::Lines};

/// The number of bytes by which documents are scanned. A model field that begins in one step and
/// goes on in the next frame is held back from that step on.
const STEP: usize = 4 << 10;
/// The most bytes that are held back for a model field that does not end.
const MAX_HELD: u64 = 4 * STEP as u64;

/// The format of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// One JSON object, whose top-level `model` is set.
    Json,
    /// Newline-delimited JSON (`application/x-ndjson`, `application/jsonl`), with a JSON object on
    /// each line, whose top-level `model` is set.
    Lines,
    /// `text/event-stream` (server-sent events), with a JSON object in the data of each event.
    Events {
        /// A top-level key of the event under which a further object has a `model` to set, for
        /// example `response` in OpenAI's Responses API and `message` in Anthropic's API.
        parent: Option<&'static str>,
    },
}

/// An incremental rewriter that sets the `model` of a response and changes nothing else.
///
/// Every piece comes out at once, except for a model field that is not complete yet: at most 16 KiB
/// are held back. A `model` that is absent or not a string is left alone, and so is everything
/// after the first error in a document.
///
/// Time is linear in the length of the response. A piece without a model is not copied.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use model_scan::rewrite::{ModelRewriter, ResponseFormat};
///
/// let format = ResponseFormat::Events { parent: None };
/// let mut rewriter = ModelRewriter::new(format, Bytes::from_static(b"\"gpt-4o\""));
/// let out = rewriter.push("data: {\"id\":1,\"model\":\"0xb603\"}\n\n".into());
/// assert_eq!(out, "data: {\"id\":1,\"model\":\"gpt-4o\"}\n\n");
///
/// let out = rewriter.push("data: {\"model\":\"0x".into());
/// assert_eq!(out, "data: ");
/// assert!(!rewriter.is_empty());
/// let out = rewriter.push("b603\"}\n\n".into());
/// assert_eq!(out, "{\"model\":\"gpt-4o\"}\n\n");
/// assert_eq!(rewriter.flush(), "");
/// ```
#[derive(Debug)]
pub struct ModelRewriter {
    reader: Reader,
    names: Names,
    /// The bytes that are held back, and their offset in the response.
    held: Bytes,
    held_at: u64,
}

/// The names that take the place of models, as JSON string literals.
enum Names {
    /// One for every model.
    Fixed(Bytes),
    /// One for some models.
    Lookup(Box<Lookup>),
}

/// A function from the literal of a model to that of its name.
type Lookup = dyn Fn(&[u8]) -> Option<Bytes> + Send + Sync;

#[derive(Debug)]
enum Reader {
    Json {
        finder: Finder,
        hold: Option<u64>,
        read: u64,
    },
    Lines(Lines),
    Events(Events),
}

/// The edits of the bytes read so far; offsets count from the beginning of the response.
#[derive(Debug, Default)]
struct Edits {
    /// The string literals to replace, in ascending order.
    spans: Vec<Range<u64>>,
    /// The offset from which on bytes are to be held back.
    hold: Option<u64>,
}

impl ModelRewriter {
    /// Creates a rewriter that sets the `model` to `name`, a JSON string literal with its quotes.
    /// The literal is not checked.
    pub fn new(format: ResponseFormat, name: Bytes) -> Self {
        Self::with_names(format, Names::Fixed(name))
    }

    /// Creates a rewriter that sets each `model` to what `lookup` returns for it, and leaves it if
    /// that is `None`. Both are JSON string literals with their quotes; the returned one is not
    /// checked.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use model_scan::rewrite::{ModelRewriter, ResponseFormat};
    ///
    /// let mut rewriter = ModelRewriter::with_lookup(ResponseFormat::Lines, |model| {
    ///     (model == b"\"0xb603\"").then(|| Bytes::from_static(b"\"gpt-4o\""))
    /// });
    /// let out = rewriter.push("{\"model\":\"0xb603\"}\n{\"model\":\"o3\"}\n".into());
    /// assert_eq!(out, "{\"model\":\"gpt-4o\"}\n{\"model\":\"o3\"}\n");
    /// ```
    pub fn with_lookup(
        format: ResponseFormat,
        lookup: impl Fn(&[u8]) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self::with_names(format, Names::Lookup(Box::new(lookup)))
    }

    fn with_names(format: ResponseFormat, names: Names) -> Self {
        let reader = match format {
            ResponseFormat::Json => Reader::Json {
                finder: Finder::new(None),
                hold: None,
                read: 0,
            },
            ResponseFormat::Lines => Reader::Lines(Lines::new()),
            ResponseFormat::Events { parent } => Reader::Events(Events::new(parent)),
        };
        Self {
            reader,
            names,
            held: Bytes::new(),
            held_at: 0,
        }
    }

    /// Reads the next bytes of the response, and returns the bytes to send now.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        let mut edits = match &mut self.reader {
            Reader::Json { finder, hold, read } => {
                let mut spans = Vec::new();
                finder.read_on(&bytes, *read, 0, hold, &mut spans);
                *read += bytes.len() as u64;
                Edits { spans, hold: *hold }
            }
            Reader::Lines(lines) => lines.feed(&bytes),
            Reader::Events(events) => events.feed(&bytes),
        };
        let ready = if self.held.is_empty() {
            bytes
        } else {
            [&self.held[..], &bytes[..]].concat().into()
        };
        let end = self.held_at + ready.len() as u64;
        if edits.hold.is_some_and(|hold| end - hold > MAX_HELD) {
            self.reader.disable();
            edits.hold = None;
        }
        let hold = edits.hold.unwrap_or(end);
        let out = self.apply(ready.slice(..self.local(hold)), &edits.spans);
        self.held = ready.slice(self.local(hold)..);
        self.held_at = hold;
        out
    }

    /// Returns whether no bytes are held back.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the bytes that are held back, as they are. To be called when the response has ended,
    /// or is interrupted by trailers or an error.
    pub fn flush(&mut self) -> Bytes {
        self.reader.disable();
        self.held_at += self.held.len() as u64;
        std::mem::take(&mut self.held)
    }

    /// Replaces these spans of the bytes that begin at `held_at`. The result is one piece, because
    /// a write for each edit would cost more than the copy.
    fn apply(&self, bytes: Bytes, spans: &[Range<u64>]) -> Bytes {
        let mut out = BytesMut::new();
        let mut copied = 0;
        for span in spans {
            let (start, end) = (self.local(span.start), self.local(span.end));
            let Some(name) = self.names.get(&bytes[start..end]) else {
                continue;
            };
            if copied == 0 {
                out.reserve(bytes.len() + spans.len() * name.len());
            }
            out.extend_from_slice(&bytes[copied..start]);
            out.extend_from_slice(&name);
            copied = end;
        }
        if copied == 0 {
            return bytes;
        }
        out.extend_from_slice(&bytes[copied..]);
        out.freeze()
    }

    fn local(&self, offset: u64) -> usize {
        // The held bytes and one frame lie between the two at most.
        usize::try_from(offset.saturating_sub(self.held_at)).unwrap_or(usize::MAX)
    }
}

impl Names {
    fn get(&self, model: &[u8]) -> Option<Bytes> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::Lookup(lookup) => lookup(model),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(name) => f.debug_tuple("Fixed").field(name).finish(),
            Self::Lookup(_) => f.write_str("Lookup"),
        }
    }
}

impl Reader {
    /// Leaves the rest of the current document as it is.
    fn disable(&mut self) {
        match self {
            Self::Json { finder, hold, .. } => {
                finder.disable();
                *hold = None;
            }
            Self::Lines(lines) => lines.disable(),
            Self::Events(events) => events.disable(),
        }
    }
}
