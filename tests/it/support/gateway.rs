//! The layer around an inner service that remembers what it has seen.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};
use tower_model_routing::{
    BoxError, ModelRouting, ModelRoutingLayer, Rejection, RoutedBody, RoutingConfig,
    RoutingConfigBuilder,
};

use super::source::Source;

/// What the inner service got.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Parts,
    /// The body, or the error with which it ended.
    pub(crate) body: Result<Bytes, String>,
    pub(crate) trailers: Option<HeaderMap>,
    /// The exact length that the body claimed at first.
    pub(crate) claimed: Option<u64>,
}

impl Seen {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

/// What the client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The code of the layer's own answer, and `"ok"` for any other.
    pub(crate) fn code(&self) -> &'static str {
        let rejection = self.head.extensions.get::<Rejection>();
        rejection.map_or("ok", |rejection| rejection.code().as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

/// Reads the whole body, remembers the request, and answers 200 with the body,
/// or 502 when that has failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl<B> Service<Request<RoutedBody<B>>> for Recorder
where
    B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RoutedBody<B>>) -> Self::Future {
        let all = Arc::clone(&self.0);
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
            let mut response = Response::new(Full::from(body.clone().unwrap_or_default()));
            if body.is_err() {
                *response.status_mut() = StatusCode::BAD_GATEWAY;
            }
            all.lock().unwrap().push(Seen {
                head,
                body,
                trailers,
                claimed,
            });
            Ok(response)
        })
    }
}

/// A layer, the service that it made of a [`Recorder`], and that.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) layer: ModelRoutingLayer,
    pub(crate) source: Source,
    service: ModelRouting<Recorder>,
    recorder: Recorder,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        Self::with(|config| config)
    }

    pub(crate) fn with(
        configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
    ) -> Self {
        Self::of(Source::of_models(), configure)
    }

    pub(crate) fn of(
        source: Source,
        configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
    ) -> Self {
        let layer = layer(&source, configure);
        let recorder = Recorder::default();
        Self {
            service: layer.layer(recorder.clone()),
            layer,
            source,
            recorder,
        }
    }

    /// Sends a request; the answer, and what the inner service saw, if
    /// anything.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> (Answer, Option<Seen>)
    where
        B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static,
    {
        let response = self.service.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let seen = self.recorder.0.lock().unwrap().pop();
        (Answer { head, body }, seen)
    }

    /// Posts JSON; the rejection's code, or `"ok"`, and the body that the
    /// inner service read to its end.
    pub(crate) async fn post(
        &self,
        path: &str,
        json: impl Into<Bytes>,
    ) -> (&'static str, Option<String>) {
        let (answer, seen) = self
            .send(post(path, Full::<Bytes>::from(json.into())))
            .await;
        let body = seen.and_then(|seen| seen.body.ok());
        (
            answer.code(),
            body.map(|body| String::from_utf8_lossy(&body).into_owned()),
        )
    }
}

pub(crate) fn layer(
    source: &Source,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> ModelRoutingLayer {
    let builder = RoutingConfig::builder().source(source.clone());
    ModelRoutingLayer::new(configure(builder).build().unwrap())
}

/// A POST of JSON.
pub(crate) fn post<B>(path: &str, body: B) -> Request<B> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

pub(crate) const CHAT: &str = "/v1/chat/completions";
