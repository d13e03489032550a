//! The server behind the proxy, which looks at all that comes.

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
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet, time::sleep};
use tower_model_routing::BoxError;

use crate::{
    ledger::Ledger,
    plan::{Act, NONCE, Plan, document, event},
};

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The requests that have come and not gone.
    under_way: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    close: Arc<Notify>,
}

impl Upstream {
    pub(crate) async fn start(ledger: Arc<Ledger>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let this = Self {
            address: listener.local_addr()?,
            under_way: Arc::default(),
            connections: Arc::default(),
            close: Arc::default(),
        };
        let (under_way, close) = (Arc::clone(&this.under_way), Arc::clone(&this.close));
        let count = Arc::clone(&this.connections);
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    () = close.notified() => {
                        connections.abort_all();
                        continue;
                    }
                    // So that they don't pile up.
                    Some(_) = connections.join_next() => continue,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(_) => return,
                    },
                };
                let (ledger, under_way) = (Arc::clone(&ledger), Arc::clone(&under_way));
                let counted = Counted::new(&count);
                connections.spawn(async move {
                    let _counted = counted;
                    let service = service_fn(|request| {
                        let (ledger, counted) = (Arc::clone(&ledger), Counted::new(&under_way));
                        async move { answer(&ledger, request, counted).await }
                    });
                    // A proxy that goes away is no concern here.
                    let _ = stream.set_nodelay(true);
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(this)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Closes all connections there are.
    pub(crate) fn close(&self) {
        self.close.notify_one();
    }
}

/// One more, until it is dropped.
struct Counted(Arc<AtomicUsize>);

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

async fn answer(
    ledger: &Ledger,
    request: Request<Incoming>,
    counted: Counted,
) -> io::Result<Response<Body>> {
    let nonce = request.headers().get(NONCE);
    let nonce = nonce.and_then(|nonce| nonce.to_str().ok()?.parse().ok());
    let Some(plan) = nonce.and_then(|nonce| ledger.arrived(nonce)) else {
        return Ok(respond(StatusCode::BAD_REQUEST, "text/plain", "nobody's"));
    };
    let (mut body, mut is_whole) = (Vec::new(), true);
    let mut incoming = request.into_body();
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    ledger.received(&plan, &body, is_whole);
    drop(body);
    if !is_whole {
        return Err(io::Error::other("the request broke off"));
    }
    let served = ledger.served(&plan);
    let id = served.map_or_else(String::new, |served| served.id());
    act(&plan, id, counted).await
}

async fn act(plan: &Plan, id: String, counted: Counted) -> io::Result<Response<Body>> {
    const JSON: &str = "application/json";

    let nonce = plan.nonce;
    match plan.act {
        Act::Answer(len) => {
            let answer = document(nonce, &id, len);
            Ok(respond(StatusCode::OK, JSON, answer))
        }
        Act::Late(time) => {
            sleep(time).await;
            Ok(respond(StatusCode::OK, JSON, document(nonce, &id, 0)))
        }
        Act::Fail => {
            let answer = document(nonce, &id, 0);
            Ok(respond(StatusCode::INTERNAL_SERVER_ERROR, JSON, answer))
        }
        Act::Close => Err(io::Error::other("told to close")),
        Act::Silent => pending().await,
        Act::Events(count, pause) => Ok(events(nonce, id, count, pause, false, counted)),
        Act::BreakOff => {
            let pause = Duration::from_millis(5);
            Ok(events(nonce, id, 8, pause, true, counted))
        }
    }
}

fn events(
    nonce: u64,
    id: String,
    count: usize,
    pause: Duration,
    breaks_off: bool,
    counted: Counted,
) -> Response<Body> {
    let next = move |index: usize, id: String, counted: Counted| async move {
        if index == count {
            return None;
        }
        if index > 0 && !pause.is_zero() {
            sleep(pause).await;
        }
        let frame = if breaks_off && index == count / 2 {
            Err("told to break off".into())
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

fn respond(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
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
