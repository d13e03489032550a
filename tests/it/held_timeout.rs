//! How long a body may be held, on paused time.

use std::{convert::Infallible, iter, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use tokio::time::{Instant, sleep};
use tokio_test::task;
use tower_model_routing::{BoxError, RoutingConfigBuilder};

use crate::support::{
    body::{Script, Step, data},
    gateway::{CHAT, Gateway, post},
};

const SPEECH: &str = "/v1/audio/transcriptions";
const FORM_FRONT: &str =
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
const FORM_END: &str = "\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\
                        whisper-1\r\n--b--\r\n";
const JSON_FRONT: &str = r#"{"a":""#;
const JSON_END: &str = r#"","model":"venice-uncensored"}"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn warm(configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder) -> Gateway {
    let gateway = Gateway::with(configure);
    gateway.layer.registry().refresh().await.unwrap();
    gateway
}

fn form<B>(body: B) -> Request<B> {
    let mut request = post(SPEECH, body);
    let content_type = "multipart/form-data; boundary=b".parse().unwrap();
    request.headers_mut().insert("content-type", content_type);
    request
}

/// These frames, each after a pause of its own.
fn paced(
    frames: impl IntoIterator<Item = (Duration, Bytes), IntoIter: Send + 'static>,
) -> impl Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + Unpin + 'static {
    let frames = stream::iter(frames).then(|(pause, frame)| async move {
        sleep(pause).await;
        Ok::<_, Infallible>(Frame::data(frame))
    });
    StreamBody::new(Box::pin(frames))
}

/// Sends it; the code, and after how long it was there.
async fn code_after<B>(gateway: &Gateway, request: Request<B>) -> (&'static str, Duration)
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let start = Instant::now();
    let (answer, seen) = gateway.send(request).await;
    if answer.code() != "ok" {
        assert!(seen.is_none(), "the inner service was called");
        assert_eq!(gateway.layer.held_bytes(), 0);
    }
    // Tokio's timers are true to the millisecond.
    let millis = start.elapsed().as_millis() as u64;
    (answer.code(), Duration::from_millis(millis))
}

fn stops(front: &str) -> Script {
    Script::new([data(front), Step::Hang])
}

fn about(time: Duration) -> std::ops::RangeInclusive<Duration> {
    time..=time + Duration::from_millis(2)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_before_its_model_is_a_408_in_time() {
    let gateway = warm(|config| config).await;
    for request in [
        post(CHAT, stops("")),
        post(CHAT, stops("{")),
        post(CHAT, stops(r#"{"a":"b","#)),
        post(CHAT, stops(r#"{"model":"venice-unc"#)),
        post("/v1/elsewhere", stops("{")),
        form(stops(FORM_FRONT)),
        form(stops(&FORM_END[2..70])),
    ] {
        let (code, time) = code_after(&gateway, request).await;
        assert_eq!(code, "request_timeout");
        assert!(about(seconds(30)).contains(&time), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_says_what_to_do() {
    let gateway = warm(|config| config.held_timeout(Some(Duration::from_millis(1_500)))).await;
    let (answer, _) = gateway.send(post(CHAT, stops("{"))).await;
    assert_eq!(answer.status(), 408);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "request_timeout");
    assert_eq!(body["error"]["type"], "invalid_request_error");
    let message = body["error"]["message"].as_str().unwrap();
    for part in ["1.5s", "Send \"model\" before", "held_timeout"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_has_no_longer_than_one_that_stops() {
    let gateway = warm(|config| config).await;
    let drops = || iter::repeat((seconds(1), Bytes::from_static(b"x")));
    let json = iter::once((Duration::ZERO, JSON_FRONT.into())).chain(drops());
    let form_data = iter::once((Duration::ZERO, FORM_FRONT.into())).chain(drops());
    for request in [
        post(CHAT, paced(json)).map(boxed),
        form(paced(form_data)).map(boxed),
    ] {
        let (code, time) = code_after(&gateway, request).await;
        assert_eq!(code, "request_timeout");
        assert!(about(seconds(30)).contains(&time), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_is_refused_when_its_time_is_over() {
    let gateway = warm(|config| config).await;
    let piece = Bytes::from("x".repeat(15 * 1024));
    let pieces = iter::repeat((seconds(1), piece));
    let body = iter::once((Duration::ZERO, JSON_FRONT.into())).chain(pieces);
    let (code, time) = code_after(&gateway, post(CHAT, paced(body))).await;
    assert_eq!(code, "request_timeout");
    assert!(about(seconds(30)).contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_suspended_refuses_nobody_for_it() {
    let gateway = warm(|config| config).await;
    let pieces = [
        (Duration::ZERO, JSON_FRONT.into()),
        (seconds(41), JSON_END.into()),
    ];
    let send = code_after(&gateway, post(CHAT, paced(pieces)));
    let mut send = task::spawn(send);
    assert!(send.poll().is_pending());
    tokio::time::advance(seconds(40)).await;
    let (code, _) = send.await;
    assert_eq!(code, "ok");
}

fn boxed<B>(body: B) -> http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    use http_body_util::BodyExt;

    body.map_err(Into::into).boxed_unsync()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_after_much_of_it_came_has_one_turn_more() {
    let gateway = warm(|config| config).await;
    let much = "x".repeat(1 << 20);
    let body = Script::new([data(JSON_FRONT), data(&much), Step::Hang]);
    let (code, time) = code_after(&gateway, post(CHAT, body)).await;
    assert_eq!(code, "request_timeout");
    assert!(about(seconds(60)).contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_body_on_a_slow_line_gets_through_with_its_model_last() {
    let gateway = warm(|config| config).await;
    let piece = Bytes::from(vec![b'x'; 17 * 1024]);
    for (front, end, is_form) in [(JSON_FRONT, JSON_END, false), (FORM_FRONT, FORM_END, true)] {
        let pieces = iter::repeat_n((seconds(1), piece.clone()), 600);
        let end = (seconds(1), Bytes::from_static(end.as_bytes()));
        let front = (seconds(1), Bytes::from_static(front.as_bytes()));
        let body = boxed(paced(iter::once(front).chain(pieces).chain([end])));
        let request = if is_form {
            form(body)
        } else {
            post(CHAT, body)
        };
        let (code, time) = code_after(&gateway, request).await;
        assert_eq!(code, "ok");
        assert!(time > seconds(600));
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_no_limit_once_the_model_is_known_or_where_there_is_to_be_none() {
    let slow = |front: &str, end: &str| {
        let frames = [front, end].map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let pauses = [Duration::ZERO, seconds(3_600)];
        paced(iter::zip(pauses, frames))
    };
    let gateway = warm(|config| config).await;
    let known = slow(r#"{"model":"venice-uncensored""#, "}");
    assert_eq!(code_after(&gateway, post(CHAT, known)).await.0, "ok");
    let gateway = warm(|config| config.held_timeout(None)).await;
    let unknown = slow(JSON_FRONT, JSON_END);
    assert_eq!(code_after(&gateway, post(CHAT, unknown)).await.0, "ok");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_registry_is_not_the_clients() {
    let gateway = Gateway::with(|config| {
        config
            .held_timeout(Some(seconds(1)))
            .fetch_timeout(seconds(60))
    });
    gateway.source.takes(seconds(50));
    let body = Script::halting(&[JSON_FRONT, JSON_END]);
    let (code, time) = code_after(&gateway, post(CHAT, body)).await;
    assert_eq!(code, "ok");
    assert!(time >= seconds(50));
}

#[test]
fn a_body_that_is_there_needs_no_timer_and_one_that_is_not_needs_no_runtime() {
    let runtime = |with_time: bool| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        if with_time {
            builder.enable_time();
        }
        builder.build().unwrap()
    };
    let gateway = runtime(true).block_on(warm(|config| config));
    // A timer would panic here.
    let body = format!("{JSON_FRONT}{JSON_END}");
    let (code, _) = runtime(false).block_on(gateway.post(CHAT, body));
    assert_eq!(code, "ok");
    let mut call = task::spawn(gateway.send(post(CHAT, stops("{"))));
    assert!(call.poll().is_pending());
}
