//! The server behind the proxies. It sends each response in the writes that the scenario asks for.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use benches::{http::serve, openai};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep_until};
use tower_model_routing::BoxError;

use crate::{
    streams::write_at,
    workload::{Pace, Workload},
};

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    started: Instant,
    current: Mutex<Option<Arc<Current>>>,
    /// The last request, where requests are kept.
    received: Mutex<Option<Received>>,
}

/// The current response.
struct Current {
    workload: Arc<Workload>,
    keeps_requests: bool,
    /// The events that the client has received.
    events: Semaphore,
}

/// A request that was kept.
pub(crate) struct Received {
    pub(crate) has_content_length: bool,
    pub(crate) body: Bytes,
}

type ResponseBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>;

impl Upstream {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            started: Instant::now(),
            current: Mutex::default(),
            received: Mutex::default(),
        });
        let this = Self {
            address,
            state: Arc::clone(&state),
        };
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { state.respond(request).await }
        });
        let mut builder = http1::Builder::new();
        // Vectored writes would be several for a burst of events.
        builder.writev(false).auto_date_header(false);
        tokio::spawn(serve(listener, builder, service));
        Ok(this)
    }

    /// Responds with this from now on. Responses that wait for a client fail.
    pub(crate) fn set(&self, workload: Arc<Workload>, keeps_requests: bool) {
        let current = Arc::new(Current {
            workload,
            keeps_requests,
            events: Semaphore::new(0),
        });
        if let Some(former) = lock(&self.state.current).replace(current) {
            former.events.close();
        }
    }

    /// Records that the client has received this data.
    pub(crate) fn received(&self, data: &[u8]) {
        let events = data.windows(2).filter(|it| it == b"\n\n").count();
        if let Some(current) = &*lock(&self.state.current) {
            current.events.add_permits(events);
        }
    }

    /// Returns the time that paced events have in them if they are written now.
    pub(crate) fn clock(&self) -> Duration {
        self.state.started.elapsed()
    }

    /// Takes the last complete request.
    pub(crate) fn take(&self) -> Option<Received> {
        lock(&self.state.received).take()
    }
}

impl State {
    async fn respond(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, BoxError> {
        if request.uri().path() == "/models" {
            return Ok(Response::new(Either::Left(Full::from(openai::catalog()))));
        }
        let current = lock(&self.current).clone();
        let current = current.ok_or("nothing to respond with")?;
        let has_content_length = request.headers().contains_key(CONTENT_LENGTH);
        let mut body = request.into_body();
        if current.keeps_requests {
            let body = body.collect().await?.to_bytes();
            *lock(&self.received) = Some(Received {
                has_content_length,
                body,
            });
        } else {
            while let Some(frame) = body.frame().await {
                frame?;
            }
        }
        let workload = Arc::clone(&current.workload);
        let response = Response::builder()
            .header("content-type", workload.content_type)
            .header("x-request-id", "req_0123456789abcdef");
        Ok(response.body(match workload.has_length {
            true => Either::Left(Full::from(workload.frames[0].clone())),
            false => Either::Right(StreamBody::new(current.frames(self.started)).boxed_unsync()),
        })?)
    }
}

impl Current {
    fn frames(
        self: Arc<Self>,
        clock: Instant,
    ) -> impl stream::Stream<Item = Result<Frame<Bytes>, BoxError>> {
        let first = tokio::time::Instant::now();
        let count = self.workload.frames.len();
        stream::iter(0..=count).filter_map(move |index| {
            let this = Arc::clone(&self);
            async move {
                if this.workload.pace == Pace::OneByOne && index > 0 {
                    match this.events.acquire().await {
                        Ok(permit) => permit.forget(),
                        Err(closed) => return Some(Err(closed.into())),
                    }
                }
                let mut data = this.workload.frames.get(index).cloned()?;
                if let Pace::Every(pause) = this.workload.pace {
                    sleep_until(first + pause * index as u32).await;
                    data = write_at(&data, clock.elapsed()).into();
                }
                Some(Ok(Frame::data(data)))
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
