//! Mixed traffic, the same for the same seed.

use std::time::Duration;

use crate::{
    bad_requests::make_invalid,
    catalogs::{Kind, MODELS},
    plan::{Action, Connection, Delivery, End, Plan, Stage},
};

/// For this number of requests some names may be missing in the catalog, for the next ones none.
const PHASE: u64 = 2_048;

/// The categories and their percentages.
const MIX: [(u32, Category); 16] = [
    (5, Category::Passed),
    (23, Category::Plain),
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
    (3, Category::WebSocket),
    (2, Category::Preflight),
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
    WebSocket,
    /// Asks for a browser whether it may send a request.
    Preflight,
}

pub(crate) struct Traffic {
    pub(crate) rng: fastrand::Rng,
    pub(crate) nonce: u64,
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
                plan.delivery = self.chunks(&plan);
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
            Category::WebSocket => self.websocket(),
            Category::Preflight => self.preflight(),
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
