//! The body that the inner service reads: its frames, hints, trailers and
//! errors, and when they come.

use std::{convert::Infallible, ops::Range, pin::Pin, task::Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{BoxError, ModelRoutingLayer, RoutedBody};
use tower_test::mock;

use crate::support::{
    body::{Hint, Script, Step, data, fed, trailers},
    gateway::{CHAT, Gateway, layer, post},
    source::Source,
};

async fn warm_layer() -> ModelRoutingLayer {
    let layer = layer(&Source::of_models(), |config| config);
    layer.registry().refresh().await.unwrap();
    layer
}

/// A body that is read by hand.
struct Reading<B>(task::Spawn<Pin<Box<RoutedBody<B>>>>);

impl<B> Reading<B>
where
    B: Body<Error: Into<BoxError>>,
{
    fn of(request: Request<RoutedBody<B>>) -> Self {
        Self(task::spawn(Box::pin(request.into_body())))
    }

    fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0
            .enter(|cx, body| body.get_mut().as_mut().poll_frame(cx))
    }

    /// The data of the next frame, which is there.
    fn next(&mut self) -> String {
        match self.poll() {
            Poll::Ready(Some(Ok(frame))) => {
                String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_inner_service_is_called_as_soon_as_the_model_is_complete() {
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let (feed, body) = fed();
    let mut call = task::spawn(warm_layer().await.layer(service).oneshot(post(CHAT, body)));
    for front in [
        "",
        " {",
        r#""a":[1"#,
        r#"],"mod"#,
        r#"el":"#,
        r#""venice-unce"#,
    ] {
        feed.data(front);
        assert!(call.poll().is_pending());
        assert_pending!(handle.poll_request());
    }
    feed.data(r#"nsored", "b":"#);
    assert!(call.is_woken());
    assert!(call.poll().is_pending());
    let Poll::Ready(Some((request, respond))) = handle.poll_request() else {
        panic!("the inner service has not been called");
    };

    // Held frames first, each as it came but for the splice.
    let mut body = Reading::of(request);
    for front in [
        " {",
        r#""a":[1"#,
        r#"],"mod"#,
        r#"el":"#,
        r#""0xb603""#,
        r#", "b":"#,
    ] {
        assert_eq!(body.next(), front);
    }
    assert_pending!(body.poll());
    for rest in ["1", "", ",\"c\":", "2} "] {
        feed.data(rest);
        assert!(body.0.is_woken());
        assert_eq!(body.next(), rest);
        assert_pending!(body.poll());
        assert!(!body.0.is_end_stream());
    }
    drop(feed);
    assert!(matches!(body.poll(), Poll::Ready(None)));
    respond.send_response(Response::new("done".into()));
    assert!(call.is_woken());
    assert!(call.poll().is_ready());
}

#[tokio::test]
async fn a_response_may_come_before_the_rest_of_the_body() {
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let (feed, body) = fed();
    let mut call = task::spawn(warm_layer().await.layer(service).oneshot(post(CHAT, body)));
    feed.data(r#"{"model":"m","#);
    assert!(call.poll().is_pending());
    let (request, respond) = handle.next_request().await.unwrap();
    respond.send_response(Response::new("early".into()));
    assert!(call.poll().is_ready());
    // The body outlives the call.
    drop(call);
    let mut body = Reading::of(request);
    let _ = (body.next(), body.next());
    feed.data("\"x\":1}");
    let _ = (body.next(), assert_eq!(body.next(), "\"x\":1}"));
}

#[tokio::test]
async fn an_inner_service_that_never_reads_the_body_is_no_trouble() {
    let layer = warm_layer().await;
    let service = layer.layer(service_fn(async |_: Request<RoutedBody<Script>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("bye")))
    }));
    let body = Script::new([data(r#"{"model":"m","#), Step::Hang]);
    let alive = body.alive();
    let response = service.oneshot(post(CHAT, body)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(alive.upgrade().is_none());
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn frames_are_not_copied() {
    let frames = [
        r#"{"messages":["#,
        r#""hello"],"model":"venice-uncensored","n":1"#,
        r#","tail":1}"#,
    ]
    .map(|frame| Bytes::from_static(frame.as_bytes()));
    let within = |frame: &Bytes| {
        let Range { start, end } = frame.as_ptr_range();
        frames.iter().any(|whole| {
            let whole = whole.as_ptr_range();
            whole.start <= start && end <= whole.end
        })
    };
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let body = Script::new(frames.clone().map(Step::Data));
    let mut call = task::spawn(warm_layer().await.layer(service).oneshot(post(CHAT, body)));
    assert!(call.poll().is_pending());
    let (request, _respond) = handle.next_request().await.unwrap();
    let mut body = request.into_body();
    let mut copied = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        if !within(&data) {
            copied.push(data);
        }
    }
    assert_eq!(copied, [r#""0xb603""#]);
}

/// Reads the body to its end; at each step what it says of itself must be true.
async fn check(
    mut body: RoutedBody<Script>,
    expected: &[u8],
    hint: Hint,
    knows_its_end: bool,
) -> HeaderMap {
    let mut read = Vec::new();
    let mut found = HeaderMap::new();
    loop {
        let left = (expected.len() - read.len()) as u64;
        let claimed = body.size_hint();
        match hint {
            Hint::Exact => assert_eq!(claimed.exact(), Some(left)),
            _ => {
                assert!(claimed.lower() <= left, "{claimed:?} {left}");
                assert!(claimed.upper().is_none_or(|upper| left <= upper));
            }
        }
        let ends = body.is_end_stream();
        let Some(frame) = body.frame().await else {
            break;
        };
        assert!(!ends, "it said that it had ended");
        match frame.unwrap().into_data() {
            Ok(data) => read.extend_from_slice(&data),
            Err(frame) => found.extend(frame.into_trailers().unwrap()),
        }
    }
    assert_eq!(read, expected);
    assert!(body.is_end_stream() || !knows_its_end);
    assert!(body.frame().await.is_none(), "it ends but once");
    found
}

const DOCUMENTS: [(&str, &str, &str); 6] = [
    (CHAT, r#"{"model":"flux"}"#, r#"{"model":"0x10"}"#),
    (
        CHAT,
        r#"{"a":"é","model":"venice-uncensored"} "#,
        r#"{"a":"é","model":"0xb603"} "#,
    ),
    (CHAT, r#" {"a":[]}"#, r#" {"model":"0x0a","a":[]}"#),
    (CHAT, r#"{"model":null}"#, r#"{"model":"0x0a"}"#),
    ("/x", r#"{"model":null,"a":1}"#, r#"{"model":null,"a":1}"#),
    ("/x", r#"{}"#, r#"{}"#),
];

#[tokio::test]
async fn hints_ends_and_trailers_are_right_under_every_cut() {
    let layer = warm_layer().await;
    for (path, sent, served) in DOCUMENTS {
        for cut in 0..sent.len() {
            for variant in 0..24 {
                let hint = [Hint::Exact, Hint::Unknown, Hint::Bounds][variant % 3];
                let knows_its_end = variant / 3 % 2 == 0;
                let has_trailers = variant / 6 % 2 == 0;
                // An empty last frame, too.
                let second_cut = if variant < 12 {
                    sent.len()
                } else {
                    (cut + sent.len()).div_ceil(2)
                };
                let bytes = sent.as_bytes();
                let mut steps: Vec<_> =
                    [&bytes[..cut], &bytes[cut..second_cut], &bytes[second_cut..]]
                        .iter()
                        .flat_map(|frame| [data(frame), Step::Pending])
                        .collect();
                if has_trailers {
                    steps.push(Step::Trailers(trailers()));
                }
                let body = Script::new(steps).hint(hint).knows_its_end(knows_its_end);
                let service =
                    layer.layer(service_fn(async |request: Request<RoutedBody<Script>>| {
                        let body = request.into_body();
                        let found = check(body, served.as_bytes(), hint, knows_its_end).await;
                        assert_eq!(found == trailers(), has_trailers);
                        Ok::<_, Infallible>(Response::new(String::new()))
                    }));
                let response = service.oneshot(post(path, body)).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(layer.held_bytes(), 0);
            }
        }
    }
}

#[tokio::test]
async fn a_length_that_the_client_left_open_stays_open_until_the_trailers_have_passed() {
    // With a known length, hyper's HTTP/1 client sends no trailers.
    let layer = warm_layer().await;
    for (path, sent, _) in DOCUMENTS {
        for (hint, is_known) in [(Hint::Exact, true), (Hint::Unknown, false)] {
            let body = Script::new([data(sent), Step::Trailers(trailers())]).hint(hint);
            let service = layer.layer(service_fn(async |request: Request<RoutedBody<Script>>| {
                let mut body = request.into_body();
                loop {
                    assert_eq!(body.size_hint().exact().is_some(), is_known, "{sent}");
                    if body.frame().await.unwrap().unwrap().is_trailers() {
                        break;
                    }
                }
                Ok::<_, Infallible>(Response::new(String::new()))
            }));
            let response = service.oneshot(post(path, body)).await.unwrap();
            assert_eq!(response.status(), 200);
        }
    }
}

#[tokio::test]
async fn an_end_that_the_client_announces_is_announced() {
    let layer = warm_layer().await;
    for frames in [
        vec![r#"{"model":"m"}"#],
        vec![r#"{"model":"m""#, "}"],
        vec!["{", "}"],
    ] {
        let service = layer.layer(service_fn(async |request: Request<RoutedBody<Script>>| {
            let mut body = request.into_body();
            let mut read = Vec::new();
            while !body.is_end_stream() {
                let frame = body
                    .frame()
                    .await
                    .expect("it has not said that it had ended");
                read.extend_from_slice(frame.unwrap().data_ref().unwrap());
            }
            Ok::<_, Infallible>(Response::new(String::from_utf8(read).unwrap()))
        }));
        let body = Script::new(frames.iter().map(data));
        let response = service.oneshot(post(CHAT, body)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"}"));
    }
}

#[tokio::test]
async fn a_body_that_fails_fails_for_the_inner_service_at_the_same_place() {
    let layer = warm_layer().await;
    for (path, sent, served) in DOCUMENTS {
        for cut in 0..sent.len() {
            for knows_its_end in [false, true] {
                let steps = [
                    data(&sent[..0]),
                    data(&sent.as_bytes()[..cut]),
                    Step::Pending,
                    Step::Error("gone"),
                ];
                let body = Script::new(steps).knows_its_end(knows_its_end);
                let service =
                    layer.layer(service_fn(async |request: Request<RoutedBody<Script>>| {
                        let mut body = request.into_body();
                        let mut read = Vec::new();
                        let error = loop {
                            assert!(!body.is_end_stream());
                            assert_eq!(body.size_hint().exact(), None);
                            match body.frame().await.unwrap() {
                                Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap()),
                                Err(error) => break error,
                            }
                        };
                        assert_eq!(error.to_string(), "gone");
                        assert!(body.is_end_stream());
                        assert_eq!(body.size_hint().exact(), Some(0));
                        assert!(body.frame().await.is_none());
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(read)))
                    }));
                let response = service.oneshot(post(path, body)).await.unwrap();
                let read = response.into_body().collect().await.unwrap().to_bytes();
                // As far as it came, and routed if the model did.
                let as_sent = read == sent.as_bytes()[..cut];
                let as_served = cut >= 9 && served.as_bytes().starts_with(&read);
                assert!(as_sent || as_served, "{sent} {cut} {read:?}");
            }
        }
    }
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn a_client_that_fails_needs_no_registry() {
    let gateway = Gateway::of(Source::new(crate::support::source::Answer::Hangs), |c| c);
    let body = Script::new([data(r#"{"model":"#), Step::Error("gone")]);
    let (answer, seen) = gateway.send(post(CHAT, body)).await;
    assert_eq!(answer.status(), 502, "the inner service's own");
    assert_eq!(seen.unwrap().body.unwrap_err(), "gone");
}

#[tokio::test]
async fn digests_in_trailers_are_removed_when_and_only_when_the_body_changes() {
    let gateway = Gateway::new();
    let with_digests: HeaderMap = [
        "content-md5",
        "digest",
        "content-digest",
        "repr-digest",
        "x-sum",
    ]
    .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("7")))
    .into_iter()
    .collect();
    for (sent, changes) in [
        (vec![r#"{"model":"flux""#, "}"], true),
        (vec!["{", "}"], true),
        (vec![r#"{"model":"0x10""#, "}"], false),
    ] {
        let steps = sent
            .iter()
            .map(data)
            .chain([Step::Trailers(with_digests.clone())]);
        let (_, seen) = gateway.send(post(CHAT, Script::new(steps))).await;
        let expected = if changes {
            trailers()
        } else {
            with_digests.clone()
        };
        assert_eq!(seen.unwrap().trailers, Some(expected), "{sent:?}");
    }
}
