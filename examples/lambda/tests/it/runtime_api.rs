//! A mock of the AWS Lambda runtime API.
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    routing::{get, post},
};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::TIMEOUT;

/// The runtime API of one function, until it is dropped.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Value>,
    outcomes: Mutex<mpsc::UnboundedReceiver<Outcome>>,
    task: JoinHandle<()>,
}

/// The outcome of an invocation.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether the function failed.
    pub(crate) is_error: bool,
    pub(crate) headers: HeaderMap,
    frames: mpsc::UnboundedReceiver<Bytes>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, events_rx) = mpsc::unbounded_channel();
        let (outcomes_tx, outcomes) = mpsc::unbounded_channel();
        let server = Arc::new(Server {
            events: Mutex::new(events_rx),
            outcomes: outcomes_tx,
            invocations: AtomicU64::new(0),
        });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_event))
            .route("/2018-06-01/runtime/invocation/{id}/{result}", post(finish))
            .with_state(server);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
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

    /// Invokes the function. Returns as soon as its response begins.
    pub(crate) async fn invoke(&self, event: Value) -> Outcome {
        self.events.send(event).unwrap();
        let outcome = timeout(TIMEOUT, async { self.outcomes.lock().await.recv().await }).await;
        outcome.expect("no outcome").unwrap()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outcome {
    /// Returns the next frame of the body.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let frame = timeout(TIMEOUT, self.frames.recv()).await;
        frame.expect("neither a frame nor the end")
    }

    /// Returns the rest of the body.
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

/// Waits for an event and starts its invocation.
async fn next_event(State(server): State<Arc<Server>>) -> Response<Body> {
    let Some(event) = server.events.lock().await.recv().await else {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let number = server.invocations.fetch_add(1, Ordering::Relaxed) + 1;
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
        .body(Body::from(event.to_string()))
        .unwrap()
}

/// Takes the outcome of the current invocation.
async fn finish(
    State(server): State<Arc<Server>>,
    Path((request_id, result)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    let current = id(server.invocations.load(Ordering::Relaxed));
    let is_error = match result.as_str() {
        "response" => false,
        "error" => true,
        _ => return status(StatusCode::NOT_FOUND),
    };
    if request_id != current {
        return status(StatusCode::BAD_REQUEST);
    }
    let (head, mut body) = request.into_parts();
    let (frames_tx, frames) = mpsc::unbounded_channel();
    // The receivers are gone when the test has ended.
    let _ = server.outcomes.send(Outcome {
        is_error,
        headers: head.headers,
        frames,
    });
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            let _ = frames_tx.send(data);
        }
    }
    status(StatusCode::ACCEPTED)
}

fn id(number: u64) -> String {
    format!("8476a536-e9f4-11e8-9739-{number:012x}")
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
