//! Clients that send requests as they should be sent, and look at the answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tower_model_routing::BoxError;

use crate::{
    checks::Check,
    ledger::Ledger,
    plan::{Act, Connection, Delivery, End, NONCE, Plan, Stage, document, event},
    rude,
    upstream::Body,
};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many requests share a connection of HTTP/2 one after the other.
const HTTP2_TURN: u64 = 500;

type Pool = legacy::Client<HttpConnector, Body>;

pub(crate) struct Clients {
    proxy: SocketAddr,
    ledger: Arc<Ledger>,
    kept: Mutex<Pool>,
    http2: Mutex<Pool>,
    http2_requests: AtomicU64,
    /// What small requests took, in seconds.
    timings: Mutex<Vec<f64>>,
}

/// What came of a request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Clients {
    pub(crate) fn new(proxy: SocketAddr, ledger: Arc<Ledger>) -> Self {
        Self {
            proxy,
            ledger,
            kept: Mutex::new(pool(false)),
            http2: Mutex::new(pool(true)),
            http2_requests: AtomicU64::new(0),
            timings: Mutex::default(),
        }
    }

    /// What small requests took since the last call, in seconds.
    pub(crate) fn take_timings(&self) -> Vec<f64> {
        std::mem::take(&mut self.timings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn perform(&self, plan: Plan) {
        let plan = Arc::new(plan);
        self.ledger.begin(&plan);
        let started = Instant::now();
        let ended = timeout(PATIENCE, self.send(&plan)).await;
        self.ledger.end(&plan);
        let ended = ended.unwrap_or_else(|_| Err("there is no end to it".into()));
        if let Err(error) = &ended {
            self.fail(&plan, &format!("{error:?}"));
        }
        if plan.sort == "plain" {
            let mut timings = self.timings.lock().unwrap_or_else(PoisonError::into_inner);
            timings.push(started.elapsed().as_secs_f64());
        }
    }

    async fn send(&self, plan: &Plan) -> Result<(), BoxError> {
        match plan.end {
            End::HangUp(Stage::InAnswer, _) if plan.connection == Connection::Http2 => {
                // One frame, and then nobody listens any more.
                let mut response = self.http2().request(self.request(plan)?).await?;
                response.body_mut().frame().await;
            }
            End::HangUp(stage, by_reset) => {
                rude::hang_up(self.proxy, plan, stage, by_reset).await?;
            }
            End::Stall(stage) => {
                let answer = rude::stall(self.proxy, plan, stage).await?;
                self.check_refusal(plan, &answer, 408, "request_timeout");
            }
            End::Refused(status, code) => {
                let answer = self.exchange(plan).await?;
                self.check_refusal(plan, &answer, status, code);
            }
            End::Answered => {
                let answer = self.exchange(plan).await?;
                match plan.act {
                    Act::Close => {
                        self.check_refusal(plan, &answer, 502, "upstream_unavailable");
                    }
                    Act::Silent => self.check_refusal(plan, &answer, 504, "upstream_timeout"),
                    _ => self.check_answer(plan, &answer),
                }
            }
        }
        Ok(())
    }

    async fn exchange(&self, plan: &Plan) -> Result<Answer, BoxError> {
        let request = self.request(plan)?;
        let response = match plan.connection {
            Connection::Kept => self.kept().request(request).await?,
            Connection::Own => pool(false).request(request).await?,
            Connection::Http2 => self.http2().request(request).await?,
        };
        let (head, mut incoming) = response.into_parts();
        let mut answer = Answer {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            is_whole: true,
        };
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    answer.body.extend_from_slice(data);
                }
                Err(_) => {
                    answer.is_whole = false;
                    break;
                }
            }
        }
        Ok(answer)
    }

    fn request(&self, plan: &Plan) -> Result<Request<Body>, BoxError> {
        let uri: Uri = format!("http://{}{}", self.proxy, plan.path).parse()?;
        let mut request = Request::builder()
            .method(plan.method)
            .uri(uri)
            .header(NONCE, plan.nonce);
        for (name, value) in &plan.headers {
            request = request.header(*name, value);
        }
        if plan.connection == Connection::Own {
            request = request.header("connection", "close");
        }
        Ok(request.body(body(plan))?)
    }

    /// Closes the connections that are kept.
    pub(crate) fn close(&self) {
        for (kept, is_http2) in [(&self.kept, false), (&self.http2, true)] {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = pool(is_http2);
        }
    }

    fn kept(&self) -> Pool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    fn http2(&self) -> Pool {
        let mut http2 = self.http2.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.http2_requests.fetch_add(1, Ordering::Relaxed);
        if requests % HTTP2_TURN == HTTP2_TURN - 1 {
            *http2 = pool(true);
        }
        http2.clone()
    }

    /// The upstream's answer, with the model's name in place of the ID.
    fn check_answer(&self, plan: &Plan, answer: &Answer) {
        let status = match plan.act {
            Act::Fail => 500,
            _ => 200,
        };
        if !self.check_status(plan, answer, status) {
            return;
        }
        let served = self.ledger.served(plan);
        let name = served.map_or("", |served| served.name());
        let id = served.map_or_else(String::new, |served| served.id());
        let expected = match plan.act {
            // An error stays as it is.
            Act::Fail => document(plan.nonce, &id, 0),
            Act::Answer(len) => document(plan.nonce, name, len),
            Act::Events(count, _) => events(plan.nonce, name, 0..count, count),
            Act::BreakOff => events(plan.nonce, name, 0..4, 8),
            Act::Late(_) | Act::Close | Act::Silent => document(plan.nonce, name, 0),
        };
        let header = |name| answer.headers.get(name).map(|value| value.as_bytes());
        let says_model = match (served, &plan.routed) {
            (Some(served), Some(routed)) => {
                let is_fallback = routed.asked != Some(served.model);
                header("x-model-id") == Some(served.id().as_bytes())
                    && header("x-model-name") == Some(served.name().as_bytes())
                    && header("x-model-fallback") == is_fallback.then_some(&b"true"[..])
            }
            (None, None) => header("x-model-id").is_none(),
            _ => false,
        };
        // It breaks off once an event is there or before.
        let is_expected = match plan.act {
            Act::BreakOff => expected.as_bytes().starts_with(&answer.body) && !answer.is_whole,
            _ => answer.body == expected.as_bytes() && answer.is_whole,
        };
        let holds = says_model && is_expected;
        self.ledger.checks.check(Check::Answer, holds, || {
            let body = String::from_utf8_lossy(&answer.body);
            let body: String = body.chars().take(300).collect();
            format!(
                "request {} ({}) got {:?} {body:?} for {served:?}, whole: {}",
                plan.nonce, plan.sort, answer.headers, answer.is_whole
            )
        });
    }

    /// The proxy's own answer.
    fn check_refusal(&self, plan: &Plan, answer: &Answer, status: u16, code: &str) {
        if self.check_status(plan, answer, status) {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let holds = body["error"]["code"] == code && answer.is_whole;
            self.ledger.checks.check(Check::Answer, holds, || {
                format!("request {} ({}) got {body}", plan.nonce, plan.sort)
            });
        }
    }

    fn check_status(&self, plan: &Plan, answer: &Answer, expected: u16) -> bool {
        let holds = answer.status == expected;
        // Of each 5xx that comes it is asked why.
        let check = match answer.status.is_server_error() {
            true => Check::Error5xx,
            false => Check::Status,
        };
        self.ledger.checks.check(check, holds, || {
            let body = String::from_utf8_lossy(&answer.body);
            format!(
                "request {} ({}, {:?}, {:?}) got {} {body}",
                plan.nonce, plan.sort, plan.act, plan.end, answer.status
            )
        })
    }

    fn fail(&self, plan: &Plan, problem: &str) {
        self.ledger.checks.check(Check::Status, false, || {
            format!(
                "request {} ({}, {:?}, {:?}): {problem}",
                plan.nonce, plan.sort, plan.connection, plan.end
            )
        });
    }
}

fn pool(is_http2: bool) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(is_http2)
        // A request that is sent twice would be another's fault.
        .retry_canceled_requests(false)
        // The proxy closes idle connections after 75 s.
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector)
}

fn body(plan: &Plan) -> Body {
    let whole = plan.body.clone();
    let (size, pause) = match plan.delivery {
        Delivery::Whole => {
            return Full::new(whole)
                .map_err(|never| match never {})
                .boxed_unsync();
        }
        Delivery::Chunks(size) => (size, Duration::ZERO),
        Delivery::Drip(pieces, pause) => (whole.len().div_ceil(pieces), pause),
    };
    let pieces = stream::unfold(whole, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let piece = rest.split_to(size.clamp(1, rest.len()));
        Some((Ok::<_, BoxError>(Frame::data(piece)), rest))
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn events(nonce: u64, name: &str, range: std::ops::Range<usize>, count: usize) -> String {
    range
        .map(|index| event(nonce, name, index, count))
        .collect::<Vec<_>>()
        .concat()
}

/// A page of the proxy's own.
pub(crate) async fn page(proxy: SocketAddr, path: &str) -> Result<(u16, Bytes), BoxError> {
    let uri: Uri = format!("http://{proxy}{path}").parse()?;
    let body = Full::default().map_err(|never| match never {});
    let request = Request::get(uri).header("connection", "close");
    let request = request.body(body.boxed_unsync())?;
    let response = timeout(PATIENCE, pool(false).request(request)).await??;
    let status = response.status().as_u16();
    let body = timeout(PATIENCE, response.into_body().collect()).await??;
    Ok((status, body.to_bytes()))
}
