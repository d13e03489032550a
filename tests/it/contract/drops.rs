//! Calls that are dropped wherever they wait, in stacks of other middleware.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{runtime::Handle, time::sleep};
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
    body::Script,
    gateway::{CHAT, layer, post},
    source::{Answer, MODELS, Source},
};

type Stack = BoxCloneService<Request<Script>, StatusCode, BoxError>;

/// Reads the whole body, then takes its time.
async fn inner(request: Request<RoutedBody<Script>>) -> Result<Response<Full<Bytes>>, BoxError> {
    let body = request.into_body().collect().await?.to_bytes();
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(300)).await;
    Ok(Response::new(Full::from(body)))
}

/// Places and queues in every order around the layer, each with one place.
fn stacks(layer: &ModelRoutingLayer) -> [(&'static str, Stack); 4] {
    let status = |response: Response<_>| response.status();
    let limit = || ConcurrencyLimitLayer::new(1);
    [
        (
            "a limit outside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .map_err(BoxError::from)
                .layer(limit())
                .layer(layer.clone())
                .service_fn(inner),
        ),
        (
            "a limit inside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .layer(layer.clone())
                .layer(GlobalConcurrencyLimitLayer::new(1))
                .service_fn(inner),
        ),
        (
            "a queue inside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .layer(layer.clone())
                .layer(BufferLayer::<Request<RoutedBody<Script>>>::new(1))
                .layer(limit())
                .service_fn(inner),
        ),
        (
            "a queue outside",
            ServiceBuilder::new()
                .boxed_clone()
                .map_response(status)
                .layer(BufferLayer::<Request<Script>>::new(1))
                .layer(limit())
                .layer(layer.clone())
                .service_fn(inner),
        ),
    ]
}

/// Polls the call up to `polls` times, with time going by in between; whether
/// it has ended.
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

/// In small frames, so that there are many places to wait at.
fn body() -> Script {
    let frames = [
        r#"{"a":1,"mo"#,
        r#"del":"br"#,
        r#"and-new","b":[1,"#,
        r#"2],"c":"#,
        "3}",
    ];
    Script::halting(&frames.map(str::as_bytes))
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_at_any_await_leaves_nothing_behind() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for stack in 0..4 {
        let mut ended = false;
        for polls in 0..100 {
            // Cold, slow, and with a name that is not in the first list: the
            // call waits for the catalog twice.
            let source = Source::new(Answer::List(MODELS.into()));
            source.takes(Duration::from_millis(250));
            let layer = layer(&source, |config| config.miss_refresh(Duration::ZERO));
            let (name, mut service) = stacks(&layer).into_iter().nth(stack).unwrap();
            let body = body();
            let alive = body.alive();
            let call = service.ready().await.unwrap().call(post(CHAT, body));
            ended = poll_times(call, polls).await;
            // A queue lets go of what nobody waits for when it comes to it.
            sleep(Duration::from_secs(5)).await;
            assert!(alive.upgrade().is_none(), "{name}, {polls}: the body");
            assert_eq!(layer.held_bytes(), 0, "{name}, {polls}");
            let next = service
                .ready()
                .await
                .unwrap()
                .call(post(CHAT, self::body()));
            let next = tokio::time::timeout(Duration::from_secs(60), next).await;
            let status = next.expect("the place is free").unwrap();
            assert_eq!(status, 200, "{name}, {polls}");
            drop((service, layer));
            sleep(Duration::from_secs(5)).await;
            assert_eq!(tasks(), before, "{name}, {polls}: a task is left");
            if ended {
                break;
            }
            assert!(polls < 99, "{name}: it never ended");
        }
        assert!(ended);
    }
}

#[tokio::test(start_paused = true)]
async fn one_instance_is_polled_and_called_again_and_again() {
    let layer = layer(&Source::of_models(), |config| config);
    for (name, mut service) in stacks(&layer) {
        for _ in 0..5 {
            let status = service.ready().await.unwrap().call(post(CHAT, body()));
            assert_eq!(status.await.unwrap(), 200, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_be_cloned_can_be_retried_from_outside() {
    #[derive(Clone)]
    struct Twice;

    impl<B: Clone, R> Policy<Request<B>, Response<R>, BoxError> for Twice {
        type Future = std::future::Ready<()>;

        fn retry(
            &mut self,
            _: &mut Request<B>,
            result: &mut Result<Response<R>, BoxError>,
        ) -> Option<Self::Future> {
            let status = result.as_ref().ok()?.status();
            (status == 503).then(|| std::future::ready(()))
        }

        fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
            Some(request.clone())
        }
    }

    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let bodies = Arc::clone(&seen);
    let layer = layer(&Source::of_models(), |config| config);
    let routing = layer.layer(service_fn(
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
    let service = RetryLayer::new(Twice).layer(routing);
    let request = post(CHAT, Full::<Bytes>::from(r#"{"model":"flux"}"#));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), [r#"{"model":"0x10"}"#; 2]);
}
