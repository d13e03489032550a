//! What is asked and answered.

use std::fmt::Write;

use bytes::Bytes;

use super::{contestants::Kind, upstream::ID};

/// A request and its answer.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    request_len: usize,
    /// How many clients ask at the same time, on a connection each.
    pub(crate) clients: usize,
    answer: Answer,
    /// What the example proxy's CPU time may be, as a multiple of others'.
    pub(crate) targets: &'static [(Kind, f64)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Json {
        len: usize,
    },
    /// Events in one chunk and one write.
    OneChunk,
    /// Events in a chunk each, but in one write: they come together.
    Chunks,
    /// Each event once the client has the one before.
    OneByOne,
}

const SHORT: Answer = Answer::Json { len: 500 };

pub(crate) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "50 events, one chunk",
        request_len: 300,
        clients: 1,
        answer: Answer::OneChunk,
        targets: &[],
    },
    Scenario {
        name: "50 events, 50 chunks at once",
        request_len: 300,
        clients: 1,
        answer: Answer::Chunks,
        targets: &[(Kind::Nginx, 2.0)],
    },
    Scenario {
        name: "50 events, one by one",
        request_len: 300,
        clients: 1,
        answer: Answer::OneByOne,
        targets: &[],
    },
    Scenario {
        name: "request of 1 KB",
        request_len: 1_000,
        clients: 1,
        answer: SHORT,
        targets: &[(Kind::Plain, 1.12)],
    },
    Scenario {
        name: "request of 1 KB, 16 clients",
        request_len: 1_000,
        clients: 16,
        answer: SHORT,
        targets: &[(Kind::Plain, 1.12)],
    },
    Scenario {
        name: "request of 100 KB",
        request_len: 100_000,
        clients: 1,
        answer: SHORT,
        targets: &[(Kind::Plain, 1.35)],
    },
    Scenario {
        name: "answer of 100 KB",
        request_len: 300,
        clients: 1,
        answer: Answer::Json { len: 100_000 },
        targets: &[],
    },
    Scenario {
        name: "request of 5 MB",
        request_len: 5_000_000,
        clients: 1,
        answer: SHORT,
        targets: &[(Kind::Plain, 1.35)],
    },
    Scenario {
        name: "request of 5 MB, 16 clients",
        request_len: 5_000_000,
        clients: 16,
        answer: SHORT,
        targets: &[(Kind::Plain, 1.35)],
    },
];

/// A scenario in bytes.
pub(crate) struct Play {
    pub(crate) request: Bytes,
    /// What the upstream writes, piece by piece.
    pub(crate) pieces: Vec<Bytes>,
    /// Whether each piece waits until the client has received the one before.
    pub(crate) one_by_one: bool,
    /// Whether the upstream keeps what it receives.
    pub(crate) keeps: bool,
}

impl Scenario {
    pub(crate) fn play(&self) -> Play {
        let pieces = match self.answer {
            Answer::Json { len } => vec![json(len)],
            Answer::OneChunk => vec![stream(&[events().concat()]).concat()],
            Answer::Chunks => vec![stream(&events()).concat()],
            Answer::OneByOne => stream(&events()),
        };
        let is_stream = !matches!(self.answer, Answer::Json { .. });
        Play {
            request: request(self.request_len, is_stream).into(),
            pieces: pieces.into_iter().map(Bytes::from).collect(),
            one_by_one: self.answer == Answer::OneByOne,
            keeps: false,
        }
    }
}

impl Play {
    /// Keeps what comes, and gives a short answer to it.
    pub(crate) fn keeping() -> Self {
        Self {
            request: request(300, false).into(),
            pieces: vec![json(500).into()],
            one_by_one: false,
            keeps: true,
        }
    }
}

fn request(len: usize, is_stream: bool) -> String {
    let front = r#"{"model": "venice-uncensored", "messages": [{"role": "user", "content": ""#;
    let back = format!(r#""}}], "temperature": 0.7, "stream": {is_stream}}}"#);
    document(front, &back, len)
}

fn json(len: usize) -> String {
    let front = format!(
        r#"{{"id":"chatcmpl-CkZ2mQxT0b9yVn4LwR7sJd1aPe","object":"chat.completion","created":1764201600,"model":"{ID}","choices":[{{"index":0,"message":{{"role":"assistant","content":""#
    );
    let back = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":24000,"total_tokens":24031}}"#;
    let body = document(&front, back, len);
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_0123456789abcdef\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn document(front: &str, back: &str, len: usize) -> String {
    let line = r"The swallow flies south with the sun.\n";
    let lines = len.saturating_sub(front.len() + back.len()) / line.len();
    [front, &line.repeat(lines), back].concat()
}

fn events() -> Vec<String> {
    let event = |index: usize| {
        format!(
            "data: {{\"id\":\"chatcmpl-CkZ2mQxT0b9yVn4LwR7sJd1aPe\",\"object\":\"chat.completion.chunk\",\
             \"created\":1764201600,\"model\":\"{ID}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\
             \" word{index}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        )
    };
    (0..49)
        .map(event)
        .chain(["data: [DONE]\n\n".to_owned()])
        .collect()
}

/// An answer of these chunks; the head goes with the first, the end with the
/// last.
fn stream(chunks: &[String]) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                     x-request-id: req_0123456789abcdef\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_owned();
    for (index, chunk) in chunks.iter().enumerate() {
        let end = if index + 1 == chunks.len() {
            "0\r\n\r\n"
        } else {
            ""
        };
        // A string takes all that is written to it.
        let _ = write!(piece, "{:x}\r\n{chunk}\r\n{end}", chunk.len());
        pieces.push(std::mem::take(&mut piece));
    }
    pieces
}
