//! The body that the inner service reads: frames, size hints, trailers, errors, and when they come.

use std::{collections::VecDeque, convert::Infallible, ops::Range, pin::Pin, task::Poll};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{BoxError, RoutedBody};
use tower_test::mock;

use crate::support::{
    body::{ScriptedBody, Step, channel, data},
    gateway::{CHAT, Gateway, post, warm_layer},
    shape::Shape,
    source::{Outcome, ScriptedSource},
};

const EDITS: &str = "/v1/images/edits";
const OTHER: &str = "/v1/other";
const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data; boundary=b";

/// Path, content type, a body, and its replacement of one text by another.
const CASES: [(&str, &str, &str, [&str; 2]); 9] = [
    (
        CHAT,
        JSON,
        r#"{"model":"flux","a":{"model":"x"}}"#,
        [r#""flux""#, r#""0x10""#],
    ),
    (
        CHAT,
        JSON,
        r#" {"a":["model","é"],"model":"flux"}"#,
        [r#""flux""#, r#""0x10""#],
    ),
    (
        CHAT,
        JSON,
        r#"{"model": "fl\u0075x","a":1}"#,
        [r#""fl\u0075x""#, r#""0x10""#],
    ),
    (CHAT, JSON, r#"{"a":-1.5e3}"#, ["{", r#"{"model":"0x0a","#]),
    (CHAT, JSON, r#"{"model":null} "#, ["null", r#""0x0a""#]),
    (OTHER, JSON, r#"{"model":null,"a":1}"#, ["", ""]),
    (OTHER, JSON, "{}", ["", ""]),
    (
        EDITS,
        FORM,
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nflux\r\n\
         --b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n",
        ["flux", "0x10"],
    ),
    (
        EDITS,
        FORM,
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n-\r\n\
         --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nflux\r\n--b--\r\n",
        ["flux", "0x10"],
    ),
];

/// Sends all cases in every `step`th shape, in bodies of one kind. `is_exact`: bodies of this kind
/// have the size hints of their scripts.
async fn check_all_shapes<B>(kind: impl Fn(ScriptedBody) -> B, is_exact: bool, step: usize)
where
    B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static,
{
    let layer = warm_layer().await;
    for (path, content_type, sent, [from, to]) in CASES {
        let expected = &*sent.replacen(from, to, 1);
        for shape in Shape::all(sent.len()).step_by(step) {
            let service = layer.layer(service_fn(async |request: Request<RoutedBody<B>>| {
                let length = request.headers().get("content-length").cloned();
                let expected_length = shape.content_length.then(|| expected.len().into());
                assert!(shape.fails || length == expected_length, "{shape:?}");
                let body = request.into_body();
                let read = shape.read(body, expected.as_bytes(), is_exact).await;
                let is_prefix = expected.as_bytes().starts_with(&read);
                assert!(
                    is_prefix || read == sent.as_bytes()[..shape.cut],
                    "{shape:?}"
                );
                Ok::<_, Infallible>(Response::new(String::new()))
            }));
            let mut request = Request::post(path).header("content-type", content_type);
            if shape.content_length {
                request = request.header("content-length", sent.len());
            }
            let request = request.body(kind(shape.body(sent))).unwrap();
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{sent} {shape:?}");
            assert_eq!(layer.held_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn replaces_the_model_in_every_shape() {
    check_all_shapes(|body| body, true, 1).await;
}

#[tokio::test]
async fn accepts_non_contiguous_data() {
    let ring = |data: Bytes| {
        let mut ring = VecDeque::with_capacity(data.len() + 1);
        let (first, rest) = data.split_at(data.len() / 2);
        ring.extend(rest);
        first.iter().rev().for_each(|byte| ring.push_front(*byte));
        ring
    };
    let chain = |data: Bytes| {
        let (first, rest) = (data.slice(..data.len() / 2), data.slice(data.len() / 2..));
        first.chain(Bytes::new()).chain(rest)
    };
    let in_rings = move |body: ScriptedBody| body.map_frame(move |frame| frame.map_data(ring));
    check_all_shapes(in_rings, false, 7).await;
    let in_chains = move |body: ScriptedBody| body.map_frame(move |frame| frame.map_data(chain));
    check_all_shapes(in_chains, false, 7).await;
}

/// A body that is polled by hand.
struct PolledBody<B>(task::Spawn<Pin<Box<RoutedBody<B>>>>);

impl<B> PolledBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    fn new(request: Request<RoutedBody<B>>) -> Self {
        Self(task::spawn(Box::pin(request.into_body())))
    }

    fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0
            .enter(|cx, body| body.get_mut().as_mut().poll_frame(cx))
    }

    /// Returns the data of the next frame, which must be ready.
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
async fn calls_the_inner_service_once_the_model_is_complete() {
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let (sender, body) = channel();
    let mut call = task::spawn(warm_layer().await.layer(service).oneshot(post(CHAT, body)));
    for frame in [
        "",
        " {",
        r#""a":[1"#,
        r#"],"mod"#,
        r#"el":"#,
        r#""venice-unce"#,
    ] {
        sender.data(frame);
        assert!(call.poll().is_pending());
        assert_pending!(handle.poll_request());
    }
    sender.data(r#"nsored", "b":"#);
    assert!(call.is_woken());
    assert!(call.poll().is_pending());
    let Poll::Ready(Some((request, respond))) = handle.poll_request() else {
        panic!("the inner service was not called");
    };

    // The held frames come first, unchanged around the replacement.
    let mut body = PolledBody::new(request);
    for frame in [
        " {",
        r#""a":[1"#,
        r#"],"mod"#,
        r#"el":"#,
        r#""0xb603""#,
        r#", "b":"#,
    ] {
        assert_eq!(body.next(), frame);
    }
    assert_pending!(body.poll());
    for rest in ["1", "", ",\"c\":", "2} "] {
        sender.data(rest);
        assert!(body.0.is_woken());
        assert_eq!(body.next(), rest);
        assert_pending!(body.poll());
        assert!(!body.0.is_end_stream());
    }
    drop(sender);
    assert!(matches!(body.poll(), Poll::Ready(None)));
    respond.send_response(Response::new("done".into()));
    assert!(call.is_woken());
    assert!(call.poll().is_ready());
}

#[tokio::test]
async fn body_outlives_an_early_response() {
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let (sender, body) = channel();
    let mut call = task::spawn(warm_layer().await.layer(service).oneshot(post(CHAT, body)));
    sender.data(r#"{"model":"m","#);
    assert!(call.poll().is_pending());
    let (request, respond) = handle.next_request().await.unwrap();
    respond.send_response(Response::new("early".into()));
    assert!(call.poll().is_ready());
    drop(call);
    let mut body = PolledBody::new(request);
    let _ = (body.next(), body.next());
    sender.data("\"x\":1}");
    let _ = (body.next(), assert_eq!(body.next(), "\"x\":1}"));
}

#[tokio::test]
async fn inner_service_may_respond_after_any_frame() {
    let layer = warm_layer().await;
    for frames in 0..6 {
        let service = layer.layer(service_fn(
            async |request: Request<RoutedBody<ScriptedBody>>| {
                let mut body = request.into_body();
                for _ in 0..frames {
                    body.frame().await.unwrap().unwrap();
                }
                Ok::<_, Infallible>(Response::new(String::from("early")))
            },
        ));
        // The unread rest is invalid.
        let prefix = [r#"{"a":1,"#, r#""model":"flux","#, r#""b":2,"#];
        let body = ScriptedBody::pending_between(&prefix.map(str::as_bytes));
        let alive = body.alive();
        let response = service.oneshot(post(CHAT, body)).await.unwrap();
        assert_eq!(response.status(), 200, "{frames}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "early");
        assert!(alive.upgrade().is_none());
        assert_eq!(layer.held_bytes(), 0);
    }
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
    let body = ScriptedBody::new(frames.clone().map(Step::Data));
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

#[tokio::test]
async fn reports_its_end_when_the_client_body_does() {
    let layer = warm_layer().await;
    for frames in [
        vec![r#"{"model":"m"}"#],
        vec![r#"{"model":"m""#, "}"],
        vec!["{", "}"],
    ] {
        let service = layer.layer(service_fn(
            async |request: Request<RoutedBody<ScriptedBody>>| {
                let mut body = request.into_body();
                let mut read = Vec::new();
                while !body.is_end_stream() {
                    let frame = body.frame().await.expect("the end was not reported");
                    read.extend_from_slice(frame.unwrap().data_ref().unwrap());
                }
                Ok::<_, Infallible>(Response::new(String::from_utf8(read).unwrap()))
            },
        ));
        let body = ScriptedBody::new(frames.iter().map(data));
        let response = service.oneshot(post(CHAT, body)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"}"));
    }
}

#[tokio::test]
async fn failed_body_needs_no_registry() {
    let gateway = Gateway::with_source(ScriptedSource::new(Outcome::Pending), |c| c);
    let body = ScriptedBody::new([data(r#"{"model":"#), Step::Error("gone")]);
    let (response, received) = gateway.send(post(CHAT, body)).await;
    assert_eq!(response.status(), 502, "the inner service's response");
    assert_eq!(received.unwrap().body.unwrap_err(), "gone");
}

#[tokio::test]
async fn content_length_is_rewritten_only_when_present() {
    let gateway = Gateway::new();
    for (sent, length) in [
        (r#"{"model":"m"}"#, 78),
        (r#"{"model":"venice-uncensored"}"#, 18),
        (r#"{"model":"0xb603"}"#, 18),
        ("{}", 16),
    ] {
        let mut request = post(CHAT, Full::<Bytes>::from(sent));
        let headers = request.headers_mut();
        headers.insert("content-length", sent.len().into());
        let (_, received) = gateway.send(request).await;
        let received = received.unwrap();
        assert_eq!(
            received.header("content-length"),
            Some(&*length.to_string())
        );
        assert_eq!(received.exact_size, Some(length));
        assert_eq!(received.text().len() as u64, length);

        let (_, received) = gateway.send(post(CHAT, Full::<Bytes>::from(sent))).await;
        assert_eq!(received.unwrap().header("content-length"), None, "{sent}");
    }
}
