//! Stacks of `tower-http`'s layers outside and inside of this one; mostly checked by compilation.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, extract::Request, middleware, response::IntoResponse, routing};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    decompression::{DecompressionLayer, RequestDecompressionLayer},
    limit::RequestBodyLimitLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer, TimeoutLayer},
    trace::TraceLayer,
};
use tower_model_routing::{ModelRoutingLayer, RoutedBody, RoutedModel};

use crate::support::gateway::{CHAT, default_layer, post};

const NAMED: &str = r#"{"model":"venice-uncensored"}"#;
const ROUTED: &str = r#"{"model":"0xb603"}"#;

const TIME: Duration = Duration::from_secs(5);
const LIMIT: usize = 1 << 20;

/// Echoes the body of a routed request.
async fn echo(request: Request) -> Body {
    assert!(request.extensions().get::<RoutedModel>().is_some());
    request.into_body()
}

fn router() -> Router {
    Router::new().route(CHAT, routing::post(echo))
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIME)
}

/// Panics unless the app routes a request, and rejects another.
async fn check(name: &str, app: Router) {
    for (sent, status, expected) in [
        (NAMED, StatusCode::OK, ROUTED),
        ("[]", StatusCode::BAD_REQUEST, "invalid_json"),
    ] {
        let response = app.clone().oneshot(post(CHAT, Body::from(sent))).await;
        let response = response.unwrap();
        assert_eq!(response.status(), status, "{name}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains(expected), "{name}: {body}");
    }
}

/// Applies each layer to a router outside and inside of the model routing layer, in one
/// `ServiceBuilder` and by two calls of `Router::layer`.
macro_rules! check_layers {
    ($($layer:expr),* $(,)?) => {$({
        let name = stringify!($layer);
        let outside = ServiceBuilder::new().layer($layer).layer(default_layer());
        check(name, router().layer(outside)).await;
        let inside = ServiceBuilder::new().layer(default_layer()).layer($layer);
        check(name, router().layer(inside)).await;
        check(name, router().layer(default_layer()).layer($layer)).await;
        check(name, router().layer($layer).layer(default_layer())).await;
    })*};
}

#[tokio::test]
async fn each_layer_works_on_both_sides() {
    check_layers!(
        CatchPanicLayer::new(),
        CompressionLayer::new(),
        CorsLayer::permissive(),
        DecompressionLayer::new(),
        PropagateRequestIdLayer::x_request_id(),
        RequestBodyLimitLayer::new(LIMIT),
        RequestBodyTimeoutLayer::new(TIME),
        RequestDecompressionLayer::new(),
        ResponseBodyTimeoutLayer::new(TIME),
        SetRequestIdLayer::x_request_id(MakeRequestUuid),
        timeout(),
        TraceLayer::new_for_http(),
    );
}

#[tokio::test]
async fn all_layers_work_in_one_service_builder() {
    let stack = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(timeout())
        .layer(RequestBodyLimitLayer::new(LIMIT))
        .layer(default_layer());
    check("outside", router().layer(stack)).await;
    let stack = ServiceBuilder::new()
        .layer(default_layer())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(timeout())
        .layer(RequestBodyLimitLayer::new(LIMIT));
    check("inside", router().layer(stack)).await;
}

/// `from_fn` takes requests with axum's body only, so it needs a call of `Router::layer` of its
/// own, or a `map_request` before it.
#[tokio::test]
async fn from_fn_works_on_both_sides() {
    async fn pass(request: Request, next: middleware::Next) -> impl IntoResponse {
        next.run(request).await
    }
    let from_fn = || middleware::from_fn(pass);
    check("outside", router().layer(default_layer()).layer(from_fn())).await;
    check("inside", router().layer(from_fn()).layer(default_layer())).await;
    let stack = ServiceBuilder::new()
        .layer(from_fn())
        .layer(default_layer());
    check("outside, one builder", router().layer(stack)).await;
    let stack = ServiceBuilder::new()
        .layer(default_layer())
        .map_request(|request: http::Request<RoutedBody<Body>>| request.map(Body::new))
        .layer(from_fn());
    check("inside, one builder", router().layer(stack)).await;
}

#[test]
fn satisfies_the_bounds_of_axum() {
    fn layer<L, S>(_: &L)
    where
        L: Layer<S> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Response: IntoResponse, Error: Into<Infallible>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
    }
    fn body<B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static>() {}

    layer::<ModelRoutingLayer, axum::routing::Route>(&default_layer());
    body::<RoutedBody<Body>>();
    body::<tower_model_routing::ResponseBody<Body>>();
}

/// A body that has no default.
#[derive(Debug)]
struct NoDefault(Body);

impl http_body::Body for NoDefault {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test]
async fn response_body_needs_no_default_of_the_inner_one() {
    let service = ServiceBuilder::new()
        .layer(CorsLayer::permissive())
        .layer(timeout())
        .layer(default_layer())
        .service(service_fn(
            async |request: http::Request<RoutedBody<Body>>| {
                let body = NoDefault(Body::new(request.into_body()));
                Ok::<_, Infallible>(Response::new(body))
            },
        ));
    let response = service
        .oneshot(post(CHAT, Body::from(NAMED)))
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, ROUTED);
    let empty = tower_model_routing::ResponseBody::<NoDefault>::default();
    assert!(http_body::Body::is_end_stream(&empty));
}
