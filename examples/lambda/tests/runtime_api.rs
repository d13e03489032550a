//! A small stand-in of the AWS Lambda runtime API on a real socket.
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use super::client::PATIENCE;

/// A runtime API that one function asks for events, until it is dropped.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Value>,
    outcomes: Mutex<mpsc::UnboundedReceiver<Outcome>>,
    task: JoinHandle<()>,
}

/// What the function made of an event.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether it is an error of the function, and not a response.
    pub(crate) is_error: bool,
    pub(crate) headers: HeaderMap,
    frames: mpsc::UnboundedReceiver<Bytes>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, events_out) = mpsc::unbounded_channel();
        let (outcomes_in, outcomes) = mpsc::unbounded_channel();
        let server = Arc::new(Server {
            events: Mutex::new(events_out),
            outcomes: outcomes_in,
            invocations: AtomicU64::new(0),
        });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&server);
                let service = service_fn(move |request| Arc::clone(&server).answer(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A function that ends is no concern of the script.
                tokio::spawn(async move { connection.await.ok() });
            }
        });
        Self {
            address,
            events,
            outcomes: outcomes.into(),
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Invokes the function with this event. Its response may still be coming.
    pub(crate) async fn invoke(&self, event: Value) -> Outcome {
        self.events.send(event).unwrap();
        let outcome = timeout(PATIENCE, async { self.outcomes.lock().await.recv().await }).await;
        outcome.expect("an outcome in time").unwrap()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outcome {
    /// The next piece of the body.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let frame = timeout(PATIENCE, self.frames.recv()).await;
        frame.expect("a frame or the end in time")
    }

    /// The rest of the body.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        while let Some(frame) = self.frame().await {
            rest.extend_from_slice(&frame);
        }
        String::from_utf8(rest).unwrap()
    }

    pub(crate) async fn json(self) -> Value {
        let text = self.rest().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

struct Server {
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    invocations: AtomicU64,
}

impl Server {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let Some(path) = path.strip_prefix("/2018-06-01/runtime/invocation/") else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        if path == "next" && request.method() == Method::GET {
            return Ok(self.next().await);
        }
        // Only the invocation under way can be answered.
        let id = id(self.invocations.load(Ordering::Relaxed));
        let is_error = match path.strip_prefix(&id) {
            Some("/response") => false,
            Some("/error") => true,
            _ => return Ok(empty(StatusCode::BAD_REQUEST)),
        };
        let (head, mut body) = request.into_parts();
        let (frames_in, frames) = mpsc::unbounded_channel();
        let outcome = Outcome {
            is_error,
            headers: head.headers,
            frames,
        };
        // The test may have ended.
        let _ = self.outcomes.send(outcome);
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                let _ = frames_in.send(data);
            }
        }
        Ok(empty(StatusCode::ACCEPTED))
    }

    /// The next event, for which the function waits.
    async fn next(&self) -> Response<Full<Bytes>> {
        let Some(event) = self.events.lock().await.recv().await else {
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let number = self.invocations.fetch_add(1, Ordering::Relaxed) + 1;
        let deadline = SystemTime::now() + Duration::from_secs(300);
        let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", id(number))
            .header(
                "Lambda-Runtime-Deadline-Ms",
                deadline.as_millis().to_string(),
            )
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:eu-west-1:123456789012:function:gateway",
            )
            .header(
                "Lambda-Runtime-Trace-Id",
                format!("Root=1-5759e988-{number:024x};Sampled=0"),
            )
            .body(Full::from(event.to_string()))
            .unwrap()
    }
}

fn id(number: u64) -> String {
    format!("8476a536-e9f4-11e8-9739-{number:012x}")
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
