//! The layer around an inner service that records its requests.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};
use tower_model_routing::{
    BoxError, Endpoint, ModelRouting, ModelRoutingLayer, Rejection, RoutedBody, RoutingConfig,
    RoutingConfigBuilder,
    registry::{Registry, RegistrySource},
};

use super::source::ScriptedSource;

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A request as the inner service received it.
#[derive(Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) head: Parts,
    /// The body, or the error with which it ended.
    pub(crate) body: Result<Bytes, String>,
    pub(crate) trailers: Option<HeaderMap>,
    /// The exact size hint before the first frame.
    pub(crate) exact_size: Option<u64>,
}

impl ReceivedRequest {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

/// A response as the client received it.
#[derive(Debug)]
pub(crate) struct ReceivedResponse {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
}

impl ReceivedResponse {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Returns the rejection's code, or `"ok"` for the inner service's response.
    pub(crate) fn code(&self) -> &'static str {
        let rejection = self.head.extensions.get::<Rejection>();
        rejection.map_or("ok", |rejection| rejection.code().as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

/// A service that reads and records the whole request, then echoes its body, or returns 502 if the
/// body failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<ReceivedRequest>>>);

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
        let requests = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let exact_size = body.size_hint().exact();
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
            requests.lock().unwrap().push(ReceivedRequest {
                head,
                body,
                trailers,
                exact_size,
            });
            Ok(response)
        })
    }
}

/// A layer around a [`Recorder`].
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) layer: ModelRoutingLayer,
    pub(crate) source: ScriptedSource,
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
        Self::with_source(ScriptedSource::with_models(), configure)
    }

    pub(crate) fn with_source(
        source: ScriptedSource,
        configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
    ) -> Self {
        let layer = layer(source.clone(), configure);
        let recorder = Recorder::default();
        Self {
            service: layer.layer(recorder.clone()),
            layer,
            source,
            recorder,
        }
    }

    /// Returns a gateway whose catalog has been fetched.
    pub(crate) async fn warm(
        configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
    ) -> Self {
        let gateway = Self::with(configure);
        gateway.layer.registry().refresh().await.unwrap();
        gateway
    }

    /// Sends a request. Returns the response, and the request that the inner service received, if
    /// it was called.
    pub(crate) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> (ReceivedResponse, Option<ReceivedRequest>)
    where
        B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static,
    {
        let response = self.service.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let received = self.recorder.0.lock().unwrap().pop();
        (ReceivedResponse { head, body }, received)
    }

    /// Posts JSON. Returns the rejection's code or `"ok"`, and the complete body that the inner
    /// service received.
    pub(crate) async fn post(
        &self,
        path: &str,
        json: impl Into<Bytes>,
    ) -> (&'static str, Option<String>) {
        let request = post(path, Full::<Bytes>::from(json.into()));
        let (response, received) = self.send(request).await;
        let body = received.and_then(|received| received.body.ok());
        (
            response.code(),
            body.map(|body| String::from_utf8_lossy(&body).into_owned()),
        )
    }
}

pub(crate) fn layer(
    source: impl RegistrySource,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> ModelRoutingLayer {
    ModelRoutingLayer::new(configure(builder(source)).build().unwrap())
}

/// Returns a builder with this source, and the fallbacks of [`MODELS`](super::source::MODELS).
pub(crate) fn builder(source: impl RegistrySource) -> RoutingConfigBuilder {
    RoutingConfig::builder()
        .source(source)
        .fallback(Endpoint::Llm, "mistral-31-24b")
        .fallback(Endpoint::Embedding, "text-embedding-bge-m3")
        .fallback(Endpoint::Tts, "tts-kokoro")
        .fallback(Endpoint::Stt, "whisper-1")
}

/// Returns a layer with default settings and [`MODELS`](super::source::MODELS).
pub(crate) fn default_layer() -> ModelRoutingLayer {
    layer(ScriptedSource::with_models(), |config| config)
}

/// Returns a [`default_layer`] whose catalog has been fetched.
pub(crate) async fn warm_layer() -> ModelRoutingLayer {
    let layer = default_layer();
    layer.registry().refresh().await.unwrap();
    layer
}

/// Returns a registry with default settings.
pub(crate) fn registry(source: impl RegistrySource) -> Registry {
    Registry::builder(source).build().unwrap()
}

/// Returns a registry with this fetch timeout.
pub(crate) fn registry_with_timeout(source: impl RegistrySource, timeout: Duration) -> Registry {
    let builder = Registry::builder(source).fetch_timeout(timeout);
    builder.build().unwrap()
}

/// Returns a POST of JSON.
pub(crate) fn post<B>(path: &str, body: B) -> Request<B> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

/// Returns a POST of a form with the boundary `b`.
pub(crate) fn post_form<B>(path: &str, body: B) -> Request<B> {
    Request::post(path)
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body)
        .unwrap()
}
