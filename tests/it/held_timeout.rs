//! Slow requests time out while their model is unknown.

use std::{convert::Infallible, iter, ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::{Instant, sleep};
use tokio_test::task;
use tower_model_routing::BoxError;

use crate::support::{
    body::{ScriptedBody, Step, data},
    gateway::{CHAT, Gateway, post, post_form},
};

const SPEECH: &str = "/v1/audio/transcriptions";
const FORM_START: &str =
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
const FORM_END: &str = "\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\
                        whisper-1\r\n--b--\r\n";
const JSON_START: &str = r#"{"a":""#;
const JSON_END: &str = r#"","model":"venice-uncensored"}"#;

type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn default_gateway() -> Gateway {
    Gateway::warm(|config| config).await
}

/// Returns a body of these frames, each after its pause.
fn paced(frames: impl IntoIterator<Item = (Duration, Bytes), IntoIter: Send + 'static>) -> BoxBody {
    let frames = stream::iter(frames).then(|(pause, frame)| async move {
        sleep(pause).await;
        Ok::<_, Infallible>(Frame::data(frame))
    });
    StreamBody::new(frames).map_err(Into::into).boxed_unsync()
}

/// Returns a body of `start` at once, then `frame` every second.
fn paced_from(start: &'static str, frame: impl Into<Bytes>) -> BoxBody {
    let frames = iter::repeat((seconds(1), frame.into()));
    paced(iter::once((Duration::ZERO, start.into())).chain(frames))
}

fn hanging_after(start: &str) -> ScriptedBody {
    ScriptedBody::new([data(start), Step::Hang])
}

/// Sends a request. Returns the rejection's code or `"ok"`, and the time it took.
async fn send<B>(gateway: &Gateway, request: Request<B>) -> (&'static str, Duration)
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let start = Instant::now();
    let (response, received) = gateway.send(request).await;
    if response.code() != "ok" {
        assert!(received.is_none(), "the inner service was called");
        assert_eq!(gateway.layer.held_bytes(), 0);
    }
    // Tokio's timers have a resolution of one millisecond.
    let millis = start.elapsed().as_millis() as u64;
    (response.code(), Duration::from_millis(millis))
}

fn about(time: Duration) -> RangeInclusive<Duration> {
    time..=time + Duration::from_millis(2)
}

#[tokio::test(start_paused = true)]
async fn stalled_body_is_408_after_the_timeout() {
    let gateway = default_gateway().await;
    let stalled = [
        post(CHAT, hanging_after("")),
        post(CHAT, hanging_after("{")),
        post(CHAT, hanging_after(r#"{"a":"b","#)),
        post(CHAT, hanging_after(r#"{"model":"venice-unc"#)),
        post("/v1/images/edits", hanging_after("{")),
        post_form(SPEECH, hanging_after(FORM_START)),
        post_form(SPEECH, hanging_after(&FORM_END[2..70])),
    ];
    let stalled =
        stalled.map(|request| request.map(|body| body.map_err(Into::into).boxed_unsync()));
    let slow = "x".repeat(15 * 1024);
    let slow = [
        post(CHAT, paced_from(JSON_START, "x")),
        post_form(SPEECH, paced_from(FORM_START, "x")),
        // Less than 16 KiB/s.
        post(CHAT, paced_from(JSON_START, slow)),
    ];
    for request in stalled.into_iter().chain(slow) {
        let (code, time) = send(&gateway, request).await;
        assert_eq!(code, "request_timeout");
        assert!(about(seconds(30)).contains(&time), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_names_the_remedy() {
    let timeout = Some(Duration::from_millis(1_500));
    let gateway = Gateway::warm(|config| config.held_timeout(timeout)).await;
    let (response, _) = gateway.send(post(CHAT, hanging_after("{"))).await;
    assert_eq!(response.status(), 408);
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["error"]["code"], "request_timeout");
    assert_eq!(body["error"]["type"], "invalid_request_error");
    let message = body["error"]["message"].as_str().unwrap();
    for part in ["1.5s", "Send \"model\" before", "held_timeout"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn suspended_process_rejects_no_request() {
    let gateway = default_gateway().await;
    let frames = [
        (Duration::ZERO, JSON_START.into()),
        (seconds(41), JSON_END.into()),
    ];
    let mut send = task::spawn(send(&gateway, post(CHAT, paced(frames))));
    assert!(send.poll().is_pending());
    tokio::time::advance(seconds(40)).await;
    assert_eq!(send.await.0, "ok");
}

#[tokio::test(start_paused = true)]
async fn progress_extends_the_timeout_once() {
    let gateway = default_gateway().await;
    let long = "x".repeat(1 << 20);
    let body = ScriptedBody::new([data(JSON_START), data(&long), Step::Hang]);
    let (code, time) = send(&gateway, post(CHAT, body)).await;
    assert_eq!(code, "request_timeout");
    assert!(about(seconds(60)).contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn steady_upload_has_no_timeout() {
    let gateway = default_gateway().await;
    let frame = Bytes::from(vec![b'x'; 17 * 1024]);
    for (start, end) in [(JSON_START, JSON_END), (FORM_START, FORM_END)] {
        let frames = iter::repeat_n(frame.clone(), 600);
        let frames = iter::once(start.into()).chain(frames).chain([end.into()]);
        let body = paced(frames.map(|frame| (seconds(1), frame)));
        let request = match start {
            FORM_START => post_form(SPEECH, body),
            _ => post(CHAT, body),
        };
        let (code, time) = send(&gateway, request).await;
        assert_eq!(code, "ok");
        assert!(time > seconds(600));
    }
}

#[tokio::test(start_paused = true)]
async fn no_timeout_after_the_model_or_when_disabled() {
    let paused = |start: &'static str, end: &'static str| {
        paced([(Duration::ZERO, start.into()), (seconds(3_600), end.into())])
    };
    let gateway = default_gateway().await;
    let known = paused(r#"{"model":"venice-uncensored""#, "}");
    assert_eq!(send(&gateway, post(CHAT, known)).await.0, "ok");
    let gateway = Gateway::warm(|config| config.held_timeout(None)).await;
    let unknown = paused(JSON_START, JSON_END);
    assert_eq!(send(&gateway, post(CHAT, unknown)).await.0, "ok");
}

#[tokio::test(start_paused = true)]
async fn registry_wait_does_not_count() {
    let gateway = Gateway::with(|config| {
        config
            .held_timeout(Some(seconds(1)))
            .fetch_timeout(seconds(60))
    });
    gateway.source.set_delay(seconds(50));
    let body = ScriptedBody::pending_between(&[JSON_START, JSON_END]);
    let (code, time) = send(&gateway, post(CHAT, body)).await;
    assert_eq!(code, "ok");
    assert!(time >= seconds(50));
}

#[test]
fn complete_body_needs_no_timer_and_incomplete_body_no_runtime() {
    let runtime = |with_time: bool| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        if with_time {
            builder.enable_time();
        }
        builder.build().unwrap()
    };
    let gateway = runtime(true).block_on(default_gateway());
    // A timer would panic here.
    let body = format!("{JSON_START}{JSON_END}");
    let (code, _) = runtime(false).block_on(gateway.post(CHAT, body));
    assert_eq!(code, "ok");
    let mut call = task::spawn(gateway.send(post(CHAT, hanging_after("{"))));
    assert!(call.poll().is_pending());
}

#[tokio::test(start_paused = true)]
async fn model_after_the_timeout_is_408_even_if_the_uri_names_it() {
    const URI: &str = "/openai/deployments/venice-uncensored/chat/completions";

    let gateway = default_gateway().await;
    for (end, code) in [(JSON_END, "request_timeout"), (r#""}"#, "ok")] {
        let frames = [
            (Duration::ZERO, JSON_START.into()),
            (seconds(60), end.into()),
        ];
        let (response, _) = gateway.send(post(URI, paced(frames))).await;
        assert_eq!(response.code(), code, "{end}");
    }
}
