//! What the layer can be put around and be fed with: most of it is shown by
//! compiling.

use axum::{Router, body::Body as AxumBody, routing};
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
    util::{BoxCloneSyncService, BoxService},
};
use tower_model_routing::{
    ModelRouting, ModelRoutingLayer, Registry, Rejection, ResponseBody, ResponseFuture, RoutedBody,
    RoutedModel,
};

use crate::support::{
    body::{BodyError, Script, data, pinned_halves},
    gateway::{CHAT, Gateway, layer, post},
    source::Source,
};

const REQUEST: &str = r#"{"model": "venice-uncensored", "n": 1e400}"#;
const ROUTED: &str = r#"{"model": "0xb603", "n": 1e400}"#;

fn routing_layer() -> ModelRoutingLayer {
    layer(&Source::of_models(), |config| config)
}

async fn echo<B>(request: Request<RoutedBody<B>>) -> Result<Response<RoutedBody<B>>, BoxError> {
    Ok(Response::new(request.into_body()))
}

/// As [`is_routed`], of a bare layer around an echo service.
async fn takes<B>(body: B) -> bool
where
    B: Body<Error: Into<BoxError>>,
{
    is_routed(routing_layer().layer(service_fn(echo)), body).await
}

/// Sends [`REQUEST`] through an echo service; true when it comes back routed.
async fn is_routed<S, B, R>(service: S, body: B) -> bool
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    let response = service.oneshot(post(CHAT, body)).await.map_err(Into::into);
    let body = response.unwrap().into_body().collect().await;
    body.map_err(Into::into).unwrap().to_bytes() == ROUTED
}

#[tokio::test]
async fn it_layers_an_axum_router_and_a_method_router() {
    async fn handler(request: axum::extract::Request) -> AxumBody {
        assert!(request.extensions().get::<RoutedModel>().is_some());
        request.into_body()
    }
    let outside = Router::new()
        .route(CHAT, routing::post(handler))
        .layer(routing_layer());
    assert!(is_routed(outside, AxumBody::from(REQUEST)).await);
    let on_one_route = Router::new().route(CHAT, routing::post(handler).layer(routing_layer()));
    assert!(is_routed(on_one_route, AxumBody::from(REQUEST)).await);
    let on_routes = Router::new()
        .route(CHAT, routing::post(handler))
        .route_layer(ServiceBuilder::new().layer(routing_layer()));
    assert!(is_routed(on_routes, AxumBody::from(REQUEST)).await);
    let with_state = Router::new()
        .fallback(async |axum::extract::State(()): axum::extract::State<()>, body: String| body)
        .layer(routing_layer())
        .with_state(());
    assert!(is_routed(with_state, AxumBody::from(REQUEST)).await);
}

#[tokio::test]
async fn it_layers_a_bare_service_and_boxed_ones() {
    assert!(takes(Full::<Bytes>::from(REQUEST)).await);
    let built = ServiceBuilder::new()
        .layer(routing_layer())
        .service_fn(echo);
    assert!(is_routed(BoxService::new(built.clone()), Full::<Bytes>::from(REQUEST)).await);
    assert!(
        is_routed(
            BoxCloneSyncService::new(built),
            Full::<Bytes>::from(REQUEST)
        )
        .await
    );
}

#[tokio::test]
async fn it_takes_bodies_of_every_kind() {
    let full = || Full::<Bytes>::from(REQUEST);
    assert!(takes(full()).await, "Full");
    assert!(takes(AxumBody::from(REQUEST)).await, "axum");
    assert!(takes(String::from(REQUEST)).await, "String");
    assert!(takes(BoxBody::new(full())).await, "BoxBody");
    assert!(takes(UnsyncBoxBody::new(full())).await, "UnsyncBoxBody");
    // Not Unpin, with data of two pieces and an error that is no Error.
    assert!(takes(pinned_halves(REQUEST)).await, "pinned, not Bytes");
    assert!(
        takes(pinned_halves(REQUEST).boxed_unsync()).await,
        "boxed, not Bytes"
    );
}

#[tokio::test]
async fn a_body_that_passes_untouched_may_be_of_every_kind_too() {
    let service = routing_layer().layer(service_fn(echo));
    let request = Request::put("/").body(pinned_halves("not JSON")).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "not JSON");
}

#[tokio::test]
async fn layers_can_be_stacked() {
    let service = ServiceBuilder::new()
        .layer(routing_layer())
        .layer(routing_layer())
        .service_fn(echo);
    // The second one reads an ID.
    assert!(is_routed(service, Full::<Bytes>::from(REQUEST)).await);
}

/// Serves the layer by hyper over a pipe, and speaks to it by hyper's client.
async fn over_hyper(is_http2: bool) -> (Option<String>, Bytes) {
    let (near, far) = tokio::io::duplex(1 << 16);
    async fn inner(
        request: Request<RoutedBody<Incoming>>,
    ) -> Result<Response<RoutedBody<Incoming>>, BoxError> {
        let length = request.headers().get("content-length").cloned();
        let mut response = Response::new(request.into_body());
        if let Some(length) = length {
            response.headers_mut().insert("x-length", length);
        }
        Ok(response)
    }
    let service = ServiceBuilder::new()
        .layer(routing_layer())
        .service_fn(inner);
    tokio::spawn(async move {
        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), TowerToHyperService::new(service))
            .await
    });
    let request = post(CHAT, Full::<Bytes>::from(REQUEST));
    let response = if is_http2 {
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
                .await
                .unwrap();
        tokio::spawn(connection);
        client.send_request(request).await.unwrap()
    } else {
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near))
            .await
            .unwrap();
        tokio::spawn(connection);
        client.send_request(request).await.unwrap()
    };
    let (head, body) = response.into_parts();
    let length = head.headers.get("x-length");
    let length = length.map(|length| length.to_str().unwrap().to_owned());
    (length, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn hyper_serves_it_over_http1_and_http2() {
    let length = Some(ROUTED.len().to_string());
    assert_eq!(over_hyper(false).await, (length.clone(), ROUTED.into()));
    assert_eq!(over_hyper(true).await, (length, ROUTED.into()));
}

#[test]
fn services_futures_and_bodies_are_send_and_the_shared_ones_sync() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    fn send<T: Send + std::fmt::Debug + 'static>(_: &T) {}
    fn error<T: std::error::Error + Send + Sync + Clone + 'static>() {}
    fn body<T: Body<Data = Bytes> + Send + Unpin + 'static>() {}

    let service = routing_layer().layer(service_fn(echo::<AxumBody>));
    shared(&routing_layer());
    shared(&service.clone());
    shared(&routing_layer().registry().clone());
    // The body is Send, but not Sync.
    let future = service.oneshot(post(CHAT, AxumBody::empty()));
    send(&future);
    let _: fn(Gateway) -> Registry = |gateway| gateway.layer.registry().clone();
    error::<Rejection>();
    body::<RoutedBody<AxumBody>>();
    body::<RoutedBody<Incoming>>();
    body::<ResponseBody<AxumBody>>();
}

#[test]
fn the_types_can_be_named() {
    type Inner = tower::util::BoxCloneService<
        Request<RoutedBody<AxumBody>>,
        Response<AxumBody>,
        std::io::Error,
    >;
    type Routed = ModelRouting<Inner>;
    fn same<T>(_: fn() -> T, _: fn() -> T) {}
    let _ = same::<ResponseFuture<Inner, AxumBody>>;
    let _: fn(<Routed as Service<Request<AxumBody>>>::Future) -> ResponseFuture<Inner, AxumBody> =
        |future| future;
    // The inner service's errors stay its own.
    let _: fn(<Routed as Service<Request<AxumBody>>>::Error) -> std::io::Error = |error| error;
}

#[tokio::test]
async fn the_inner_service_can_be_had_back() {
    let mut service = routing_layer().layer(7);
    *service.get_mut() += 1;
    assert_eq!((*service.get_ref(), service.into_inner()), (8, 8));
    assert!(ResponseBody::<Empty<Bytes>>::default().is_end_stream());
}

#[tokio::test]
async fn an_error_that_is_only_into_box_error_reaches_the_inner_service() {
    let service = routing_layer().layer(service_fn(echo));
    let script = Script::new([
        data(r#"{"model":"m""#),
        crate::support::body::Step::Error("x"),
    ]);
    let response = service.oneshot(post(CHAT, script)).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.to_string(), BodyError("x").0);
}
