//! The server behind the proxy, which checks all requests.

use std::{
    convert::Infallible,
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet, time::sleep};
use tower_model_routing::BoxError;

use crate::{
    checks::Check,
    plan::{Action, ID_HEADER, NAME_HEADER, NONCE, Plan, document, event},
    request_log::RequestLog,
    websocket,
};

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The requests that it has not responded to completely.
    in_flight: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    close: Arc<Notify>,
}

impl Upstream {
    pub(crate) async fn start(log: Arc<RequestLog>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let this = Self {
            address: listener.local_addr()?,
            in_flight: Arc::default(),
            connections: Arc::default(),
            close: Arc::default(),
        };
        let (in_flight, close) = (Arc::clone(&this.in_flight), Arc::clone(&this.close));
        let count = Arc::clone(&this.connections);
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    () = close.notified() => {
                        connections.abort_all();
                        continue;
                    }
                    // Removes those that have ended.
                    Some(_) = connections.join_next() => continue,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(_) => return,
                    },
                };
                let (log, in_flight) = (Arc::clone(&log), Arc::clone(&in_flight));
                let counted = Counted::new(&count);
                connections.spawn(async move {
                    let _counted = counted;
                    let service = service_fn(|request| {
                        let (log, counted) = (Arc::clone(&log), Counted::new(&in_flight));
                        async move { respond(&log, request, counted).await }
                    });
                    // The proxy may close the connection at any time.
                    let _ = stream.set_nodelay(true);
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        Ok(this)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Closes all connections.
    pub(crate) fn close(&self) {
        self.close.notify_one();
    }
}

/// Increments a counter until it is dropped.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn respond(
    log: &RequestLog,
    request: Request<Incoming>,
    counted: Counted,
) -> io::Result<Response<Body>> {
    let nonce = request.headers().get(NONCE);
    let nonce = nonce.and_then(|nonce| nonce.to_str().ok()?.parse().ok());
    let Some(plan) = nonce.and_then(|nonce| log.arrived(nonce)) else {
        return Ok(response(StatusCode::BAD_REQUEST, "text/plain", "unknown"));
    };
    if let Action::Echo(_) = plan.action {
        log.received(&plan, request.uri().to_string().as_bytes(), true);
        check_headers(log, &plan, request.headers());
        let accepted = websocket::accept(request, counted);
        return accepted.ok_or(io::Error::other("no handshake of a WebSocket"));
    }
    let (mut body, mut is_complete) = (Vec::new(), true);
    let (head, mut incoming) = request.into_parts();
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(_) => {
                is_complete = false;
                break;
            }
        }
    }
    log.received(&plan, &body, is_complete);
    drop(body);
    if !is_complete {
        return Err(io::Error::other("the request is incomplete"));
    }
    check_headers(log, &plan, &head.headers);
    let served = log.served(&plan);
    let id = served.map_or_else(String::new, |served| served.id());
    perform(&plan, id, counted).await
}

/// Checks the headers with the model that has arrived.
fn check_headers(log: &RequestLog, plan: &Plan, headers: &HeaderMap) {
    let served = log.served(plan);
    let expected = served.map(|served| (served.id(), served.name().to_owned()));
    let values = [ID_HEADER, NAME_HEADER].map(|name| {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|it| String::from_utf8_lossy(it.as_bytes()))
            .collect();
        values.join(", ")
    });
    let [id, name] = &values;
    let holds = expected.unwrap_or_default() == (id.clone(), name.clone());
    log.checks.check(Check::IdHeaders, holds, || {
        format!(
            "request {} ({}) got {values:?} for {served:?}",
            plan.nonce, plan.category
        )
    });
}

async fn perform(plan: &Plan, id: String, counted: Counted) -> io::Result<Response<Body>> {
    const JSON: &str = "application/json";

    let nonce = plan.nonce;
    match plan.action {
        Action::Respond(len) => Ok(response(StatusCode::OK, JSON, document(nonce, &id, len))),
        Action::Late(time) => {
            sleep(time).await;
            Ok(response(StatusCode::OK, JSON, document(nonce, &id, 0)))
        }
        Action::Fail => {
            let document = document(nonce, &id, 0);
            Ok(response(StatusCode::INTERNAL_SERVER_ERROR, JSON, document))
        }
        Action::Close => Err(io::Error::other("closed on purpose")),
        Action::Silent => pending().await,
        Action::Events(count, pause) => Ok(events(nonce, id, count, pause, false, counted)),
        Action::Abort => {
            let pause = Duration::from_millis(5);
            Ok(events(nonce, id, 8, pause, true, counted))
        }
        Action::Echo(_) => Err(io::Error::other("a WebSocket has no document")),
    }
}

fn events(
    nonce: u64,
    id: String,
    count: usize,
    pause: Duration,
    aborts: bool,
    counted: Counted,
) -> Response<Body> {
    let next = move |index: usize, id: String, counted: Counted| async move {
        if index == count {
            return None;
        }
        if index > 0 && !pause.is_zero() {
            sleep(pause).await;
        }
        let frame = if aborts && index == count / 2 {
            Err("aborted on purpose".into())
        } else {
            let event = event(nonce, &id, index, count);
            Ok::<_, BoxError>(Frame::data(Bytes::from(event)))
        };
        Some((frame, (index + 1, id, counted)))
    };
    let frames = stream::unfold((0, id, counted), move |(index, id, counted)| {
        next(index, id, counted)
    });
    let body = StreamBody::new(frames).boxed_unsync();
    head(StatusCode::OK, "text/event-stream", body)
}

fn response(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {});
    head(status, content_type, body.boxed_unsync())
}

fn head(status: StatusCode, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Ok(content_type) = content_type.parse() {
        response.headers_mut().insert("content-type", content_type);
    }
    response
}
