//! The middleware around an inner service that records its requests, and a body with a script.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{self, Runtime};
use tower::{Layer, Service, ServiceExt};
use tower_model_routing::{
    BoxError, Endpoint, ModelRoutingLayer, Rejection, RoutedBody, RoutingConfig,
    RoutingConfigBuilder,
    registry::{FetchFuture, Fetched, RegistrySource, SourceError},
};

/// The path of an inference endpoint.
pub const CHAT: &str = "/v1/chat/completions";

/// One model of each type, and the default fallbacks.
pub const MODELS: &str = r#"{"models":[
    {"Id":"0xb603","Name":"venice-uncensored","ModelType":"LLM"},
    {"Id":"0x0a","Name":"mistral-31-24b","ModelType":"LLM"},
    {"Id":"0x0b","Name":"text-embedding-bge-m3","ModelType":"EMBEDDING"},
    {"Id":"0x0c","Name":"tts-kokoro","ModelType":"TTS"},
    {"Id":"0x0d","Name":"whisper-1","ModelType":"STT"},
    {"Id":"0x0e","Name":"mystery","ModelType":"UNKNOWN"},
    {"Id":"0x0f","Name":"untyped"},
    {"Id":"0x10","Name":"Picture Maker","ModelType":"IMAGE","enrichment":{"veniceId":"flux"}},
    {"Id":"0x000000000000000000000000000000000000000000000000000000000000abcd","Name":"m"}
]}"#;

/// The IDs of [`MODELS`].
pub const IDS: [&str; 9] = [
    "0xb603",
    "0x0a",
    "0x0b",
    "0x0c",
    "0x0d",
    "0x0e",
    "0x0f",
    "0x10",
    "0x000000000000000000000000000000000000000000000000000000000000abcd",
];

/// A runtime whose clock goes on where nothing else can.
pub fn paused_runtime() -> Runtime {
    runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// A registry source with one document, until it has an error. Clones share the error.
#[derive(Clone, Debug)]
pub struct Source {
    document: Bytes,
    etag: String,
    error: Arc<Mutex<Option<String>>>,
}

impl Source {
    pub fn new(document: impl Into<Bytes>, etag: &str) -> Self {
        Self {
            document: document.into(),
            etag: etag.into(),
            error: Arc::default(),
        }
    }

    /// Fails from now on.
    pub fn fail(&self, error: &str) {
        *self.error.lock().expect("no panics") = Some(error.into());
    }
}

impl RegistrySource for Source {
    fn fetch<'a>(&'a self, _: Option<&'a str>) -> FetchFuture<'a> {
        let fetched = match &*self.error.lock().expect("no panics") {
            Some(error) => Err(SourceError::new(error.clone())),
            None => Ok(Fetched::document(self.document.clone()).with_etag(&*self.etag)),
        };
        Box::pin(async { fetched })
    }

    fn location(&self) -> String {
        "a script".into()
    }
}

/// The layer, and the service that it makes of a [`Recorder`].
#[derive(Debug)]
pub struct Gateway {
    pub layer: ModelRoutingLayer,
    recorder: Recorder,
}

/// A response's head, and its whole body.
#[derive(Debug)]
pub struct Received {
    pub head: http::response::Parts,
    pub body: Bytes,
}

impl Gateway {
    pub fn new(
        source: Source,
        configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
    ) -> Self {
        let config = RoutingConfig::builder()
            .source(source)
            .fallback(Endpoint::Llm, "mistral-31-24b")
            .fallback(Endpoint::Embedding, "text-embedding-bge-m3")
            .fallback(Endpoint::Tts, "tts-kokoro")
            .fallback(Endpoint::Stt, "whisper-1");
        let config = configure(config);
        Self {
            layer: ModelRoutingLayer::new(config.build().expect("valid settings")),
            recorder: Recorder::default(),
        }
    }

    /// Sends a request; the response, and the request that the inner service received, if any.
    pub async fn send<B>(&self, request: Request<B>) -> (Received, Option<Seen>)
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let service = self.layer.layer(self.recorder.clone());
        let response = service.oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("infallible").to_bytes();
        let seen = self.recorder.0.lock().expect("no panics").take();
        (Received { head, body }, seen)
    }
}

impl Received {
    /// The code of the layer's own response, and `"ok"` for any other.
    pub fn code(&self) -> &'static str {
        let rejection = self.head.extensions.get::<Rejection>();
        rejection.map_or("ok", |rejection| rejection.code().as_str())
    }
}

/// A request that the inner service received.
#[derive(Debug)]
pub struct Seen {
    pub head: request::Parts,
    /// The whole body, or the error with which it ended.
    pub body: Result<Bytes, String>,
    pub trailers: Option<HeaderMap>,
    /// The exact length that the body's size hint claimed at first.
    pub claimed: Option<u64>,
}

/// Reads the whole body, records the request, and responds with the body; with 502 if it failed.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Option<Seen>>>);

impl<B> Service<Request<RoutedBody<B>>> for Recorder
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RoutedBody<B>>) -> Self::Future {
        let record = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let claimed = body.size_hint().exact();
            let mut trailers = None;
            let body = match body.collect().await {
                Ok(body) => {
                    trailers = body.trailers().cloned();
                    Ok(body.to_bytes())
                }
                Err(error) => Err(error.to_string()),
            };
            let status = match body {
                Ok(_) => StatusCode::OK,
                Err(_) => StatusCode::BAD_GATEWAY,
            };
            let response = Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .body(Full::from(body.clone().unwrap_or_default()))
                .expect("a response");
            *record.lock().expect("no panics") = Some(Seen {
                head,
                body,
                trailers,
                claimed,
            });
            Ok(response)
        })
    }
}

/// A step of a [`Script`].
#[derive(Debug)]
pub enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(&'static str),
    /// Returns `Pending` once, and wakes.
    Pending,
}

/// What a [`Script`] tells of its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hint {
    /// The exact length.
    Exact,
    /// A lower and an upper bound.
    Bounds,
    Unknown,
}

/// A body that follows a script.
#[derive(Debug)]
pub struct Script {
    pub steps: VecDeque<Step>,
    pub hint: Hint,
    /// Whether `is_end_stream` returns `true` at the end.
    pub knows_its_end: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Error(error)) => Some(Err(error.into())),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let lengths = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        let length = lengths.sum();
        let mut hint = SizeHint::new();
        match self.hint {
            Hint::Exact => hint.set_exact(length),
            Hint::Bounds => {
                hint.set_upper(length + 100);
                hint.set_lower(length / 2);
            }
            Hint::Unknown => {}
        }
        hint
    }
}
