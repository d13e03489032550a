//! Paths that are no inference endpoint: a model of the catalog is replaced, and the layer is never
//! worse than none.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{
    BoxError, MissingModel, OtherPaths, RoutedBody, RoutedModel, UnknownModel,
};

use crate::support::{
    body::{ScriptedBody, Step, data, trailers},
    gateway::{Gateway, post},
    source::{Outcome, ScriptedSource},
};

const CARS: &str = "/api/cars";
const NAMED: &str = r#"{"model":"venice-uncensored"}"#;
const ROUTED: &str = r#"{"model":"0xb603"}"#;

/// Posts a body frame by frame, and asserts that it arrives as it was sent, head included.
async fn assert_unchanged(gateway: &Gateway, frames: &[&[u8]]) {
    let sent = frames.concat();
    let steps = frames.iter().flat_map(|frame| [Step::Pending, data(frame)]);
    let body = ScriptedBody::new(steps.chain([Step::Trailers(trailers())]));
    let mut request = post(CARS, body);
    let headers = request.headers_mut();
    headers.insert("content-length", sent.len().into());
    headers.insert("digest", "sha-256=x".parse().unwrap());
    let headers = headers.clone();
    let (response, received) = gateway.send(request).await;
    let shown = String::from_utf8_lossy(&sent[..sent.len().min(100)]);
    assert_eq!(response.code(), "ok", "{shown}");
    let received = received.unwrap();
    assert_eq!(received.body.as_deref(), Ok(&*sent), "{shown}");
    assert_eq!(received.head.headers, headers);
    assert_eq!(received.trailers, Some(trailers()));
    assert!(received.head.extensions.get::<RoutedModel>().is_none());
    assert_eq!(gateway.layer.held_bytes(), 0);
}

#[tokio::test]
async fn body_that_names_no_model_of_the_catalog_arrives_as_sent() {
    let bodies: [&[u8]; 20] = [
        br#"{"model":"Golf"}"#,
        br#"{"model":"Golf","Model":"x"}"#,
        br#"{"model":"Golf","model":"venice-uncensored"}"#,
        br#"{"model":"Golf",}"#,
        br#"{"model":"Golf"}{}"#,
        br#"{"Model":"x","model":"venice-uncensored"}"#,
        br#"{"model":"venice-uncensord"}"#,
        br#"{"model":null,"model":"venice-uncensored"}"#,
        br#"{"model":""}"#,
        br#"{"model":7}"#,
        br#"{"model":["venice-uncensored"]}"#,
        br#"{"model":"\ud800"}"#,
        br#"{"model":"\q"}"#,
        b"{}",
        b"{",
        b"",
        b" ",
        b"[1]",
        b"not JSON",
        b"\xff\xfe{\0",
    ];
    for unknown in [
        UnknownModel::Fallback,
        UnknownModel::Suggest,
        UnknownModel::Reject,
    ] {
        let gateway = Gateway::with(|config| {
            let config = config.missing_model(MissingModel::Reject);
            config.unknown_model(unknown)
        });
        for body in bodies {
            assert_unchanged(&gateway, &[body]).await;
            let bytes: Vec<_> = body.chunks(1).collect();
            assert_unchanged(&gateway, &bytes).await;
        }
    }
}

#[tokio::test]
async fn model_of_the_catalog_is_replaced_whatever_its_type() {
    let gateway = Gateway::new();
    for (name, id) in [
        ("Venice-Uncensored", "0xb603"),
        ("0XB603", "0xb603"),
        ("text-embedding-bge-m3", "0x0b"),
        ("whisper-1", "0x0d"),
        ("flux", "0x10"),
    ] {
        let sent = format!(r#"{{"a":1,"model":"{name}","b":2}}"#);
        let served = format!(r#"{{"a":1,"model":"{id}","b":2}}"#);
        assert_eq!(gateway.post(CARS, sent).await, ("ok", Some(served)));
    }
}

#[tokio::test]
async fn after_a_replaced_model_the_body_must_be_valid() {
    let gateway = Gateway::new();
    for (rest, code) in [
        (r#","Model":"x"}"#, "ambiguous_model"),
        (r#","model":"Golf"}"#, "duplicate_model"),
        (",}", "invalid_json"),
        ("", "invalid_json"),
    ] {
        let start = r#"{"model":"venice-uncensored""#;
        let whole = ScriptedBody::new([data(format!("{start}{rest}"))]);
        let cut = ScriptedBody::pending_between(&[start, rest]);
        for body in [whole, cut] {
            let (response, received) = gateway.send(post(CARS, body)).await;
            assert_eq!(response.code(), code, "{rest}");
            assert!(received.is_none_or(|received| received.body.is_err()));
        }
    }
}

#[tokio::test]
async fn body_error_reaches_the_inner_service() {
    let body = ScriptedBody::new([data(r#"{"model""#), Step::Error("reset")]);
    let (response, received) = Gateway::new().send(post(CARS, body)).await;
    assert_eq!(response.status(), 502);
    assert_eq!(received.unwrap().body, Err("reset".into()));
}

/// Sends a body to an inner service that reads it. Returns what arrived, and after what time the
/// inner service was called.
async fn send_timed<B>(gateway: &Gateway, body: B) -> (Bytes, Duration)
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let start = Instant::now();
    let inner = service_fn(move |request: Request<RoutedBody<B>>| async move {
        let held = start.elapsed();
        let body = request.into_body().collect().await?.to_bytes();
        let mut response = Response::new(Full::<Bytes>::from(body));
        response.extensions_mut().insert(held);
        Ok::<_, BoxError>(response)
    });
    let service = gateway.layer.layer(inner);
    let response = service.oneshot(post(CARS, body)).await.unwrap();
    assert_eq!(gateway.layer.held_bytes(), 0);
    let held = *response.extensions().get::<Duration>().unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (body, held)
}

/// Returns a body of these frames, with this pause before each but the first.
fn paced(
    frames: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>,
    pause: Duration,
) -> impl Body<Data = Bytes, Error = Infallible> + Send {
    let frames = stream::iter(frames.into_iter().enumerate());
    let frames = frames.then(move |(index, frame)| async move {
        if index > 0 {
            sleep(pause).await;
        }
        Ok(Frame::data(frame))
    });
    StreamBody::new(frames)
}

fn is_a_second(time: Duration) -> bool {
    // Tokio's timers have a resolution of one millisecond.
    (Duration::from_secs(1)..=Duration::from_millis(1_002)).contains(&time)
}

#[tokio::test(start_paused = true)]
async fn slow_body_is_held_for_a_second() {
    let gateway = Gateway::warm(|config| config).await;
    let slow = Duration::from_millis(100);
    // No progress extends the second.
    let fast = Bytes::from("x".repeat(4 << 10));
    for frame in [Bytes::from_static(b"x"), fast] {
        let frames: Vec<_> = std::iter::once(Bytes::from_static(b"{\"a\":\""))
            .chain(std::iter::repeat_n(frame, 13))
            .chain([Bytes::from_static(b"\",\"model\":\"venice-uncensored\"}")])
            .collect();
        let sent = frames.concat();
        let (received, held) = send_timed(&gateway, paced(frames, slow)).await;
        assert_eq!(received, sent);
        assert!(is_a_second(held), "{held:?}");
    }
    // A model within the second is replaced.
    let frames = [b"{\"model\":\"venice-" as &[u8], b"uncensored\"}"].map(Bytes::from_static);
    let (received, held) = send_timed(&gateway, paced(frames, slow)).await;
    assert_eq!((&*received, held < slow * 2), (ROUTED.as_bytes(), true));
}

#[tokio::test(start_paused = true)]
async fn registry_that_is_down_or_slow_delays_no_request_for_more_than_a_second() {
    let failing = ScriptedSource::new(Outcome::Failure);
    let gateway = Gateway::with_source(failing, |config| config);
    for _ in 0..2 {
        let (received, held) = send_timed(&gateway, Full::<Bytes>::from(NAMED)).await;
        assert_eq!((&*received, held), (NAMED.as_bytes(), Duration::ZERO));
    }

    let hanging = ScriptedSource::new(Outcome::Pending);
    let gateway = Gateway::with_source(hanging, |config| config);
    let (received, held) = send_timed(&gateway, Full::<Bytes>::from(NAMED)).await;
    assert_eq!(received, NAMED);
    assert!(is_a_second(held), "{held:?}");
    // The second is for the body and the catalog together.
    let frames = [b"{\"model\":\"venice-" as &[u8], b"uncensored\"}"].map(Bytes::from_static);
    let body = paced(frames, Duration::from_millis(700));
    let (received, held) = send_timed(&gateway, body).await;
    assert_eq!(received, NAMED);
    assert!(is_a_second(held), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn expired_catalog_is_used_after_the_second() {
    let source = ScriptedSource::with_models();
    let gateway =
        Gateway::with_source(source.clone(), |config| config.ttl(Duration::from_secs(60)));
    gateway.layer.registry().refresh().await.unwrap();
    source.set_outcome(Outcome::Pending);
    sleep(Duration::from_secs(120)).await;
    let (received, held) = send_timed(&gateway, Full::<Bytes>::from(NAMED)).await;
    assert_eq!(received, ROUTED);
    assert!(is_a_second(held), "{held:?}");
}

#[tokio::test]
async fn body_is_read_for_64_kib() {
    let gateway = Gateway::new();
    let with_model_end_at = |end: usize| {
        let padding = " ".repeat(end - NAMED.len() + 1);
        NAMED.replacen('{', &format!("{{{padding}"), 1)
    };
    for (end, is_replaced) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        let sent = with_model_end_at(end);
        let served = sent.replace("venice-uncensored", "0xb603");
        let expected = if is_replaced { &served } else { &sent };
        let (code, received) = gateway.post(CARS, sent.clone()).await;
        assert_eq!((code, received.as_ref()), ("ok", Some(expected)), "{end}");
        let frames: Vec<_> = sent.as_bytes().chunks(1_000).collect();
        let body = ScriptedBody::pending_between(&frames);
        let (_, received) = gateway.send(post(CARS, body)).await;
        assert_eq!(received.unwrap().text(), expected, "{end}");
    }
}

#[tokio::test]
async fn upload_of_200_mb_streams_through() {
    const FRAME: usize = 64 << 10;
    const FRAMES: usize = 3_200;

    let gateway = Gateway::warm(|config| config.max_total_held_bytes(2 * FRAME)).await;
    let layer = gateway.layer.clone();
    let inner = service_fn(|request: Request<RoutedBody<_>>| {
        let layer = layer.clone();
        async move {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(frame) = body.frame().await {
                count += frame?.into_data().map_or(0, |data| data.len());
                assert!(layer.held_bytes() <= FRAME);
            }
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(count.to_string())))
        }
    });
    let frame = Bytes::from(vec![b'"'; FRAME]);
    let start = Bytes::from_static(b"{\"model\":7,\"a\":[");
    for start in [start, frame.clone()] {
        let frames = std::iter::once(start.clone())
            .chain(std::iter::repeat_n(frame.clone(), FRAMES))
            .map(|frame| Ok::<_, Infallible>(Frame::data(frame)));
        let body = StreamBody::new(stream::iter(frames));
        let service = gateway.layer.layer(inner);
        let response = service.oneshot(post(CARS, body)).await.unwrap();
        let count = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(count, (start.len() + FRAMES * FRAME).to_string());
    }
}

#[tokio::test]
async fn full_buffer_budget_passes_the_request() {
    let gateway = Gateway::warm(|config| config.max_total_held_bytes(10)).await;
    let frames = [r#"{"a":"0123456789","#, r#""model":"venice-uncensored"}"#];
    assert_unchanged(&gateway, &frames.map(str::as_bytes)).await;
}

#[tokio::test]
async fn unknown_name_fetches_nothing() {
    let gateway = Gateway::warm(|config| config.miss_refresh(Duration::ZERO)).await;
    gateway.post(CARS, r#"{"model":"Golf"}"#).await;
    assert_eq!(gateway.source.fetches(), 1);
}

#[tokio::test]
async fn pass_leaves_every_body_unread() {
    let gateway = Gateway::with(|config| config.other_paths(OtherPaths::Pass));
    let body = r#"{"model":"venice-uncensored","model":"#;
    assert_unchanged(&gateway, &[body.as_bytes()]).await;
    assert_eq!(gateway.source.fetches(), 0);
    let inference = gateway.post("/v1/chat/completions", NAMED).await;
    assert_eq!(inference, ("ok", Some(ROUTED.into())));
    let forms = gateway.post("/v1/images/edits", NAMED).await;
    assert_eq!(forms, ("ok", Some(ROUTED.into())));
}
