//! Requests and their responses.

use std::time::Duration;

use benches::openai::{DONE, chat, completion, event, events};
use bytes::Bytes;

use crate::{streams::UNWRITTEN, subjects::Kind};

/// A request and its response.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    request_len: usize,
    /// How many clients send it concurrently, on a connection each.
    pub(crate) clients: usize,
    response: Format,
    /// The most CPU time of the proxy as a multiple of others'.
    pub(crate) targets: &'static [(Kind, f64)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json {
        len: usize,
    },
    /// Events in one chunk and one write.
    OneChunk,
    /// Events in a chunk each, but in one write.
    Chunks,
    /// Each event once the client has received the one before.
    OneByOne,
}

const SHORT: Format = Format::Json { len: 500 };

const fn request(name: &'static str, request_len: usize, clients: usize) -> Scenario {
    Scenario {
        name,
        request_len,
        clients,
        response: SHORT,
        targets: &[(Kind::Plain, 1.35)],
    }
}

const fn response(name: &'static str, response: Format) -> Scenario {
    Scenario {
        response,
        targets: &[],
        ..request(name, 300, 1)
    }
}

pub(crate) const SCENARIOS: [Scenario; 9] = [
    response("50 events, one chunk", Format::OneChunk),
    Scenario {
        targets: &[(Kind::Plain, 0.6), (Kind::Nginx, 2.0)],
        ..response("50 events, 50 chunks at once", Format::Chunks)
    },
    response("50 events, one by one", Format::OneByOne),
    request("request of 1 KB", 1_000, 1),
    request("request of 1 KB, 16 clients", 1_000, 16),
    request("request of 100 KB", 100_000, 1),
    response("response of 100 KB", Format::Json { len: 100_000 }),
    request("request of 5 MB", 5_000_000, 1),
    request("request of 5 MB, 16 clients", 5_000_000, 16),
];

/// A scenario in bytes.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) request: Bytes,
    pub(crate) content_type: &'static str,
    /// The body of the response.
    pub(crate) frames: Vec<Bytes>,
    /// Whether the length of the response is known.
    pub(crate) has_length: bool,
    pub(crate) pace: Pace,
}

/// When the upstream writes the frames of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    /// Each once the client has received the one before.
    OneByOne,
    /// Each this time after the one before, with the time in it.
    Every(Duration),
}

impl Scenario {
    pub(crate) fn workload(&self) -> Workload {
        let frames = match self.response {
            Format::Json { len } => vec![completion(len)],
            Format::OneChunk => vec![events().concat()],
            Format::Chunks | Format::OneByOne => events(),
        };
        let is_stream = !matches!(self.response, Format::Json { .. });
        Workload {
            request: chat(self.request_len, is_stream).into(),
            content_type: match is_stream {
                true => "text/event-stream",
                false => "application/json",
            },
            frames: frames.into_iter().map(Bytes::from).collect(),
            has_length: !is_stream,
            pace: match self.response {
                Format::OneByOne => Pace::OneByOne,
                _ => Pace::AtOnce,
            },
        }
    }
}

impl Workload {
    /// Returns one with a short request and response.
    pub(crate) fn short() -> Self {
        request("short", 300, 1).workload()
    }

    /// Returns one with a response of events that say when they were written.
    pub(crate) fn paced(events: usize, pause: Duration) -> Self {
        let mut frames = vec![event(UNWRITTEN); events];
        if let Some(last) = frames.last_mut() {
            *last += DONE;
        }
        Self {
            frames: frames.into_iter().map(Bytes::from).collect(),
            pace: Pace::Every(pause),
            ..response("", Format::Chunks).workload()
        }
    }
}
