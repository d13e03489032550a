//! Bodies that turn out to be ones that must not be served: the inner service
//! never has all of one, and the client gets the layer's answer.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_model_routing::{ModelRoutingLayer, Rejection, RoutedBody, RoutedModel};
use tower_test::mock;

use crate::support::{
    body::{Fed, Feed, Hint, Script, Step, data, fed, trailers},
    gateway::{CHAT, layer, post},
    source::Source,
};

async fn warm_layer() -> ModelRoutingLayer {
    let layer = layer(&Source::of_models(), |config| config);
    layer.registry().refresh().await.unwrap();
    layer
}

/// What an inner service makes of a body that fails.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Answers502,
    AnswersAsIfNothingHappened,
    ReturnsAnError,
    Hangs,
    ReadsInATask,
    ReadsInATaskAndHangs,
}

const MANNERS: [Manner; 6] = [
    Manner::Answers502,
    Manner::AnswersAsIfNothingHappened,
    Manner::ReturnsAnError,
    Manner::Hangs,
    Manner::ReadsInATask,
    Manner::ReadsInATaskAndHangs,
];

/// An inner service; the flag tells whether it has ever had a whole body.
fn inner(
    manner: Manner,
    whole: Arc<AtomicBool>,
) -> impl Service<
    Request<RoutedBody<Script>>,
    Response = Response<Full<Bytes>>,
    Error = io::Error,
    Future: Send,
> + Clone {
    service_fn(move |request: Request<RoutedBody<Script>>| {
        let whole = Arc::clone(&whole);
        async move {
            let length = request.headers().get("content-length");
            let length = length.map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
            let read = async move {
                let mut body = request.into_body();
                let claimed = body.size_hint().exact().map(|length| length as usize);
                let mut count = 0;
                loop {
                    match body.frame().await {
                        Some(Ok(frame)) => {
                            count += frame.data_ref().map_or(0, Bytes::len);
                            if frame.is_trailers()
                                || body.is_end_stream()
                                || Some(count) == length
                                || Some(count) == claimed
                            {
                                whole.store(true, Relaxed);
                            }
                        }
                        Some(Err(error)) => break error,
                        None => {
                            whole.store(true, Relaxed);
                            pending::<()>().await;
                        }
                    }
                }
            };
            let mut response = Response::new(Full::default());
            match manner {
                Manner::Answers502 => {
                    read.await;
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                }
                Manner::AnswersAsIfNothingHappened => drop(read.await),
                Manner::ReturnsAnError => return Err(io::Error::other(read.await)),
                Manner::Hangs => {
                    read.await;
                    pending::<()>().await;
                }
                Manner::ReadsInATask => drop(tokio::spawn(read).await.unwrap()),
                Manner::ReadsInATaskAndHangs => {
                    tokio::spawn(read);
                    pending::<()>().await;
                }
            }
            Ok(response)
        }
    })
}

/// Sends a body; the rejection's code that the client got, after having checked
/// that no inner service had the whole body.
async fn refused_code(
    layer: &ModelRoutingLayer,
    manner: Manner,
    request: Request<Script>,
) -> &'static str {
    let whole = Arc::new(AtomicBool::new(false));
    let service = layer.layer(inner(manner, Arc::clone(&whole)));
    let response = service.oneshot(request).await.unwrap();
    assert!(!whole.load(Relaxed), "{manner:?} has had the whole body");
    assert_eq!(response.status(), 400, "{manner:?}");
    assert!(response.extensions().get::<RoutedModel>().is_none());
    let code = response.extensions().get::<Rejection>().unwrap().code();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(code.as_str()));
    assert_eq!(layer.held_bytes(), 0);
    code.as_str()
}

#[tokio::test(start_paused = true)]
async fn a_late_violation_is_a_400_whatever_the_inner_service_does() {
    let layer = warm_layer().await;
    for (rest, code) in [
        (r#","model":"x"}"#, "duplicate_model"),
        (r#","mod\u0065l":"x"}"#, "duplicate_model"),
        (r#","MODEL":"x"}"#, "ambiguous_model"),
        (r#","x":tru}"#, "invalid_json"),
        (r#"}{"#, "invalid_json"),
        (r#"}}"#, "invalid_json"),
        (r#""#, "invalid_json"),
        (r#","x":"1"#, "invalid_json"),
    ] {
        for manner in MANNERS {
            for size in [1, 3, 100] {
                for hint in [Hint::Exact, Hint::Unknown] {
                    let frames: Vec<_> = std::iter::once(r#"{"model":"m""#.as_bytes())
                        .chain(rest.as_bytes().chunks(size))
                        .collect();
                    let body = Script::halting(&frames).hint(hint);
                    let refused = refused_code(&layer, manner, post(CHAT, body)).await;
                    assert_eq!(refused, code, "{rest} {manner:?} {size}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_truncated_body_is_never_whole_for_the_inner_service() {
    const DOCUMENT: &str = r#"{"a":"é","model":"flux","b":{"c":[1]}}"#;
    let layer = warm_layer().await;
    for end in 0..DOCUMENT.len() {
        let truncated = &DOCUMENT.as_bytes()[..end];
        for cut in 0..=end {
            // 0: chunked, 1: by hint, 2: by header, 3: by both.
            for lengths in 0..4 {
                for tail in [vec![], vec![Step::Trailers(trailers())], vec![data("")]] {
                    let steps = [
                        data(&truncated[..cut]),
                        Step::Pending,
                        data(&truncated[cut..]),
                    ];
                    let hint = if lengths % 2 == 1 {
                        Hint::Exact
                    } else {
                        Hint::Unknown
                    };
                    let body = Script::new(steps.into_iter().chain(tail))
                        .hint(hint)
                        .knows_its_end(cut % 2 == 0);
                    let mut request = post(CHAT, body);
                    if lengths / 2 == 1 {
                        request.headers_mut().insert("content-length", end.into());
                    }
                    let refused = refused_code(&layer, Manner::Answers502, request).await;
                    assert_eq!(refused, "invalid_json");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_violation_after_the_answer_still_fails_the_body() {
    let layer = warm_layer().await;
    let (feed, body) = fed();
    let bodies = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&bodies);
    let service = layer.layer(service_fn(move |request: Request<_>| {
        *keep.lock().unwrap() = Some(request.into_body());
        async { Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("streaming"))) }
    }));
    feed.data(r#"{"model":"m","#);
    let response = service.oneshot(post(CHAT, body)).await.unwrap();
    assert_eq!(response.status(), 200);
    feed.data(r#""model":"m"}"#);
    drop(feed);
    let body: RoutedBody<_> = bodies.lock().unwrap().take().unwrap();
    let error = body.collect().await.unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.code().as_str(), "duplicate_model");
}

#[tokio::test]
async fn the_bodys_own_error_after_the_model_is_no_violation() {
    let layer = warm_layer().await;
    let service = layer.layer(service_fn(async |request: Request<RoutedBody<Script>>| {
        let error = request.into_body().collect().await.unwrap_err();
        assert_eq!(error.to_string(), "gone");
        Err::<Response<Full<Bytes>>, _>(io::Error::other("mine"))
    }));
    let body = Script::new([data(r#"{"model":"m","#), Step::Error("gone")]);
    let error = service.oneshot(post(CHAT, body)).await.unwrap_err();
    assert_eq!(error.to_string(), "mine");
}

/// A call of an inner service that waits for ever without reading the body.
fn waiting(layer: &ModelRoutingLayer) -> (Feed, impl Future<Output = ()> + use<>) {
    let (feed, body) = fed();
    let service = layer.layer(service_fn(async |_: Request<RoutedBody<_>>| {
        pending::<Result<Response<Full<Bytes>>, io::Error>>().await
    }));
    let call = service.oneshot(post(CHAT, body));
    (feed, async move { drop(call.await) })
}

#[tokio::test]
async fn a_rest_that_nobody_reads_is_not_judged() {
    let layer = warm_layer().await;
    let (feed, call) = waiting(&layer);
    let mut call = task::spawn(call);
    feed.data(r#"{"model":"m","#);
    assert!(call.poll().is_pending());
    feed.data(r#""model":"m"}"#);
    assert!(call.poll().is_pending());
    feed.error("gone");
    assert!(call.poll().is_pending());
    drop(call);
    assert!(feed.is_closed());
}

#[tokio::test]
async fn a_task_that_is_out_of_budget_gets_the_400_all_the_same() {
    let layer = warm_layer().await;
    let service = layer.layer(service_fn(async |request: Request<RoutedBody<Fed>>| {
        assert!(request.into_body().collect().await.is_err());
        Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("swallowed")))
    }));
    // Tokio lets a task do 128 things at a time; each frame here is one.
    for frames in 0..260 {
        let (feed, body) = fed();
        feed.data(r#"{"model":"m","a":["#);
        for _ in 0..frames {
            feed.data("1,");
        }
        feed.data(r#"1],"model":1}"#);
        let call = tokio::spawn(service.clone().oneshot(post(CHAT, body)));
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.status(), 400, "{frames}");
    }
}

#[tokio::test]
async fn an_end_is_not_announced_before_it_has_been_judged() {
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    // It learns that it has ended only when it is polled once more.
    let body = Script::new([data(r#"{"model":"m""#), Step::Pending]);
    let service = warm_layer().await.layer(service);
    let mut call = task::spawn(service.oneshot(post(CHAT, body)));
    assert!(call.poll().is_pending());
    let (request, _respond) = handle.next_request().await.unwrap();
    let mut body = task::spawn(request.into_body());
    let mut poll = || {
        let frame = body.enter(|cx, body: Pin<&mut RoutedBody<Script>>| body.poll_frame(cx));
        assert!(!body.is_end_stream());
        frame
    };
    while let Poll::Ready(frame) = poll() {
        assert!(frame.unwrap().unwrap().is_data());
    }
    let end = body.enter(|cx, body| body.poll_frame(cx));
    assert!(matches!(end, Poll::Ready(Some(Err(_)))), "{end:?}");
    assert!(body.is_end_stream());
}
