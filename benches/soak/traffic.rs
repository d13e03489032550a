//! Mixed traffic, the same for the same seed.

use std::{fmt::Write, time::Duration};

use bytes::Bytes;

use crate::{
    bad,
    lists::{Kind, MODELS},
    plan::{Act, Connection, Delivery, End, Plan, Routed, Stage, filler},
    support::encoding::compress,
};

/// Names that no list has come for so many requests, and not for as many.
const TURN: u64 = 2_048;
const BOUNDARY: &str = "soak-boundary";

/// How many of a hundred requests are of which sort.
const MIX: [(u32, Sort); 14] = [
    (5, Sort::Control),
    (28, Sort::Plain),
    (8, Sort::Chunked),
    (15, Sort::Events),
    (8, Sort::Form),
    (8, Sort::Compressed),
    (2, Sort::Large),
    (5, Sort::Guest),
    (4, Sort::Unknown),
    (2, Sort::Unnamed),
    (6, Sort::Bad),
    (5, Sort::HangUp),
    (2, Sort::UpstreamFault),
    (2, Sort::Slow),
];

#[derive(Clone, Copy, Debug)]
enum Sort {
    /// None of the layer's business.
    Control,
    Plain,
    Chunked,
    Events,
    Form,
    Compressed,
    Large,
    /// Of a model that comes and goes.
    Guest,
    Unknown,
    /// Without a model.
    Unnamed,
    Bad,
    HangUp,
    UpstreamFault,
    Slow,
}

pub(crate) struct Traffic {
    rng: fastrand::Rng,
    nonce: u64,
}

/// The whole of a request's body, and where its model is.
struct Body {
    before: String,
    spelled: String,
    after: String,
}

impl Traffic {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self { rng, nonce: 0 }
    }

    pub(crate) async fn next(&mut self) -> Plan {
        let mut point = self.rng.u32(..100);
        let mut sort = Sort::Plain;
        for (share, it) in MIX {
            if point < share {
                sort = it;
                break;
            }
            point -= share;
        }
        let knows_all = (self.nonce / TURN) % 2 == 1;
        if knows_all && matches!(sort, Sort::Guest | Sort::Unknown | Sort::Unnamed) {
            sort = Sort::Plain;
        }
        match sort {
            Sort::Control => self.control(),
            Sort::Plain => self.plain("plain"),
            Sort::Chunked => {
                let len = self.rng.usize(..20_000);
                let mut plan = self.request("chunked", len);
                plan.delivery = self.chunks(plan.connection);
                plan
            }
            Sort::Events => self.events("events"),
            Sort::Form => self.form(),
            Sort::Compressed => self.compressed().await,
            Sort::Large => {
                let len = self.rng.usize(256 * 1024..4 * 1024 * 1024);
                let mut plan = self.request("large", len);
                if self.rng.bool() {
                    plan.delivery = Delivery::Chunks(64 * 1024);
                }
                plan
            }
            Sort::Guest => {
                let model = self.model(|model| model.comes_and_goes && model.kind != Kind::Stt);
                let name = MODELS[model].spelling(&mut self.rng);
                self.json("guest", Some(model), MODELS[model].kind, &name, 500)
            }
            Sort::Unknown => {
                let kind = [Kind::Llm, Kind::Embedding, Kind::Tts][self.rng.usize(..3)];
                let name = format!("nobody-{}", self.rng.u16(..));
                self.json("unknown", None, kind, &name, 500)
            }
            Sort::Unnamed => self.unnamed(),
            Sort::Bad => {
                let mut plan = self.plain("bad");
                bad::spoil(&mut plan, &mut self.rng);
                plan
            }
            Sort::HangUp => self.hang_up(),
            Sort::UpstreamFault => {
                let mut plan = self.plain("upstream fault");
                plan.act = [Act::Fail, Act::Close, Act::Silent, Act::BreakOff][self.rng.usize(..4)];
                plan
            }
            Sort::Slow => self.slow(),
        }
    }

    fn control(&mut self) -> Plan {
        let mut plan = self.plan("control", "/v1/files", String::new());
        plan.method = "GET";
        plan.connection = Connection::Own;
        plan
    }

    pub(crate) fn plain(&mut self, sort: &'static str) -> Plan {
        let len = self.rng.usize(..4_000);
        self.request(sort, len)
    }

    pub(crate) fn events(&mut self, sort: &'static str) -> Plan {
        let mut plan = self.plain(sort);
        let pause = match self.rng.u8(..4) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(self.rng.u64(1..30)),
        };
        plan.act = Act::Events(self.rng.usize(2..25), pause);
        plan
    }

    /// For a model that all lists have.
    fn request(&mut self, sort: &'static str, len: usize) -> Plan {
        let model = self.model(|model| !model.comes_and_goes && model.kind != Kind::Stt);
        let name = MODELS[model].spelling(&mut self.rng);
        self.json(sort, Some(model), MODELS[model].kind, &name, len)
    }

    fn model(&mut self, is_eligible: fn(&crate::lists::Model) -> bool) -> usize {
        loop {
            let model = self.rng.usize(..MODELS.len());
            if is_eligible(&MODELS[model]) {
                return model;
            }
        }
    }

    fn json(
        &mut self,
        sort: &'static str,
        asked: Option<usize>,
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
            _ => (
                format!("{{{text},\n{user},\"mod\\u0065l\":\""),
                "\"}".to_owned(),
            ),
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
            spelled: name,
            after,
        };
        let mut plan = self.routed(sort, path, asked, kind, body);
        plan.headers
            .push(("content-type", "application/json".to_owned()));
        plan
    }

    fn routed(
        &mut self,
        sort: &'static str,
        path: &'static str,
        asked: Option<usize>,
        kind: Kind,
        body: Body,
    ) -> Plan {
        let sent = [&*body.before, &body.spelled, &body.after].concat();
        let mut plan = self.plan(sort, path, sent);
        plan.routed = Some(Routed {
            asked,
            kind,
            before: body.before.into(),
            after: body.after.into(),
        });
        plan
    }

    fn plan(&mut self, sort: &'static str, path: &'static str, body: String) -> Plan {
        let nonce = self.nonce;
        self.nonce += 1;
        Plan {
            nonce,
            sort,
            method: "POST",
            path,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
            connection: match self.rng.u8(..10) {
                0 => Connection::Own,
                1 => Connection::Http2,
                _ => Connection::Kept,
            },
            routed: None,
            may_be_whole: true,
            act: Act::Answer(self.rng.usize(..3_000)),
            end: End::Answered,
        }
    }

    fn form(&mut self) -> Plan {
        let model = self.model(|model| !model.comes_and_goes && model.kind == Kind::Stt);
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
            spelled: MODELS[model].spelling(&mut self.rng),
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
        // Two thousand unread frames of a few bytes are an attack to the h2 crate,
        // which closes the connection.
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

    fn unnamed(&mut self) -> Plan {
        let rest = format!(r#""user":"{}"}}"#, self.nonce);
        let body = Body {
            before: r#"{"model":""#.to_owned(),
            spelled: String::new(),
            after: format!(r#"",{rest}"#),
        };
        let mut plan = self.routed("unnamed", "/v1/completions", None, Kind::Llm, body);
        plan.body = format!("{{{rest}").into();
        plan.headers
            .push(("content-type", "application/json".to_owned()));
        plan
    }

    fn hang_up(&mut self) -> Plan {
        const STAGES: [Stage; 5] = [
            Stage::Head,
            Stage::BeforeModel,
            Stage::AfterModel,
            Stage::Waiting,
            Stage::InAnswer,
        ];
        let stage = STAGES[self.rng.usize(..STAGES.len())];
        let mut plan = self.plain("hang-up");
        plan.end = End::HangUp(stage, self.rng.bool());
        plan.may_be_whole = matches!(stage, Stage::Waiting | Stage::InAnswer);
        plan.act = match stage {
            Stage::Waiting => Act::Late(Duration::from_secs(1)),
            _ => Act::Events(20, Duration::from_millis(50)),
        };
        // A stream of HTTP/2 is given up in the answer only.
        if stage != Stage::InAnswer {
            plan.connection = Connection::Own;
        }
        plan
    }

    /// Slow, but steady; or too slow.
    fn slow(&mut self) -> Plan {
        let mut plan = self.plain("slow");
        if self.rng.u8(..4) > 0 {
            plan.delivery = Delivery::Drip(5, Duration::from_millis(100));
            return plan;
        }
        plan.connection = Connection::Own;
        plan.may_be_whole = false;
        plan.end = End::Stall(match self.rng.bool() {
            true => Stage::BeforeModel,
            false => Stage::AfterModel,
        });
        plan
    }
}

impl Plan {
    /// What has been sent of the body at this stage.
    pub(crate) fn sent_at(&self, stage: Stage) -> Bytes {
        let before = self.routed.as_ref().map_or(0, |routed| routed.before.len());
        let after = self.routed.as_ref().map_or(0, |routed| routed.after.len());
        self.body.slice(match stage {
            Stage::Head => 0..0,
            // Within the name.
            Stage::BeforeModel => 0..before + 1,
            // One byte is missing.
            Stage::AfterModel => 0..self.body.len() - after.min(1),
            Stage::Waiting | Stage::InAnswer => 0..self.body.len(),
        })
    }
}
