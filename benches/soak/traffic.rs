//! Mixed traffic, the same for the same seed.

use std::{fmt::Write, time::Duration};

use test_support::encoding::compress;

use crate::{
    bad_requests::make_invalid,
    catalogs::{Kind, MODELS},
    plan::{Action, Connection, Delivery, End, Plan, Routed, Stage, filler},
};

/// For this number of requests some names may be missing in the catalog, for the next ones none.
const PHASE: u64 = 2_048;
const BOUNDARY: &str = "soak-boundary";

/// The categories and their percentages.
const MIX: [(u32, Category); 14] = [
    (5, Category::Passed),
    (28, Category::Plain),
    (8, Category::Chunked),
    (15, Category::Events),
    (8, Category::Form),
    (8, Category::Compressed),
    (2, Category::Large),
    (5, Category::Temporary),
    (4, Category::Unknown),
    (2, Category::NoModel),
    (6, Category::Invalid),
    (5, Category::Disconnect),
    (2, Category::UpstreamFailure),
    (2, Category::Slow),
];

#[derive(Clone, Copy, Debug)]
enum Category {
    /// Passes through the layer.
    Passed,
    Plain,
    Chunked,
    Events,
    Form,
    Compressed,
    Large,
    /// Names a model that some catalogs do not have.
    Temporary,
    Unknown,
    /// Names no model.
    NoModel,
    Invalid,
    Disconnect,
    UpstreamFailure,
    Slow,
}

pub(crate) struct Traffic {
    rng: fastrand::Rng,
    nonce: u64,
}

/// A request's body, and where its model is.
struct Body {
    before: String,
    name: String,
    after: String,
}

impl Traffic {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self { rng, nonce: 0 }
    }

    pub(crate) async fn next(&mut self) -> Plan {
        let mut point = self.rng.u32(..100);
        let mut category = Category::Plain;
        for (share, it) in MIX {
            if point < share {
                category = it;
                break;
            }
            point -= share;
        }
        let all_known = (self.nonce / PHASE) % 2 == 1;
        if all_known
            && matches!(
                category,
                Category::Temporary | Category::Unknown | Category::NoModel
            )
        {
            category = Category::Plain;
        }
        match category {
            Category::Passed => self.passed(),
            Category::Plain => self.plain("plain"),
            Category::Chunked => {
                let len = self.rng.usize(..20_000);
                let mut plan = self.request("chunked", len);
                plan.delivery = self.chunks(plan.connection);
                plan
            }
            Category::Events => self.events("events"),
            Category::Form => self.form(),
            Category::Compressed => self.compressed().await,
            Category::Large => {
                let len = self.rng.usize(256 * 1024..4 * 1024 * 1024);
                let mut plan = self.request("large", len);
                if self.rng.bool() {
                    plan.delivery = Delivery::Chunks(64 * 1024);
                }
                plan
            }
            Category::Temporary => {
                let model = self.model(|model| model.is_temporary && model.kind != Kind::Stt);
                let name = MODELS[model].any_name(&mut self.rng);
                self.json(
                    "temporary model",
                    Some(model),
                    MODELS[model].kind,
                    &name,
                    500,
                )
            }
            Category::Unknown => {
                let kind = [Kind::Llm, Kind::Embedding, Kind::Tts][self.rng.usize(..3)];
                let name = format!("no-such-model-{}", self.rng.u16(..));
                self.json("unknown model", None, kind, &name, 500)
            }
            Category::NoModel => self.no_model(),
            Category::Invalid => {
                let mut plan = self.plain("invalid");
                make_invalid(&mut plan, &mut self.rng);
                plan
            }
            Category::Disconnect => self.disconnect(),
            Category::UpstreamFailure => {
                let mut plan = self.plain("upstream failure");
                plan.action = [Action::Fail, Action::Close, Action::Silent, Action::Abort]
                    [self.rng.usize(..4)];
                plan
            }
            Category::Slow => self.slow(),
        }
    }

    fn passed(&mut self) -> Plan {
        let mut plan = self.plan("passed through", "/v1/files", String::new());
        plan.method = "GET";
        plan.connection = Connection::Own;
        plan
    }

    pub(crate) fn plain(&mut self, category: &'static str) -> Plan {
        let len = self.rng.usize(..4_000);
        self.request(category, len)
    }

    pub(crate) fn events(&mut self, category: &'static str) -> Plan {
        let mut plan = self.plain(category);
        let pause = match self.rng.u8(..4) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(self.rng.u64(1..30)),
        };
        plan.action = Action::Events(self.rng.usize(2..25), pause);
        plan
    }

    /// Returns a request that names a model of all catalogs.
    fn request(&mut self, category: &'static str, len: usize) -> Plan {
        let model = self.model(|model| !model.is_temporary && model.kind != Kind::Stt);
        let name = MODELS[model].any_name(&mut self.rng);
        self.json(category, Some(model), MODELS[model].kind, &name, len)
    }

    fn model(&mut self, is_eligible: fn(&crate::catalogs::Model) -> bool) -> usize {
        loop {
            let model = self.rng.usize(..MODELS.len());
            if is_eligible(&MODELS[model]) {
                return model;
            }
        }
    }

    fn json(
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

    fn plan(&mut self, category: &'static str, path: &'static str, body: String) -> Plan {
        let nonce = self.nonce;
        self.nonce += 1;
        Plan {
            nonce,
            category,
            method: "POST",
            path,
            headers: Vec::new(),
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

    fn form(&mut self) -> Plan {
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
            plan.delivery = self.chunks(plan.connection);
        }
        plan
    }

    fn chunks(&mut self, connection: Connection) -> Delivery {
        // The h2 crate takes 2,000 unread frames of a few bytes for an attack, and closes the
        // connection.
        Delivery::Chunks(match connection {
            Connection::Http2 => self.rng.usize(256..4_000),
            _ => self.rng.usize(1..4_000),
        })
    }

    async fn compressed(&mut self) -> Plan {
        let len = self.rng.usize(100..50_000);
        let mut plan = self.request("compressed", len);
        let encoding = ["gzip", "br", "zstd", "deflate"][self.rng.usize(..4)];
        plan.body = compress(encoding, plan.body).await;
        plan.headers.push(("content-encoding", encoding.to_owned()));
        plan
    }

    fn no_model(&mut self) -> Plan {
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

    fn disconnect(&mut self) -> Plan {
        const STAGES: [Stage; 5] = [
            Stage::Head,
            Stage::BeforeModel,
            Stage::AfterModel,
            Stage::Waiting,
            Stage::InResponse,
        ];
        let stage = STAGES[self.rng.usize(..STAGES.len())];
        let mut plan = self.plain("disconnect");
        plan.end = End::Disconnect(stage, self.rng.bool());
        plan.may_be_complete = matches!(stage, Stage::Waiting | Stage::InResponse);
        plan.action = match stage {
            Stage::Waiting => Action::Late(Duration::from_secs(1)),
            _ => Action::Events(20, Duration::from_millis(50)),
        };
        // Of HTTP/2, a stream is reset during the response only.
        if stage != Stage::InResponse {
            plan.connection = Connection::Own;
        }
        plan
    }

    /// Returns a request whose body is slow, or stalls.
    fn slow(&mut self) -> Plan {
        let mut plan = self.plain("slow");
        if self.rng.u8(..4) > 0 {
            plan.delivery = Delivery::Drip(5, Duration::from_millis(100));
            return plan;
        }
        plan.connection = Connection::Own;
        plan.may_be_complete = false;
        plan.end = End::Stall(match self.rng.bool() {
            true => Stage::BeforeModel,
            false => Stage::AfterModel,
        });
        plan
    }
}
