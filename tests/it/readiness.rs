//! The Tower contract: readiness, errors and who holds what.

use std::{
    convert::Infallible,
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Ready, ready};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, buffer::BufferLayer, limit::ConcurrencyLimitLayer,
    service_fn,
};
use tower_model_routing::{ModelRoutingLayer, RoutedBody};
use tower_test::mock;

use crate::support::{
    body::{Fed, Script, Step, data, fed},
    gateway::{CHAT, layer, post},
    source::{Answer, Source},
};

const NAMED: &str = r#"{"model":"venice-uncensored"}"#;

/// A layer that has its list.
async fn warm_layer() -> ModelRoutingLayer {
    let layer = layer(&Source::of_models(), |config| config);
    layer.registry().refresh().await.unwrap();
    layer
}

async fn call<S, B>(service: &mut S, request: Request<B>) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    service.ready().await?.call(request).await
}

/// A service that must be polled ready before each call, on the very clone
/// that is called.
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

#[tokio::test]
async fn the_clone_that_was_polled_ready_is_the_one_that_is_called() {
    let mut service = warm_layer().await.layer(Strict::default());
    for request in [
        post(CHAT, Full::<Bytes>::from(NAMED)),
        post(CHAT, Full::from("{}")),
        post("/v1/other", Full::from("{}")),
        post(CHAT, Full::from("not JSON")),
        Request::get("/").body(Full::from("")).unwrap(),
        Request::post(CHAT)
            .header("content-type", "text/plain")
            .body(Full::from(""))
            .unwrap(),
        post(CHAT, Full::from(NAMED)),
    ] {
        call(&mut service, request).await.unwrap();
    }
    let requests = futures_util::stream::iter(vec![post(CHAT, Full::<Bytes>::from(NAMED)); 3]);
    let answers: Vec<_> = futures_util::StreamExt::collect(service.call_all(requests)).await;
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn it_is_ready_when_the_inner_service_is() {
    let (service, mut handle) = mock::pair::<Request<RoutedBody<Full<Bytes>>>, Response<String>>();
    handle.allow(0);
    let mut service = mock::Spawn::new(warm_layer().await.layer(service));
    assert_pending!(service.poll_ready::<Request<Full<Bytes>>>());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());

    let answer = tokio::spawn(service.call(post(CHAT, Full::from(NAMED))));
    let (request, send) = handle.next_request().await.unwrap();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"model":"0xb603"}"#);
    assert_pending!(
        service.poll_ready::<Request<Full<Bytes>>>(),
        "the one place is taken"
    );
    send.send_response(Response::new("done".into()));
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "done"
    );
}

#[tokio::test]
async fn the_inner_services_errors_stay_its_own() {
    #[derive(Clone, Debug)]
    struct Fails {
        when_ready: bool,
    }

    impl<B> Service<Request<B>> for Fails {
        type Response = Response<B>;
        type Error = io::Error;
        type Future = Ready<Result<Response<B>, io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(if self.when_ready {
                Err(io::Error::other("not ready"))
            } else {
                Ok(())
            })
        }

        fn call(&mut self, _: Request<B>) -> Self::Future {
            ready(Err(io::Error::other("not answered")))
        }
    }

    let layer = warm_layer().await;
    let mut service = layer.layer(Fails { when_ready: true });
    let error: io::Error = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "not ready");
    let service = layer.layer(Fails { when_ready: false });
    for request in [
        post(CHAT, Full::<Bytes>::from(NAMED)),
        post("/v1/other", Full::from("{}")),
        Request::get("/").body(Full::from("")).unwrap(),
    ] {
        let error: io::Error = service.clone().oneshot(request).await.unwrap_err();
        assert_eq!(error.to_string(), "not answered");
    }
    // It is not even asked about what is refused.
    let refused = service.oneshot(post(CHAT, Full::<Bytes>::from("[]"))).await;
    assert_eq!(refused.unwrap().status(), 400);
}

/// A service that reads the whole body, behind one place.
fn one_place(
    layer: &ModelRoutingLayer,
) -> impl Service<
    Request<Script>,
    Response = Response<impl http_body::Body<Data = Bytes, Error: std::fmt::Debug>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(async |request: Request<RoutedBody<Script>>| {
            let body = request.into_body().collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Ok(Response::new(Full::<Bytes>::from(body)))
        }))
}

/// A place taken by `service` would be one that nobody else gets.
async fn assert_place_is_free<S, R>(service: &S)
where
    S: Service<Request<Script>, Response = Response<R>, Error = Infallible> + Clone,
{
    let request = post(CHAT, Script::halting(&[NAMED]));
    let answer = tokio::time::timeout(Duration::from_secs(1), service.clone().oneshot(request));
    assert!(answer.await.is_ok(), "the place is taken");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_gives_its_readiness_back() {
    let layer = warm_layer().await;
    let mut service = one_place(&layer);
    let text = Request::post(CHAT)
        .header("content-type", "text/plain")
        .body(Script::new([]))
        .unwrap();
    for request in [
        text,
        post(CHAT, Script::halting(&["[]"])),
        post(CHAT, Script::halting(&[r#"{"model":1}"#])),
        post(
            CHAT,
            Script::halting(&[r#"{"model":"m","#, r#""model":"m"}"#]),
        ),
        post(CHAT, Script::halting(&[r#"{"model":"whisper-1"}"#])),
    ] {
        let answer = call(&mut service, request).await.unwrap();
        assert!(answer.status().is_client_error());
        // While `service` is still there, not ready and not called.
        assert_place_is_free(&service).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_future_releases_the_place_and_the_body_at_every_await() {
    let source = Source::new(Answer::Hangs);
    let cold = layer(&source, |config| config);
    let warm = warm_layer().await;
    for (layer, steps) in [
        // Reading the body.
        (&warm, vec![Step::Hang]),
        (&warm, vec![data(r#"{"a":1,"mod"#), Step::Hang]),
        // Waiting for the catalog.
        (&cold, vec![data(NAMED), Step::Hang]),
        // In the inner service.
        (&warm, vec![data(r#"{"model":"m","#), Step::Hang]),
    ] {
        let mut service = one_place(layer);
        let body = Script::new(steps);
        let alive = body.alive();
        let call = service.ready().await.unwrap().call(post(CHAT, body));
        let mut call = task::spawn(call);
        assert!(call.poll().is_pending());
        assert!(alive.upgrade().is_some());
        drop(call);
        assert!(alive.upgrade().is_none(), "the body is gone");
        assert_eq!(layer.held_bytes(), 0);
        assert!(service.ready().await.is_ok());
    }
}

#[tokio::test]
async fn a_future_that_was_never_polled_can_be_dropped() {
    let layer = warm_layer().await;
    let service = one_place(&layer);
    let mut clone = service.clone();
    drop(
        clone
            .ready()
            .await
            .unwrap()
            .call(post(CHAT, Script::new([data(NAMED)]))),
    );
    assert_place_is_free(&service).await;
}

#[tokio::test]
async fn limits_and_buffers_work_inside_and_outside() {
    let layer = warm_layer().await;
    let service = ServiceBuilder::new()
        .layer(BufferLayer::<Request<Script>>::new(2))
        .concurrency_limit(1)
        .layer(layer.clone())
        .layer(BufferLayer::<Request<RoutedBody<Script>>>::new(1))
        .concurrency_limit(1)
        .service(Strict::default());
    let sends = (0..20).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            let request = post(
                CHAT,
                Script::halting(&[r#"{"mod"#, r#"el":"m","a"#, r#"":1}"#]),
            );
            let response = service.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    });
    for body in futures_util::future::join_all(sends).await {
        assert!(body.unwrap().starts_with(b"{\"model\":\"0x"));
    }
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn timeouts_and_load_shedding_outside_work() {
    let service = ServiceBuilder::new()
        .load_shed()
        .timeout(Duration::from_secs(5))
        .concurrency_limit(1)
        .layer(warm_layer().await)
        .service(Strict::default());
    let (feed, body): (_, Fed) = fed();
    let slow = tokio::spawn(service.clone().oneshot(post(CHAT, body)));
    tokio::task::yield_now().await;
    let (_feed, body) = fed();
    let shed = service.clone().oneshot(post(CHAT, body)).await;
    assert!(
        shed.unwrap_err()
            .is::<tower::load_shed::error::Overloaded>()
    );
    let late = slow.await.unwrap();
    assert!(late.unwrap_err().is::<tower::timeout::error::Elapsed>());
    assert!(feed.is_closed(), "the client's body has been dropped");
}
