//! Clients that send requests, and check the responses.

use std::{
    io::Read,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use benches::http::get;
use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, Request, StatusCode, Uri,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, CONTENT_LENGTH},
};
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
    catalogs::Served,
    checks::Check,
    misbehaving_clients::disconnect,
    plan::{Action, Connection, Delivery, End, NONCE, ORIGIN, Plan, Stage, document, event},
    request_log::RequestLog,
    upstream::Body,
    websocket,
};

/// Longer than any response takes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many requests share a connection of HTTP/2 before the next one is opened.
const HTTP2_REQUESTS: u64 = 500;

type Pool = legacy::Client<HttpConnector, Body>;

pub(crate) struct Clients {
    proxy: SocketAddr,
    log: Arc<RequestLog>,
    http1: Mutex<Pool>,
    http2: Mutex<Pool>,
    http2_requests: AtomicU64,
    /// The times of plain requests, in seconds.
    timings: Mutex<Vec<f64>>,
}

/// A response.
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    is_complete: bool,
    /// Whether the body was compressed.
    was_compressed: bool,
}

impl Clients {
    pub(crate) fn new(proxy: SocketAddr, log: Arc<RequestLog>) -> Self {
        Self {
            proxy,
            log,
            http1: Mutex::new(pool(false)),
            http2: Mutex::new(pool(true)),
            http2_requests: AtomicU64::new(0),
            timings: Mutex::default(),
        }
    }

    /// Takes the times of plain requests since the last call, in seconds.
    pub(crate) fn take_timings(&self) -> Vec<f64> {
        std::mem::take(&mut self.timings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request, and checks what follows.
    pub(crate) async fn perform(&self, plan: Plan) {
        let plan = Arc::new(plan);
        self.log.begin(&plan);
        let started = Instant::now();
        let ended = timeout(RESPONSE_TIMEOUT, self.send(&plan)).await;
        self.log.end(&plan);
        let ended = ended.unwrap_or_else(|_| Err("it does not end".into()));
        if let Err(error) = &ended {
            self.log.checks.check(Check::Status, false, || {
                format!(
                    "request {} ({}, {:?}, {:?}, {:?}): {error:?}",
                    plan.nonce, plan.category, plan.connection, plan.action, plan.end
                )
            });
        }
        if plan.category == "plain" {
            let mut timings = self.timings.lock().unwrap_or_else(PoisonError::into_inner);
            timings.push(started.elapsed().as_secs_f64());
        }
    }

    async fn send(&self, plan: &Plan) -> Result<(), BoxError> {
        match plan.end {
            End::Disconnect(Stage::InResponse, _) if plan.connection == Connection::Http2 => {
                // Resets the stream after one frame.
                let mut response = self.http2().request(self.request(plan)?).await?;
                response.body_mut().frame().await;
                return Ok(());
            }
            End::Disconnect(stage, by_reset) => {
                return Ok(disconnect(self.proxy, plan, stage, by_reset).await?);
            }
            _ => {}
        }
        if let Action::Echo(messages) = plan.action {
            return self.open_websocket(plan, messages).await;
        }
        let response = self.exchange(plan).await?;
        self.log.responded(plan, response.status.as_u16());
        self.check_headers(plan, &response.headers);
        match (plan.end, plan.action) {
            (End::Preflight, _) => {
                self.check_status(plan, &response, 200);
            }
            (End::Stall(_), _) => self.check_rejection(plan, &response, 408, "request_timeout"),
            (End::Rejected(status, code), _) => {
                self.check_rejection(plan, &response, status, code);
            }
            (_, Action::Close) => {
                self.check_rejection(plan, &response, 502, "upstream_unavailable");
            }
            (_, Action::Silent) => self.check_rejection(plan, &response, 504, "upstream_timeout"),
            _ => self.check_response(plan, &response),
        }
        Ok(())
    }

    async fn open_websocket(&self, plan: &Plan, messages: usize) -> Result<(), BoxError> {
        let (headers, are_echoed) = websocket::talk(self.proxy, plan, messages).await?;
        self.log
            .responded(plan, StatusCode::SWITCHING_PROTOCOLS.as_u16());
        self.check_headers(plan, &headers);
        let served = self.log.served(plan);
        let holds = are_echoed && has_model(plan, served, &headers);
        self.log.checks.check(Check::WebSocket, holds, || {
            format!(
                "request {} got {headers:?} for {served:?}, echoed: {are_echoed}",
                plan.nonce
            )
        });
        Ok(())
    }

    async fn exchange(&self, plan: &Plan) -> Result<Response, BoxError> {
        let request = self.request(plan)?;
        let response = match plan.connection {
            Connection::Pooled => self.http1().request(request).await?,
            Connection::Own => pool(false).request(request).await?,
            Connection::Http2 => self.http2().request(request).await?,
        };
        let (head, mut incoming) = response.into_parts();
        let mut response = Response {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            is_complete: true,
            was_compressed: false,
        };
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    response.body.extend_from_slice(data);
                }
                Err(_) => {
                    response.is_complete = false;
                    break;
                }
            }
        }
        if response
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|coding| coding == "gzip")
        {
            let compressed = std::mem::take(&mut response.body);
            let decoded = GzDecoder::new(&*compressed).read_to_end(&mut response.body);
            response.is_complete &= decoded.is_ok();
            response.was_compressed = true;
        }
        Ok(response)
    }

    fn request(&self, plan: &Plan) -> Result<Request<Body>, BoxError> {
        let uri: Uri = format!("http://{}{}", self.proxy, plan.path).parse()?;
        let mut request = Request::builder()
            .method(plan.method)
            .uri(uri)
            .header(NONCE, plan.nonce)
            .header("x-request-id", plan.request_id());
        for (name, value) in &plan.headers {
            request = request.header(*name, value);
        }
        if plan.connection == Connection::Own {
            request = request.header("connection", "close");
        }
        if let End::Stall(_) = plan.end {
            request = request.header(CONTENT_LENGTH, plan.body.len());
        }
        Ok(request.body(body(plan))?)
    }

    /// Closes the connections of the pools.
    pub(crate) fn close(&self) {
        for (former, is_http2) in [(&self.http1, false), (&self.http2, true)] {
            *former.lock().unwrap_or_else(PoisonError::into_inner) = pool(is_http2);
        }
    }

    fn http1(&self) -> Pool {
        let http1 = self.http1.lock().unwrap_or_else(PoisonError::into_inner);
        http1.clone()
    }

    fn http2(&self) -> Pool {
        let mut http2 = self.http2.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.http2_requests.fetch_add(1, Ordering::Relaxed);
        if requests % HTTP2_REQUESTS == HTTP2_REQUESTS - 1 {
            *http2 = pool(true);
        }
        http2.clone()
    }

    /// Checks for the upstream's response, with the model's name in place of the ID.
    fn check_response(&self, plan: &Plan, response: &Response) {
        let status = match plan.action {
            Action::Fail => 500,
            _ => 200,
        };
        if !self.check_status(plan, response, status) {
            return;
        }
        let served = self.log.served(plan);
        let name = served.map_or("", |served| served.name());
        let expected = match plan.action {
            Action::Respond(len) => document(plan.nonce, name, len),
            Action::Events(count, _) => events(plan.nonce, name, 0..count, count),
            Action::Abort => events(plan.nonce, name, 0..4, 8),
            // An error names the model, too.
            Action::Fail | Action::Late(_) | Action::Close | Action::Silent | Action::Echo(_) => {
                document(plan.nonce, name, 0)
            }
        };
        self.check_compression(plan, response, expected.len());
        let has_headers = has_model(plan, served, &response.headers);
        let has_body = match plan.action {
            // It ends after one of the events.
            Action::Abort => {
                expected.as_bytes().starts_with(&response.body) && !response.is_complete
            }
            _ => response.body == expected.as_bytes() && response.is_complete,
        };
        self.log
            .checks
            .check(Check::Response, has_headers && has_body, || {
                let body = String::from_utf8_lossy(&response.body);
                let body: String = body.chars().take(300).collect();
                format!(
                    "request {} ({}) got {:?} {body:?} for {served:?}, complete: {}",
                    plan.nonce, plan.category, response.headers, response.is_complete
                )
            });
    }

    fn check_compression(&self, plan: &Plan, response: &Response, len: usize) {
        let may = plan.accepts_gzip() && !matches!(plan.action, Action::Events(..) | Action::Abort);
        // A shorter one is not if its length is known.
        let must = may && len >= 1024;
        let holds = match response.was_compressed {
            true => may,
            false => !must,
        };
        self.log.checks.check(Check::Compression, holds, || {
            format!(
                "request {} ({}) got {:?}",
                plan.nonce, plan.category, response.headers
            )
        });
    }

    /// Checks the headers of all responses.
    fn check_headers(&self, plan: &Plan, headers: &HeaderMap) {
        let holds = headers
            .get("x-request-id")
            .is_some_and(|id| id == &*plan.request_id())
            && headers
                .get(ACCESS_CONTROL_ALLOW_ORIGIN)
                .is_some_and(|it| it == ORIGIN);
        self.log.checks.check(Check::Headers, holds, || {
            format!("request {} ({}) got {headers:?}", plan.nonce, plan.category)
        });
    }

    /// Checks for a response of the proxy's own.
    fn check_rejection(&self, plan: &Plan, response: &Response, status: u16, code: &str) {
        if self.check_status(plan, response, status) {
            let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let has_form = match plan.path.starts_with("/v1/messages") {
                // Anthropic's errors have no code.
                true => body["type"] == "error" && body["error"]["message"].is_string(),
                false => body["error"]["code"] == code,
            };
            let holds = has_form && response.is_complete;
            self.log.checks.check(Check::Response, holds, || {
                format!("request {} ({}) got {body}", plan.nonce, plan.category)
            });
        }
    }

    fn check_status(&self, plan: &Plan, response: &Response, expected: u16) -> bool {
        let check = match response.status.is_server_error() {
            true => Check::Error5xx,
            false => Check::Status,
        };
        let holds = response.status == expected;
        self.log.checks.check(check, holds, || {
            let body = String::from_utf8_lossy(&response.body);
            format!(
                "request {} ({}, {:?}, {:?}) got {} {body}",
                plan.nonce, plan.category, plan.action, plan.end, response.status
            )
        })
    }
}

/// Returns whether a response has headers with its model, and of a fallback.
fn has_model(plan: &Plan, served: Option<Served>, headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).map(|value| value.as_bytes());
    match (served, &plan.routed) {
        (Some(served), Some(routed)) => {
            let is_fallback = routed.requested != Some(served.model);
            header("x-model-id") == Some(served.id().as_bytes())
                && header("x-model-name") == Some(served.name().as_bytes())
                && header("x-model-fallback") == is_fallback.then_some(&b"true"[..])
        }
        (None, None) => header("x-model-id").is_none(),
        _ => false,
    }
}

fn pool(is_http2: bool) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(is_http2)
        // A retry would look like a request that arrives twice.
        .retry_canceled_requests(false)
        // The proxy closes idle connections after 75 s.
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector)
}

fn body(plan: &Plan) -> Body {
    let whole = plan.body.clone();
    if let End::Stall(stage) = plan.end {
        let sent = stream::iter([Ok::<_, BoxError>(Frame::data(plan.sent_at(stage)))]);
        return StreamBody::new(sent.chain(stream::pending())).boxed_unsync();
    }
    let (size, pause) = match plan.delivery {
        Delivery::AtOnce => {
            return Full::new(whole)
                .map_err(|never| match never {})
                .boxed_unsync();
        }
        Delivery::Chunks(size) => (size, Duration::ZERO),
        Delivery::Drip(pieces, pause) => (whole.len().div_ceil(pieces), pause),
    };
    let pieces = stream::unfold(whole, move |mut remaining| async move {
        if remaining.is_empty() {
            return None;
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let piece = remaining.split_to(size.clamp(1, remaining.len()));
        Some((Ok::<_, BoxError>(Frame::data(piece)), remaining))
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn events(nonce: u64, name: &str, range: Range<usize>, count: usize) -> String {
    range
        .map(|index| event(nonce, name, index, count))
        .collect::<Vec<_>>()
        .concat()
}

/// Gets one of the proxy's own pages.
pub(crate) async fn page(proxy: SocketAddr, path: &str) -> Result<(u16, Bytes), BoxError> {
    let response = timeout(RESPONSE_TIMEOUT, get(proxy, path)).await??;
    Ok((response.status().as_u16(), response.into_body()))
}
