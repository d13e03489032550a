//! Requests of every format, with one of the names of their model.

use std::{borrow::Cow, fmt::Write};

use test_support::encoding::compress;

use crate::{
    catalogs::{Kind, MODELS},
    plan::{Action, Connection, Delivery, End, ID_HEADER, ORIGIN, Plan, Routed, filler},
    traffic::Traffic,
};

const BOUNDARY: &str = "soak-boundary";

/// A request's body, and where its model is.
struct Body {
    before: String,
    name: String,
    after: String,
}

impl Traffic {
    /// Returns a request that names a model of all catalogs.
    pub(crate) fn request(&mut self, category: &'static str, len: usize) -> Plan {
        let model = self.model(|model| !model.is_temporary && model.kind != Kind::Stt);
        let name = MODELS[model].any_name(&mut self.rng);
        self.json(category, Some(model), MODELS[model].kind, &name, len)
    }

    pub(crate) fn model(&mut self, is_eligible: fn(&crate::catalogs::Model) -> bool) -> usize {
        loop {
            let model = self.rng.usize(..MODELS.len());
            if is_eligible(&MODELS[model]) {
                return model;
            }
        }
    }

    pub(crate) fn json(
        &mut self,
        category: &'static str,
        requested: Option<usize>,
        kind: Kind,
        name: &str,
        len: usize,
    ) -> Plan {
        let name = match self.rng.u8(..8) {
            0 => name.replace('-', "\\u002d"),
            1 => format!(" {name}\\t"),
            _ => name.to_owned(),
        };
        let user = format!(
            r#""user":"{}","n":[1e400,-0.0E-0,1234567890123456789012345]"#,
            self.nonce
        );
        let text = format!(
            r#""messages":[{{"role":"user","content":"{}"}}]"#,
            filler(len)
        );
        let (before, after) = match self.rng.u8(..3) {
            0 => (
                "{\"model\": \"".to_owned(),
                format!("\", {user},\n{text} }}"),
            ),
            1 => (
                format!("{{ {user} ,\"model\"\t:\""),
                format!("\",{text}}}\r\n"),
            ),
            _ => (format!("{{{text},\n{user},\"model\":\""), "\"}".to_owned()),
        };
        let path = match kind {
            Kind::Llm => {
                const PATHS: [&str; 5] = [
                    "/v1/chat/completions",
                    "/api/v1/chat/completions",
                    "/v1/completions",
                    "/v1/responses",
                    "/v1/messages?beta=true",
                ];
                PATHS[self.rng.usize(..PATHS.len())]
            }
            Kind::Embedding => "/v1/embeddings",
            Kind::Tts => "/v1/audio/speech",
            Kind::Stt => "/v1/audio/transcriptions",
        };
        let body = Body {
            before,
            name,
            after,
        };
        let mut plan = self.routed(category, path, requested, kind, body);
        plan.headers
            .push(("content-type", "application/json".to_owned()));
        plan
    }

    fn routed(
        &mut self,
        category: &'static str,
        path: &'static str,
        requested: Option<usize>,
        kind: Kind,
        body: Body,
    ) -> Plan {
        let sent = [&*body.before, &body.name, &body.after].concat();
        let mut plan = self.plan(category, path, sent);
        plan.routed = Some(Routed {
            requested,
            kind,
            before: body.before.into(),
            after: body.after.into(),
        });
        plan
    }

    pub(crate) fn plan(
        &mut self,
        category: &'static str,
        path: impl Into<Cow<'static, str>>,
        body: String,
    ) -> Plan {
        let nonce = self.nonce;
        self.nonce += 1;
        let mut headers = Vec::new();
        if self.rng.u8(..3) == 0 {
            headers.push(("accept-encoding", "gzip, br".to_owned()));
        }
        if self.rng.u8(..8) == 0 {
            headers.push((ID_HEADER, "forged".to_owned()));
        }
        Plan {
            nonce,
            category,
            method: "POST",
            path: path.into(),
            headers,
            body: body.into(),
            delivery: Delivery::AtOnce,
            connection: match self.rng.u8(..10) {
                0 => Connection::Own,
                1 => Connection::Http2,
                _ => Connection::Pooled,
            },
            routed: None,
            may_be_complete: true,
            action: Action::Respond(self.rng.usize(..3_000)),
            end: End::Responded,
        }
    }

    pub(crate) fn form(&mut self) -> Plan {
        let model = self.model(|model| !model.is_temporary && model.kind == Kind::Stt);
        let head = |name: &str| {
            format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n")
        };
        let mut file = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; \
             filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\n"
        );
        let sound = "\0RIFF--\r\n--soak \r\n";
        let _ = write!(file, "{}\r\n", sound.repeat(self.rng.usize(..2_000)));
        let user = format!("{}{}\r\n", head("user"), self.nonce);
        let close = format!("--{BOUNDARY}--\r\n");
        let (before, after) = match self.rng.bool() {
            true => (head("model"), format!("\r\n{user}{file}{close}")),
            false => (
                format!("{file}{}", head("model")),
                format!("\r\n{user}{close}"),
            ),
        };
        let body = Body {
            before,
            name: MODELS[model].any_name(&mut self.rng),
            after,
        };
        let path = "/v1/audio/transcriptions";
        let mut plan = self.routed("form", path, Some(model), Kind::Stt, body);
        let form = format!("multipart/form-data; boundary={BOUNDARY}");
        plan.headers.push(("content-type", form));
        if self.rng.bool() {
            plan.delivery = self.chunks(&plan);
        }
        plan
    }

    pub(crate) fn chunks(&mut self, plan: &Plan) -> Delivery {
        let size = match plan.connection {
            // The h2 crate takes 2,000 unread frames of a few bytes for an attack, and closes the
            // connection.
            Connection::Http2 => self.rng.usize(256..4_000),
            _ => self.rng.usize(1..4_000),
        };
        // More than 1,000 chunks take seconds on a busy machine.
        Delivery::Chunks(size.max(plan.body.len() / 1_000))
    }

    pub(crate) async fn compressed(&mut self) -> Plan {
        let len = self.rng.usize(100..50_000);
        let mut plan = self.request("compressed", len);
        let encoding = ["gzip", "br", "zstd", "deflate"][self.rng.usize(..4)];
        plan.body = compress(encoding, plan.body).await;
        plan.headers.push(("content-encoding", encoding.to_owned()));
        plan
    }

    pub(crate) fn no_model(&mut self) -> Plan {
        let rest = format!(r#""user":"{}"}}"#, self.nonce);
        let body = Body {
            before: r#"{"model":""#.to_owned(),
            name: String::new(),
            after: format!(r#"",{rest}"#),
        };
        let mut plan = self.routed("no model", "/v1/completions", None, Kind::Llm, body);
        plan.body = format!("{{{rest}").into();
        plan.headers
            .push(("content-type", "application/json".to_owned()));
        plan
    }

    /// Returns a request for a WebSocket, whose model is in its target.
    pub(crate) fn websocket(&mut self) -> Plan {
        let model = self.model(|model| !model.is_temporary && model.kind == Kind::Llm);
        let name = MODELS[model].any_name(&mut self.rng);
        let (before, name) = ("/v1/realtime?model=", name.replace(' ', "%20"));
        let after = format!("&user={}", self.nonce);
        let mut plan = self.plan("WebSocket", format!("{before}{name}{after}"), String::new());
        plan.routed = Some(Routed {
            requested: Some(model),
            kind: Kind::Llm,
            before: before.into(),
            after: after.into(),
        });
        plan.method = "GET";
        plan.connection = Connection::Own;
        plan.action = Action::Echo(self.rng.usize(1..8));
        plan
    }

    /// Returns the request of a browser that precedes one to another origin.
    pub(crate) fn preflight(&mut self) -> Plan {
        let mut plan = self.plan("preflight", "/v1/chat/completions", String::new());
        plan.method = "OPTIONS";
        plan.headers.push(("origin", ORIGIN.to_owned()));
        plan.headers
            .push(("access-control-request-method", "POST".to_owned()));
        plan.may_be_complete = false;
        plan.end = End::Preflight;
        plan
    }
}
