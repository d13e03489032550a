//! The contract of `tower::Service`: errors, cancellation, and other layers around.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    retry::{Policy, RetryLayer},
    service_fn,
    util::BoxCloneService,
};
use tower_model_routing::{ModelRoutingLayer, RoutedBody};

use crate::support::{
    body::{ScriptedBody, channel},
    gateway::{CHAT, default_layer, layer, post, warm_layer},
    source::ScriptedSource,
};

const NAMED: &str = r#"{"model":"venice-uncensored"}"#;

/// A service that panics unless the clone that is called was polled ready.
#[derive(Debug, Default)]
struct Strict {
    is_ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(self.is_ready, "called without being ready");
        self.is_ready = false;
        ready(Ok(Response::new(request.into_body())))
    }
}

async fn call<S, B>(service: &mut S, request: Request<B>) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    service.ready().await?.call(request).await
}

/// Returns a request of each kind that the layer handles.
fn requests() -> [Request<Full<Bytes>>; 6] {
    let text = Request::post(CHAT).header("content-type", "text/plain");
    [
        post(CHAT, Full::from(NAMED)),
        post(CHAT, Full::from("{}")),
        post("/v1/other", Full::from("{}")),
        Request::get("/").body(Full::default()).unwrap(),
        post(CHAT, Full::from("not JSON")),
        text.body(Full::default()).unwrap(),
    ]
}

#[tokio::test]
async fn calls_the_clone_that_was_polled_ready() {
    let mut service = warm_layer().await.layer(Strict::default());
    for request in requests().into_iter().chain(requests()) {
        call(&mut service, request).await.unwrap();
    }
    let requests = futures_util::stream::iter(requests());
    let responses: Vec<_> = futures_util::StreamExt::collect(service.call_all(requests)).await;
    assert!(responses.iter().all(Result::is_ok));
}

#[tokio::test]
async fn inner_errors_keep_their_type() {
    let inner = service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
        Err::<Response<String>, _>(io::Error::other("failed"))
    });
    let service = warm_layer().await.layer(inner);
    for (index, request) in requests().into_iter().enumerate() {
        let result: Result<_, io::Error> = service.clone().oneshot(request).await;
        match index {
            0..4 => assert_eq!(result.unwrap_err().to_string(), "failed"),
            // Rejections do not call the inner service.
            _ => assert!(result.unwrap().status().is_client_error()),
        }
    }
}

type Stack = BoxCloneService<Request<ScriptedBody>, StatusCode, BoxError>;

/// Reads the whole body, then waits.
async fn slow_inner(
    request: Request<RoutedBody<ScriptedBody>>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let body = request.into_body().collect().await?.to_bytes();
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(300)).await;
    Ok(Response::new(Full::from(body)))
}

/// Returns the layer with a limit of one request and a buffer, on either side of it.
fn stacks(layer: &ModelRoutingLayer) -> [(&'static str, Stack); 4] {
    let status = |response: Response<_>| response.status();
    let limit = || ConcurrencyLimitLayer::new(1);
    [
        (
            "limit outside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .map_err(BoxError::from)
                .layer(limit())
                .layer(layer.clone())
                .service_fn(slow_inner),
        ),
        (
            "limit inside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .layer(layer.clone())
                .layer(GlobalConcurrencyLimitLayer::new(1))
                .service_fn(slow_inner),
        ),
        (
            "buffer inside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .layer(layer.clone())
                .layer(BufferLayer::<Request<RoutedBody<ScriptedBody>>>::new(1))
                .layer(limit())
                .service_fn(slow_inner),
        ),
        (
            "buffer outside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .layer(BufferLayer::<Request<ScriptedBody>>::new(1))
                .layer(limit())
                .layer(layer.clone())
                .service_fn(slow_inner),
        ),
    ]
}

/// Returns a request in small frames, for a model that needs a refresh.
fn framed_request() -> Request<ScriptedBody> {
    let frames = [
        r#"{"a":1,"mo"#,
        r#"del":"br"#,
        r#"and-new","b":[1,"#,
        r#"2],"c":"#,
        "3}",
    ];
    post(CHAT, ScriptedBody::pending_between(&frames))
}

#[tokio::test(start_paused = true)]
async fn serves_inside_and_outside_of_limits_and_buffers() {
    let layer = default_layer();
    for (name, mut service) in stacks(&layer) {
        for _ in 0..5 {
            let call = service.ready().await.unwrap().call(framed_request());
            assert_eq!(call.await.unwrap(), 200, "{name}");
        }
        let calls = (0..20).map(|_| service.clone().oneshot(framed_request()));
        for status in join_all(calls).await {
            assert_eq!(status.unwrap(), 200, "{name}");
        }
    }
    assert_eq!(layer.held_bytes(), 0);
}

/// Polls the call up to `polls` times, with time between the polls. Returns whether it ended.
async fn poll_times(
    call: impl Future<Output = Result<StatusCode, BoxError>>,
    polls: usize,
) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let poll = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(status) = poll {
            assert_eq!(status.unwrap(), 200);
            return true;
        }
        sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test(start_paused = true)]
async fn cancellation_at_every_await_releases_everything() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for stack in 0..4 {
        let mut ended = false;
        for polls in 0..100 {
            // Without a catalog, and with a model that is not in it: the call waits for the
            // registry twice.
            let source = ScriptedSource::with_models();
            source.set_delay(Duration::from_millis(250));
            let layer = layer(source, |config| config.miss_refresh(Duration::ZERO));
            let (name, mut service) = stacks(&layer).into_iter().nth(stack).unwrap();
            let request = framed_request();
            let alive = request.body().alive();
            let call = service.ready().await.unwrap().call(request);
            ended = poll_times(call, polls).await;
            // A buffer drops a cancelled request when it reaches it.
            if name.starts_with("buffer") {
                sleep(Duration::from_secs(5)).await;
            }
            assert!(alive.upgrade().is_none(), "{name}, {polls}: the body");
            assert_eq!(layer.held_bytes(), 0, "{name}, {polls}");
            let next = service.ready().await.unwrap().call(framed_request());
            let next = timeout(Duration::from_secs(60), next).await;
            let status = next.expect("the permit was not released").unwrap();
            assert_eq!(status, 200, "{name}, {polls}");
            drop((service, layer));
            sleep(Duration::from_secs(5)).await;
            assert_eq!(tasks(), before, "{name}, {polls}: a task is left");
            if ended {
                break;
            }
        }
        assert!(ended);
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_and_load_shed_outside() {
    let service = ServiceBuilder::new()
        .load_shed()
        .timeout(Duration::from_secs(5))
        .concurrency_limit(1)
        .layer(warm_layer().await)
        .service(Strict::default());
    let (sender, body) = channel();
    let slow = tokio::spawn(service.clone().oneshot(post(CHAT, body)));
    tokio::task::yield_now().await;
    let (_sender, body) = channel();
    let shed = service.clone().oneshot(post(CHAT, body)).await;
    let error = shed.unwrap_err();
    assert!(error.is::<tower::load_shed::error::Overloaded>());
    let error = slow.await.unwrap().unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert!(sender.is_closed(), "the client's body was not dropped");
}

#[tokio::test(start_paused = true)]
async fn retry_outside() {
    #[derive(Clone)]
    struct RetryOn503;

    impl<B: Clone, R> Policy<Request<B>, Response<R>, BoxError> for RetryOn503 {
        type Future = Ready<()>;

        fn retry(
            &mut self,
            _: &mut Request<B>,
            result: &mut Result<Response<R>, BoxError>,
        ) -> Option<Ready<()>> {
            let status = result.as_ref().ok()?.status();
            (status == 503).then(|| ready(()))
        }

        fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
            Some(request.clone())
        }
    }

    let received = Arc::new(Mutex::new(Vec::new()));
    let bodies = Arc::clone(&received);
    let routing = default_layer().layer(service_fn(
        move |request: Request<RoutedBody<Full<Bytes>>>| {
            let bodies = Arc::clone(&bodies);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let mut bodies = bodies.lock().unwrap();
                bodies.push(body);
                let mut response = Response::new(Full::<Bytes>::default());
                if bodies.len() == 1 {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                Ok::<_, BoxError>(response)
            }
        },
    ));
    let service = RetryLayer::new(RetryOn503).layer(routing);
    let request = post(CHAT, Full::<Bytes>::from(r#"{"model":"flux"}"#));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(*received.lock().unwrap(), [r#"{"model":"0x10"}"#; 2]);
}
