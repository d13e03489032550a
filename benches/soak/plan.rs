//! One request: what is sent, what must arrive, and what comes of it.

use std::time::Duration;

use bytes::Bytes;

use crate::lists::{Kind, MODELS, Served};

/// Tells the requests apart, at the upstream and in answers.
pub(crate) const NONCE: &str = "x-soak-nonce";

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nonce: u64,
    /// What it is an example of.
    pub(crate) sort: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) delivery: Delivery,
    pub(crate) connection: Connection,
    /// Around the ID that must arrive; none where there is no model in it.
    pub(crate) routed: Option<Routed>,
    /// Whether its body may arrive whole.
    pub(crate) may_be_whole: bool,
    pub(crate) act: Act,
    pub(crate) end: End,
}

#[derive(Debug)]
pub(crate) struct Routed {
    /// A name of the list's; none if it is unknown.
    pub(crate) asked: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) before: Bytes,
    pub(crate) after: Bytes,
}

/// How the body is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Delivery {
    Whole,
    /// Without a length, in pieces of this size.
    Chunks(usize),
    /// In so many pieces, with a pause before each.
    Drip(usize, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Connection {
    /// HTTP/1.1, kept alive.
    Kept,
    /// HTTP/1.1, for this request only.
    Own,
    /// HTTP/2, shared by many.
    Http2,
}

/// What the upstream does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    /// Answers with a document of this size.
    Answer(usize),
    /// The same, late.
    Late(Duration),
    /// Answers with so many events.
    Events(usize, Duration),
    /// Says that it failed.
    Fail,
    /// Closes the connection.
    Close,
    /// Never answers.
    Silent,
    /// Breaks off in the middle of its events.
    BreakOff,
}

/// What the client does and gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// What the upstream's act makes of it.
    Answered,
    /// The proxy's own answer.
    Refused(u16, &'static str),
    /// The client goes away, by a reset or not.
    HangUp(Stage, bool),
    /// The client sends no more at this stage, and is told so.
    Stall(Stage),
}

/// How far a client gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    Head,
    BeforeModel,
    AfterModel,
    Waiting,
    InAnswer,
}

impl Plan {
    /// Whether it may have to wait for a newer list: its name may not be in the
    /// present one.
    pub(crate) fn may_miss(&self) -> bool {
        let asked = self.routed.as_ref().and_then(|routed| routed.asked);
        asked.is_none_or(|model| MODELS[model].comes_and_goes)
    }

    /// Whether the upstream must have it as soon as the proxy can pass it on.
    pub(crate) fn is_prompt(&self) -> bool {
        let is_small = self.body.len() < 64 * 1024;
        self.routed.is_some()
            && !self.may_miss()
            && is_small
            && self.end == End::Answered
            && self.delivery == Delivery::Whole
    }
}

impl Routed {
    pub(crate) fn served_by(&self, list: u64) -> Served {
        Served::by(list, self.asked, self.kind)
    }
}

/// The upstream's answer as a document; `model` is the ID, or the name that
/// takes its place.
pub(crate) fn document(nonce: u64, model: &str, len: usize) -> String {
    let filler = filler(len);
    format!(
        r#"{{"id":"{nonce}", "model" :"{model}","n":1e400,"choices":[{{"model":"nested","text":"{filler}"}}]}}"#
    )
}

/// The upstream's answer as events.
pub(crate) fn event(nonce: u64, model: &str, index: usize, count: usize) -> String {
    if index + 1 == count {
        return "data: [DONE]\n\n".to_owned();
    }
    format!(
        "data: {{\"id\":\"{nonce}\",\"model\":\"{model}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{index}\"}}}}]}}\n\n"
    )
}

/// Prose of about this length, as it is in JSON strings.
pub(crate) fn filler(len: usize) -> String {
    let line = r#"The \"swallow\" flies south with the sun, \"model\": \"none\".\n"#;
    line.repeat(len / line.len())
}
