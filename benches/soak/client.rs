//! Clients that send requests and read the responses.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use benches::http::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode, Uri, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{sleep, timeout};
use tower_model_routing::BoxError;

use crate::{
    checks::Check,
    misbehaving_clients::disconnect,
    plan::{Action, Connection, Delivery, End, NONCE, Plan, Stage},
    request_log::RequestLog,
    responses::{Response, check_headers, has_model},
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
        check_headers(&self.log, plan, &response.headers);
        match (plan.end, plan.action) {
            (End::Preflight, _) => {
                response.check_status(&self.log, plan, 200);
            }
            (End::Stall(_), _) => response.check_rejection(&self.log, plan, 408, "request_timeout"),
            (End::Rejected(status, code), _) => {
                response.check_rejection(&self.log, plan, status, code);
            }
            (_, Action::Close) => {
                response.check_rejection(&self.log, plan, 502, "upstream_unavailable");
            }
            (_, Action::Silent) => {
                response.check_rejection(&self.log, plan, 504, "upstream_timeout")
            }
            _ => response.check(&self.log, plan),
        }
        Ok(())
    }

    async fn open_websocket(&self, plan: &Plan, messages: usize) -> Result<(), BoxError> {
        let (headers, are_echoed) = websocket::talk(self.proxy, plan, messages).await?;
        self.log
            .responded(plan, StatusCode::SWITCHING_PROTOCOLS.as_u16());
        check_headers(&self.log, plan, &headers);
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
        Ok(Response::read(response).await)
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

/// Gets one of the proxy's own pages.
pub(crate) async fn page(proxy: SocketAddr, path: &str) -> Result<(u16, Bytes), BoxError> {
    let response = timeout(RESPONSE_TIMEOUT, get(proxy, path)).await??;
    Ok((response.status().as_u16(), response.into_body()))
}
