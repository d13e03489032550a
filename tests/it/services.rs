//! The services and bodies that the layer composes with; much of it is checked by compilation.

use axum::{Router, body::Body as AxumBody, extract::State, routing};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{
    BodyExt, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn,
    util::{BoxCloneService, BoxCloneSyncService, BoxService},
};
use tower_model_routing::{
    ModelRouting, Rejection, ResponseBody, ResponseFuture, RoutedBody, RoutedModel,
};

use crate::support::{
    body::pinned_halves,
    gateway::{CHAT, default_layer, post},
};

const REQUEST: &str = r#"{"model": "venice-uncensored", "n": 1e400}"#;
const ROUTED: &str = r#"{"model": "0xb603", "n": 1e400}"#;

async fn echo<B>(request: Request<RoutedBody<B>>) -> Result<Response<RoutedBody<B>>, BoxError> {
    Ok(Response::new(request.into_body()))
}

/// Sends [`REQUEST`] through a layer around [`echo`].
async fn accepts<B>(body: B) -> bool
where
    B: Body<Error: Into<BoxError>>,
{
    is_routed(default_layer().layer(service_fn(echo)), body).await
}

/// Sends [`REQUEST`] through a service that echoes it. Returns whether it was routed.
async fn is_routed<S, B, R>(service: S, body: B) -> bool
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Error: Into<BoxError>>,
{
    let response = service.oneshot(post(CHAT, body)).await.map_err(Into::into);
    let body = response.unwrap().into_body().collect().await;
    body.map_err(Into::into).unwrap().to_bytes() == ROUTED
}

#[tokio::test]
async fn layers_axum_routers_and_method_routers() {
    async fn handler(request: axum::extract::Request) -> AxumBody {
        assert!(request.extensions().get::<RoutedModel>().is_some());
        request.into_body()
    }
    let layer = default_layer;
    let on_router = Router::new()
        .route(CHAT, routing::post(handler))
        .layer(layer());
    let on_method = Router::new().route(CHAT, routing::post(handler).layer(layer()));
    let on_routes = Router::new()
        .route(CHAT, routing::post(handler))
        .route_layer(ServiceBuilder::new().layer(layer()));
    let with_state = Router::new()
        .fallback(async |State(()): State<()>, body: String| body)
        .layer(layer())
        .with_state(());
    for router in [on_router, on_method, on_routes, with_state] {
        assert!(is_routed(router, AxumBody::from(REQUEST)).await);
    }
}

#[tokio::test]
async fn layers_boxed_and_layered_services() {
    let service = ServiceBuilder::new()
        .layer(default_layer())
        .service_fn(echo);
    let body = || Full::<Bytes>::from(REQUEST);
    assert!(is_routed(BoxService::new(service.clone()), body()).await);
    assert!(is_routed(BoxCloneSyncService::new(service), body()).await);
    let twice = ServiceBuilder::new()
        .layer(default_layer())
        .layer(default_layer())
        .service_fn(echo);
    assert!(is_routed(twice, body()).await);
}

#[tokio::test]
async fn accepts_any_body() {
    let full = || Full::<Bytes>::from(REQUEST);
    assert!(accepts(full()).await, "Full");
    assert!(accepts(AxumBody::from(REQUEST)).await, "axum");
    assert!(accepts(String::from(REQUEST)).await, "String");
    assert!(accepts(BoxBody::new(full())).await, "BoxBody");
    assert!(accepts(UnsyncBoxBody::new(full())).await, "UnsyncBoxBody");
    assert!(accepts(pinned_halves(REQUEST)).await, "!Unpin");
    let boxed = pinned_halves(REQUEST).boxed_unsync();
    assert!(accepts(boxed).await, "boxed, not Bytes");

    let service = default_layer().layer(service_fn(echo));
    let request = Request::put("/").body(pinned_halves("not JSON")).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "not JSON", "not inspected");
}

#[tokio::test]
async fn hyper_serves_http1_and_http2() {
    async fn inner(
        request: Request<RoutedBody<Incoming>>,
    ) -> Result<Response<RoutedBody<Incoming>>, BoxError> {
        let length = request.headers()["content-length"].clone();
        let response = Response::builder().header("x-length", length);
        Ok(response.body(request.into_body())?)
    }
    for is_http2 in [false, true] {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (client, server) = (TokioIo::new(client), TokioIo::new(server));
        let service = ServiceBuilder::new()
            .layer(default_layer())
            .service_fn(inner);
        let service = TowerToHyperService::new(service);
        let executor = TokioExecutor::new();
        let request = post(CHAT, Full::<Bytes>::from(REQUEST));
        let response = if is_http2 {
            use hyper::{client::conn::http2::handshake, server::conn::http2::Builder};
            tokio::spawn(Builder::new(executor.clone()).serve_connection(server, service));
            let (mut client, connection) = handshake(executor, client).await.unwrap();
            tokio::spawn(connection);
            client.send_request(request).await
        } else {
            use hyper::{client::conn::http1::handshake, server::conn::http1::Builder};
            tokio::spawn(Builder::new().serve_connection(server, service));
            let (mut client, connection) = handshake(client).await.unwrap();
            tokio::spawn(connection);
            client.send_request(request).await
        };
        let (head, body) = response.unwrap().into_parts();
        assert_eq!(head.headers["x-length"], ROUTED.len().to_string());
        assert_eq!(body.collect().await.unwrap().to_bytes(), ROUTED);
    }
}

#[test]
fn types_are_send_and_shared_types_sync() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    fn send<T: Send + std::fmt::Debug + 'static>(_: &T) {}
    fn error<T: std::error::Error + Send + Sync + Clone + 'static>() {}
    fn body<T: Body<Data = Bytes> + Send + Unpin + 'static>() {}

    let layer = default_layer();
    let service = layer.layer(service_fn(echo::<AxumBody>));
    shared(&layer);
    shared(&service.clone());
    shared(layer.registry());
    // axum's body is not Sync.
    send(&service.oneshot(post(CHAT, AxumBody::empty())));
    error::<Rejection>();
    body::<RoutedBody<AxumBody>>();
    body::<RoutedBody<Incoming>>();
    body::<ResponseBody<AxumBody>>();
}

#[test]
fn types_can_be_named() {
    type Inner = BoxCloneService<Request<RoutedBody<AxumBody>>, Response<AxumBody>, std::io::Error>;
    type Routed = ModelRouting<Inner>;
    let _: fn(<Routed as Service<Request<AxumBody>>>::Future) -> ResponseFuture<Inner, AxumBody> =
        |future| future;
    // The inner service's error type.
    let _: fn(<Routed as Service<Request<AxumBody>>>::Error) -> std::io::Error = |error| error;
}

#[test]
fn returns_the_inner_service() {
    let mut service = default_layer().layer(7);
    *service.get_mut() += 1;
    assert_eq!((*service.get_ref(), service.into_inner()), (8, 8));
    assert!(ResponseBody::<Empty<Bytes>>::default().is_end_stream());
}
