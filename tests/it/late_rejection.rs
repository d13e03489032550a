//! Bodies that turn out to be invalid after a part was forwarded: the inner service never receives
//! a complete body, and the client gets the rejection.

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
    body::{ChannelBody, Hint, ScriptedBody, Step, channel, data, trailers},
    gateway::{CHAT, post, post_form, warm_layer},
};

const SPEECH: &str = "/v1/audio/transcriptions";

/// The reaction of an inner service to a failed body.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    Returns502,
    Returns200,
    ReturnsAnError,
    Hangs,
    ReadsInATask,
    ReadsInATaskAndHangs,
}

const REACTIONS: [Reaction; 6] = [
    Reaction::Returns502,
    Reaction::Returns200,
    Reaction::ReturnsAnError,
    Reaction::Hangs,
    Reaction::ReadsInATask,
    Reaction::ReadsInATaskAndHangs,
];

/// Returns an inner service. `complete` is set if it ever takes a body for complete.
fn inner(
    reaction: Reaction,
    complete: Arc<AtomicBool>,
) -> impl Service<
    Request<RoutedBody<ScriptedBody>>,
    Response = Response<Full<Bytes>>,
    Error = io::Error,
    Future: Send,
> + Clone {
    service_fn(move |request: Request<RoutedBody<ScriptedBody>>| {
        let complete = Arc::clone(&complete);
        async move {
            let length = request.headers().get("content-length");
            let length = length.map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
            let read = async move {
                let mut body = request.into_body();
                let exact = body.size_hint().exact().map(|length| length as usize);
                let mut count = 0;
                loop {
                    match body.frame().await {
                        Some(Ok(frame)) => {
                            count += frame.data_ref().map_or(0, Bytes::len);
                            if frame.is_trailers()
                                || body.is_end_stream()
                                || Some(count) == length
                                || Some(count) == exact
                            {
                                complete.store(true, Relaxed);
                            }
                        }
                        Some(Err(error)) => break error,
                        None => {
                            complete.store(true, Relaxed);
                            pending::<()>().await;
                        }
                    }
                }
            };
            let mut response = Response::new(Full::default());
            match reaction {
                Reaction::Returns502 => {
                    read.await;
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                }
                Reaction::Returns200 => drop(read.await),
                Reaction::ReturnsAnError => return Err(io::Error::other(read.await)),
                Reaction::Hangs => {
                    read.await;
                    pending::<()>().await;
                }
                Reaction::ReadsInATask => drop(tokio::spawn(read).await.unwrap()),
                Reaction::ReadsInATaskAndHangs => {
                    tokio::spawn(read);
                    pending::<()>().await;
                }
            }
            Ok(response)
        }
    })
}

/// Sends a body that the inner service must not receive completely. Returns the rejection's code.
async fn rejection_code(
    layer: &ModelRoutingLayer,
    reaction: Reaction,
    request: Request<ScriptedBody>,
) -> &'static str {
    let complete = Arc::new(AtomicBool::new(false));
    let service = layer.layer(inner(reaction, Arc::clone(&complete)));
    let response = service.oneshot(request).await.unwrap();
    assert!(!complete.load(Relaxed), "{reaction:?}: a complete body");
    assert_eq!(response.status(), 400, "{reaction:?}");
    assert!(response.extensions().get::<RoutedModel>().is_none());
    let code = response.extensions().get::<Rejection>().unwrap().code();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(code.as_str()));
    assert_eq!(layer.held_bytes(), 0);
    code.as_str()
}

#[tokio::test(start_paused = true)]
async fn late_rejection_replaces_any_inner_response() {
    const FORM: &str =
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b";
    const PART: &str = "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--";

    let layer = warm_layer().await;
    let json = r#"{"model":"m""#;
    for (first, rest, code) in [
        (json, r#","model":"x"}"#, "duplicate_model"),
        (json, r#","mod\u0065l":"x"}"#, "ambiguous_model"),
        (json, r#","MODEL":"x"}"#, "ambiguous_model"),
        (json, r#","x":tru}"#, "invalid_json"),
        (json, r#"}{"#, "invalid_json"),
        (json, r#"}}"#, "invalid_json"),
        (json, r#""#, "invalid_json"),
        (json, r#","x":"1"#, "invalid_json"),
        (FORM, PART, "duplicate_model"),
    ] {
        for reaction in REACTIONS {
            for size in [1, 3, 100] {
                for hint in [Hint::Exact, Hint::Unknown] {
                    let frames: Vec<_> = std::iter::once(first.as_bytes())
                        .chain(rest.as_bytes().chunks(size))
                        .collect();
                    let body = ScriptedBody::pending_between(&frames).hint(hint);
                    let request = match first {
                        FORM => post_form(SPEECH, body),
                        _ => post(CHAT, body),
                    };
                    let found = rejection_code(&layer, reaction, request).await;
                    assert_eq!(found, code, "{rest} {reaction:?} {size}");
                }
            }
        }
    }
}

#[tokio::test]
async fn truncated_body_never_looks_complete() {
    const JSON: &str = r#"{"a":"é","model":"flux","b":{"c":[1]}}"#;
    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
                        --b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--";

    /// The cases: whether the body has a size hint, and the request a `Content-Length`.
    const LENGTHS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

    let layer = warm_layer().await;
    for (document, step, code) in [(JSON, 1, "invalid_json"), (FORM, 9, "invalid_multipart")] {
        for end in 0..document.len() {
            let truncated = &document.as_bytes()[..end];
            for cut in (0..=end).step_by(step) {
                for (has_hint, has_header) in LENGTHS {
                    for tail in [vec![], vec![Step::Trailers(trailers())], vec![data("")]] {
                        let (first, rest) = truncated.split_at(cut);
                        let steps = [data(first), Step::Pending, data(rest)];
                        let hint = if has_hint { Hint::Exact } else { Hint::Unknown };
                        let body = ScriptedBody::new(steps.into_iter().chain(tail))
                            .hint(hint)
                            .reports_end(cut % 2 == 0);
                        let mut request = match document {
                            FORM => post_form(SPEECH, body),
                            _ => post(CHAT, body),
                        };
                        if has_header {
                            request.headers_mut().insert("content-length", end.into());
                        }
                        let found = rejection_code(&layer, Reaction::Returns502, request).await;
                        assert_eq!(found, code);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn body_fails_even_after_the_response() {
    let layer = warm_layer().await;
    let (sender, body) = channel();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = layer.layer(service_fn(move |request: Request<_>| {
        *keep.lock().unwrap() = Some(request.into_body());
        async { Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("streaming"))) }
    }));
    sender.data(r#"{"model":"m","#);
    let response = service.oneshot(post(CHAT, body)).await.unwrap();
    assert_eq!(response.status(), 200);
    sender.data(r#""model":"m"}"#);
    drop(sender);
    let body: RoutedBody<_> = kept.lock().unwrap().take().unwrap();
    let error = body.collect().await.unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.code().as_str(), "duplicate_model");
}

#[tokio::test]
async fn body_error_after_the_model_is_no_rejection() {
    let layer = warm_layer().await;
    let service = layer.layer(service_fn(
        async |request: Request<RoutedBody<ScriptedBody>>| {
            let error = request.into_body().collect().await.unwrap_err();
            assert_eq!(error.to_string(), "gone");
            Err::<Response<Full<Bytes>>, _>(io::Error::other("inner"))
        },
    ));
    let body = ScriptedBody::new([data(r#"{"model":"m","#), Step::Error("gone")]);
    let error = service.oneshot(post(CHAT, body)).await.unwrap_err();
    assert_eq!(error.to_string(), "inner");
}

#[tokio::test]
async fn unread_rest_is_not_checked() {
    let layer = warm_layer().await;
    let (sender, body) = channel();
    let service = layer.layer(service_fn(async |_: Request<RoutedBody<_>>| {
        pending::<Result<Response<Full<Bytes>>, io::Error>>().await
    }));
    let mut call = task::spawn(service.oneshot(post(CHAT, body)));
    sender.data(r#"{"model":"m","#);
    assert!(call.poll().is_pending());
    sender.data(r#""model":"m"}"#);
    assert!(call.poll().is_pending());
    sender.error("gone");
    assert!(call.poll().is_pending());
    drop(call);
    assert!(sender.is_closed());
}

#[tokio::test]
async fn rejects_late_without_task_budget() {
    let layer = warm_layer().await;
    let service = layer.layer(service_fn(
        async |request: Request<RoutedBody<ChannelBody>>| {
            assert!(request.into_body().collect().await.is_err());
            Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("ignored the error")))
        },
    ));
    // Tokio's budget is 128 operations per poll of a task; each frame takes one.
    for frames in 0..260 {
        let (sender, body) = channel();
        sender.data(r#"{"model":"m","a":["#);
        for _ in 0..frames {
            sender.data("1,");
        }
        sender.data(r#"1],"model":1}"#);
        let call = tokio::spawn(service.clone().oneshot(post(CHAT, body)));
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.status(), 400, "{frames}");
    }
}

#[tokio::test]
async fn end_is_not_reported_before_the_body_is_checked() {
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    // The body ends only on the poll after its last frame.
    let body = ScriptedBody::new([data(r#"{"model":"m""#), Step::Pending]);
    let service = warm_layer().await.layer(service);
    let mut call = task::spawn(service.oneshot(post(CHAT, body)));
    assert!(call.poll().is_pending());
    let (request, _respond) = handle.next_request().await.unwrap();
    let mut body = task::spawn(request.into_body());
    let mut poll = || {
        let frame = body.enter(|cx, body: Pin<&mut RoutedBody<ScriptedBody>>| body.poll_frame(cx));
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
