//! Bodies under every cut, against a naive oracle.

use std::{collections::VecDeque, convert::Infallible, fmt::Debug};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{BoxError, ModelRoutingLayer, RoutedBody};

use crate::support::{
    body::{BodyError, Hint, Script, Step, data, trailers},
    gateway::{CHAT, layer, post},
    source::Source,
};

/// A document, and what a naive splice makes of it.
struct Case {
    content_type: &'static str,
    sent: &'static str,
    served: String,
}

/// The model first, last, missing, spelled with escapes, and in a form.
fn cases() -> Vec<Case> {
    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nflux\r\n\
                        --b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n";
    const FORM_LAST: &str = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n-\r\n\
                             --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nflux\
                             \r\n--b--\r\n";
    let json = "application/json";
    let form = "multipart/form-data; boundary=b";
    [
        (
            json,
            r#"{"model":"flux","a":{"model":"x"}}"#,
            r#""flux""#,
            r#""0x10""#,
        ),
        (
            json,
            r#" {"a":["model","é"],"model":"flux"}"#,
            r#""flux""#,
            r#""0x10""#,
        ),
        (
            json,
            r#"{"mod\u0065l": "fl\u0075x","a":1}"#,
            r#""fl\u0075x""#,
            r#""0x10""#,
        ),
        (json, r#"{"a":-1.5e3}"#, "{", r#"{"model":"0x0a","#),
        (form, FORM, "flux", "0x10"),
        (form, FORM_LAST, "flux", "0x10"),
    ]
    .into_iter()
    .map(|(content_type, sent, old, new)| Case {
        content_type,
        sent,
        served: sent.replacen(old, new, 1),
    })
    .collect()
}

/// What comes besides the data.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// After this many bytes; past the end: every byte is a frame.
    cut: usize,
    empty_frames: bool,
    pendings: bool,
    trailers: bool,
    content_length: bool,
    hint: Hint,
    knows_its_end: bool,
    /// Whether it fails at the cut.
    fails: bool,
}

impl Shape {
    /// Every shape of a body of this length.
    fn all(len: usize) -> impl Iterator<Item = Self> {
        (0..=len + 1).flat_map(move |cut| {
            (0_usize..64).map(move |bits| {
                let bit = |index: usize| bits >> index & 1 == 1;
                Self {
                    cut,
                    empty_frames: bit(0),
                    pendings: bit(1),
                    trailers: bit(2),
                    content_length: bit(3),
                    hint: [Hint::Exact, Hint::Unknown, Hint::Bounds][(bits + cut) % 3],
                    knows_its_end: bit(4),
                    // An error after the last byte is one after the end.
                    fails: bit(5) && cut < len,
                }
            })
        })
    }

    fn script(self, text: &str) -> Script {
        let bytes = text.as_bytes();
        let frames: Vec<&[u8]> = match bytes.split_at_checked(self.cut) {
            Some((front, _)) if self.fails => vec![front],
            Some((front, back)) => vec![front, back],
            None => bytes.chunks(1).collect(),
        };
        let mut steps = Vec::new();
        for frame in frames {
            steps.extend(self.pendings.then_some(Step::Pending));
            steps.extend(self.empty_frames.then(|| data("")));
            steps.push(data(frame));
        }
        steps.extend(self.empty_frames.then(|| data("")));
        steps.extend(self.pendings.then_some(Step::Pending));
        if self.fails {
            steps.push(Step::Error("gone"));
        } else if self.trailers {
            steps.push(Step::Trailers(trailers()));
        }
        // A script knows the length of what it brings, not of what is missing.
        let hint = if self.fails { Hint::Unknown } else { self.hint };
        Script::new(steps)
            .hint(hint)
            .knows_its_end(self.knows_its_end)
    }
}

/// A body that was read to its end.
struct Read {
    bytes: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether it ended with an error.
    failed: bool,
}

/// Reads a body to its end. At each step, what it says of itself must be true
/// if `served` is what comes.
async fn read<B>(body: B, served: &str, shape: Shape) -> Read
where
    B: Body<Data = Bytes, Error: Debug>,
{
    let mut body = std::pin::pin!(body);
    let mut read = Read {
        bytes: Vec::new(),
        trailers: None,
        failed: false,
    };
    loop {
        if !shape.fails {
            let left = (served.len() - read.bytes.len()) as u64;
            let hint = body.size_hint();
            assert!(hint.lower() <= left, "{shape:?} {hint:?} {left}");
            assert!(hint.upper().is_none_or(|upper| left <= upper), "{shape:?}");
        }
        let says_it_ended = body.is_end_stream();
        let Some(frame) = body.frame().await else {
            break;
        };
        assert!(!says_it_ended, "{shape:?}");
        assert!(!read.failed && read.trailers.is_none(), "{shape:?}");
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => read.bytes.extend_from_slice(&data),
            Ok(Err(frame)) => read.trailers = frame.into_trailers().ok(),
            Err(_) => read.failed = true,
        }
    }
    assert!(body.frame().await.is_none(), "{shape:?}");
    if shape.knows_its_end {
        assert!(body.is_end_stream(), "{shape:?}");
    }
    assert_eq!(read.failed, shape.fails, "{shape:?}");
    let has_trailers = shape.trailers && !shape.fails;
    assert_eq!(read.trailers, has_trailers.then(trailers), "{shape:?}");
    read
}

async fn warm_layer(restores: bool) -> ModelRoutingLayer {
    let layer = layer(&Source::of_models(), |config| {
        config.restore_model_name(restores)
    });
    layer.registry().refresh().await.unwrap();
    layer
}

/// Sends every case in one of `step` shapes, in bodies of this kind, which hand
/// on the hints of their scripts or not.
async fn check_requests<B>(kind: impl Fn(Script) -> B, is_exact: bool, step: usize)
where
    B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static,
{
    let layer = warm_layer(false).await;
    for Case {
        content_type,
        sent,
        served,
    } in cases()
    {
        for shape in Shape::all(sent.len()).step_by(step) {
            let is_form = content_type.starts_with("multipart");
            let path = if is_form { "/v1/images/edits" } else { CHAT };
            let served = served.clone();
            let service = layer.layer(service_fn(move |request: Request<RoutedBody<B>>| {
                let served = served.clone();
                async move {
                    let length = request.headers().get("content-length");
                    let length = length.map(|length| length.to_str().unwrap().to_owned());
                    let body = request.into_body();
                    if is_exact && !shape.fails && shape.hint == Hint::Exact {
                        let claimed = body.size_hint().exact();
                        assert_eq!(claimed, Some(served.len() as u64), "{shape:?}");
                    }
                    let read = read(body, &served, shape).await;
                    if !shape.fails {
                        assert_eq!(read.bytes, served.as_bytes(), "{shape:?}");
                        let expected = shape.content_length.then(|| served.len().to_string());
                        assert_eq!(length, expected, "{shape:?}");
                    } else {
                        assert!(read.bytes.len() < served.len(), "{shape:?}");
                    }
                    Ok::<_, Infallible>(Response::new(String::new()))
                }
            }));
            let mut request = post(path, kind(shape.script(sent)));
            let headers = request.headers_mut();
            headers.insert("content-type", content_type.parse().unwrap());
            if shape.content_length {
                headers.insert("content-length", sent.len().into());
            }
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{sent} {shape:?}");
            assert_eq!(layer.held_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn a_request_is_what_a_naive_splice_makes_of_it_in_every_shape() {
    check_requests(|script| script, true, 1).await;
}

#[tokio::test]
async fn data_may_be_of_any_kind_of_buffer() {
    // In two pieces that wrap around.
    let ring = |data: Bytes| {
        let mut ring = VecDeque::with_capacity(data.len() + 1);
        let (front, back) = data.split_at(data.len() / 2);
        ring.extend(back);
        front.iter().rev().for_each(|byte| ring.push_front(*byte));
        ring
    };
    check_requests(
        move |script| script.map_frame(move |frame| frame.map_data(ring)),
        false,
        7,
    )
    .await;
    let chain = |data: Bytes| {
        let (front, back) = (data.slice(..data.len() / 2), data.slice(data.len() / 2..));
        front.chain(Bytes::new()).chain(back)
    };
    check_requests(
        move |script| script.map_frame(move |frame| frame.map_data(chain)),
        false,
        7,
    )
    .await;
}

#[tokio::test]
async fn an_answer_with_its_name_restored_is_right_in_every_shape() {
    const JSON: &str = r#"{"id":"a","model":"0x10","choices":[{"model":"0x10"}]}"#;
    const EVENTS: &str = "data: {\"model\":\"0x10\",\"n\":1}\n\ndata: [DONE]\n\n";

    for restores in [true, false] {
        let layer = warm_layer(restores).await;
        for (content_type, sent) in [("application/json", JSON), ("text/event-stream", EVENTS)] {
            let served = match restores {
                true => sent.replacen("0x10", "Picture Maker", 1),
                false => sent.to_owned(),
            };
            for shape in Shape::all(sent.len()) {
                let service = layer.layer(service_fn(
                    async |request: Request<RoutedBody<Full<Bytes>>>| {
                        drop(request);
                        let response = Response::builder().header("content-type", content_type);
                        Ok::<_, Infallible>(response.body(shape.script(sent)).unwrap())
                    },
                ));
                let request = post(CHAT, Full::from(r#"{"model":"flux"}"#));
                let response = service.oneshot(request).await.unwrap();
                let body = response.into_body().map_err(|BodyError(error)| error);
                let read = read(body, &served, shape).await;
                if shape.fails {
                    assert!(served.as_bytes().starts_with(&read.bytes) || restores);
                    assert!(read.bytes.len() < served.len());
                } else {
                    assert_eq!(read.bytes, served.as_bytes(), "{shape:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_inner_service_may_read_as_much_as_it_likes_and_answer() {
    let layer = warm_layer(false).await;
    for frames in 0..6 {
        let service = layer.layer(service_fn(async |request: Request<RoutedBody<Script>>| {
            let mut body = request.into_body();
            for _ in 0..frames {
                body.frame().await.unwrap().unwrap();
            }
            Ok::<_, Infallible>(Response::new(String::from("early")))
        }));
        // What is wrong with the rest is nobody's business any more.
        let front = [r#"{"a":1,"#, r#""model":"flux","#, r#""b":2,"#];
        let body = Script::halting(&front.map(str::as_bytes));
        let alive = body.alive();
        let response = service.oneshot(post(CHAT, body)).await.unwrap();
        assert_eq!(response.status(), 200, "{frames}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "early");
        assert!(alive.upgrade().is_none());
        assert_eq!(layer.held_bytes(), 0);
    }
}
