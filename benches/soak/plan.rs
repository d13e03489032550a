//! One request: what the client sends, what must arrive, and how it ends.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

use crate::catalogs::{Kind, MODELS, Served};

/// The header that identifies a request.
pub(crate) const NONCE: &str = "x-soak-nonce";
/// The origin whose pages may read responses.
pub(crate) const ORIGIN: &str = "https://app.example";
/// The headers by which the upstream gets the model's ID and its name.
pub(crate) const ID_HEADER: &str = "model_id";
pub(crate) const NAME_HEADER: &str = "x-model";

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nonce: u64,
    pub(crate) category: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: Cow<'static, str>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) delivery: Delivery,
    pub(crate) connection: Connection,
    /// The bytes around the expected ID, in the body or in the target. `None` without a model.
    pub(crate) routed: Option<Routed>,
    /// Whether the complete body may arrive.
    pub(crate) may_be_complete: bool,
    pub(crate) action: Action,
    pub(crate) end: End,
}

#[derive(Debug)]
pub(crate) struct Routed {
    /// The model that the request names. `None` if no catalog has the name.
    pub(crate) requested: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) before: Bytes,
    pub(crate) after: Bytes,
}

/// How the client sends the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Delivery {
    AtOnce,
    /// Without a length, in chunks of this size.
    Chunks(usize),
    /// In this number of pieces, with a pause before each.
    Drip(usize, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Connection {
    /// HTTP/1.1 with keep-alive.
    Pooled,
    /// HTTP/1.1 for this request only.
    Own,
    /// HTTP/2, shared by many.
    Http2,
}

/// The upstream's action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// Responds with a document of this size.
    Respond(usize),
    /// The same, after this time.
    Late(Duration),
    /// Responds with this number of events, with a pause between them.
    Events(usize, Duration),
    /// Responds with 500.
    Fail,
    /// Closes the connection.
    Close,
    /// Never responds.
    Silent,
    /// Aborts the response in the middle of its events.
    Abort,
    /// Opens a WebSocket, and echoes messages, of which the client sends this number.
    Echo(usize),
}

/// The client's last action, and its response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// The response that follows from the upstream's action.
    Responded,
    /// A response of the proxy's own.
    Rejected(u16, &'static str),
    /// The proxy's permission for a browser.
    Preflight,
    /// The client disconnects, by a reset if so said.
    Disconnect(Stage, bool),
    /// The client stops sending, and gets a 408.
    Stall(Stage),
}

/// How far a client gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    Head,
    BeforeModel,
    AfterModel,
    Waiting,
    InResponse,
}

impl Plan {
    /// Returns whether the request may wait for a newer catalog, because its name may not be in the
    /// present one.
    pub(crate) fn may_miss(&self) -> bool {
        let requested = self.routed.as_ref().and_then(|routed| routed.requested);
        requested.is_none_or(|model| MODELS[model].is_temporary)
    }

    /// Returns whether the upstream must receive it without any wait.
    pub(crate) fn is_prompt(&self) -> bool {
        let is_small = self.body.len() < 64 * 1024;
        self.routed.is_some()
            && !self.may_miss()
            && is_small
            && self.end == End::Responded
            && self.delivery == Delivery::AtOnce
    }

    /// Returns the request's ID in the proxy's log.
    pub(crate) fn request_id(&self) -> String {
        format!("soak-{}", self.nonce)
    }

    pub(crate) fn accepts_gzip(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| *name == "accept-encoding")
    }

    /// Returns the part of the body sent at this stage.
    pub(crate) fn sent_at(&self, stage: Stage) -> Bytes {
        let before = self.routed.as_ref().map_or(0, |routed| routed.before.len());
        let after = self.routed.as_ref().map_or(0, |routed| routed.after.len());
        self.body.slice(match stage {
            Stage::Head => 0..0,
            // Within the name.
            Stage::BeforeModel => 0..before + 1,
            // One byte is missing.
            Stage::AfterModel => 0..self.body.len() - after.min(1),
            Stage::Waiting | Stage::InResponse => 0..self.body.len(),
        })
    }
}

impl Routed {
    pub(crate) fn served_by(&self, catalog: u64) -> Served {
        Served::by(catalog, self.requested, self.kind)
    }
}

/// Returns the upstream's response as a document. `model` is the ID, or the name that replaces it.
pub(crate) fn document(nonce: u64, model: &str, len: usize) -> String {
    let filler = filler(len);
    format!(
        r#"{{"id":"{nonce}", "model" :"{model}","n":1e400,"choices":[{{"model":"nested","text":"{filler}"}}]}}"#
    )
}

/// Returns an event of the upstream's response.
pub(crate) fn event(nonce: u64, model: &str, index: usize, count: usize) -> String {
    if index + 1 == count {
        return "data: [DONE]\n\n".to_owned();
    }
    format!(
        "data: {{\"id\":\"{nonce}\",\"model\":\"{model}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{index}\"}}}}]}}\n\n"
    )
}

/// Returns prose of about this length, escaped for a JSON string.
pub(crate) fn filler(len: usize) -> String {
    let line = r#"The \"swallow\" flies south with the sun, \"model\": \"none\".\n"#;
    line.repeat(len / line.len())
}
