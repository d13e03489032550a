//! The limits on held bytes, and their release.

use std::{convert::Infallible, task::Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_model_routing::{ModelRoutingLayer, Rejection, ResponseFuture, RoutedBody};
use tower_test::mock;

use crate::support::{
    body::{BodySender, ChannelBody, ScriptedBody, Step, channel, data},
    gateway::{CHAT, Gateway, post, post_form, warm_layer},
    source::{Outcome, ScriptedSource},
};

async fn limited(per_request: usize, total: usize) -> Gateway {
    Gateway::warm(|config| {
        config
            .max_held_bytes(per_request)
            .max_total_held_bytes(total)
    })
    .await
}

#[tokio::test]
async fn prefix_over_the_limit_is_413() {
    let gateway = limited(20, 100).await;
    let long = "x".repeat(200);
    for (frames, code) in [
        // Exactly the limit.
        (vec![r#"{"a":"0123456789abc""#, r#","model":"m"}"#], "ok"),
        (
            vec![r#"{"a":"0123456789abcd""#, r#","model":"m"}"#],
            "request_too_large",
        ),
        (
            vec![r#"{"a":"012345"#, r#"6789abcd""#, r#","model":"m"}"#],
            "request_too_large",
        ),
        // An incomplete model is held.
        (
            vec![r#"{"a":1,"model":"0123"#, r#"4"#, r#""}"#],
            "request_too_large",
        ),
        // The frame in which the model ends, and the rest, are not held.
        (vec![r#"{"model":"m","a":""#, &long, r#""}"#], "ok"),
        (vec![r#"{"a":""#, r#"0123456789abcdef","model":"m"}"#], "ok"),
        (vec![&format!(r#"{{"a":"{long}","model":"m"}}"#)], "ok"),
        // Without a model.
        (vec![r#"{"a":""#, &long, r#""}"#], "request_too_large"),
        (vec![r#"{"a":""#, r#"0123456789ab"#, r#""}"#], "ok"),
    ] {
        let body = ScriptedBody::pending_between(&frames);
        let (response, received) = gateway.send(post(CHAT, body)).await;
        assert_eq!(response.code(), code, "{frames:?}");
        assert_eq!(received.is_some(), code == "ok");
        if code != "ok" {
            assert_eq!(response.status(), 413);
            assert_eq!(response.header("retry-after"), None);
            assert!(String::from_utf8_lossy(&response.body).contains("20 bytes"));
        }
        assert_eq!(gateway.layer.held_bytes(), 0);
    }
}

#[tokio::test]
async fn form_is_held_only_up_to_its_model() {
    let gateway = limited(150, 1_000).await;
    let file = "x".repeat(300);
    let model = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";
    let file = format!("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{file}\r\n");
    for (form, code) in [
        (format!("{model}{file}--b--"), "ok"),
        (format!("{file}{model}--b--"), "request_too_large"),
    ] {
        let frames: Vec<_> = form.as_bytes().chunks(80).collect();
        let body = ScriptedBody::pending_between(&frames);
        let request = post_form("/v1/audio/transcriptions", body);
        let (response, received) = gateway.send(request).await;
        assert_eq!(response.code(), code);
        let received = received.map(|received| received.text().to_owned());
        let expected = (code == "ok").then(|| form.replace("whisper-1", "0x0d"));
        assert_eq!(received, expected);
    }
}

type Echo = BoxCloneService<Request<RoutedBody<ChannelBody>>, Response<Full<Bytes>>, Infallible>;

/// A call whose body is sent by hand.
struct Call {
    sender: BodySender,
    future: task::Spawn<ResponseFuture<Echo, ChannelBody>>,
}

impl Call {
    fn start(layer: &ModelRoutingLayer, prefix: &str) -> Self {
        let echo = service_fn(async |request: Request<RoutedBody<ChannelBody>>| {
            let body = request.into_body().collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Ok(Response::new(Full::from(body)))
        });
        let (sender, body) = channel();
        let mut service = layer.layer(BoxCloneService::new(echo));
        let future = task::spawn(service.call(post(CHAT, body)));
        let mut call = Self { sender, future };
        assert_eq!(call.send(prefix), None);
        call
    }

    /// Sends a frame. Returns the rejection's code or `"ok"`, if there is a response.
    fn send(&mut self, bytes: &str) -> Option<&'static str> {
        self.sender.data(bytes);
        match self.future.poll() {
            Poll::Pending => None,
            Poll::Ready(response) => {
                let response = response.unwrap();
                let rejection = response.extensions().get::<Rejection>();
                Some(rejection.map_or("ok", |rejection| rejection.code().as_str()))
            }
        }
    }
}

#[tokio::test]
async fn total_over_the_limit_is_503_until_bytes_are_released() {
    let gateway = limited(100, 20).await;
    let layer = &gateway.layer;
    let mut first = Call::start(layer, r#"{"a":"01234567"#);
    assert_eq!(layer.held_bytes(), 14);
    let mut second = Call::start(layer, r#"{"a":1"#);
    assert_eq!(layer.held_bytes(), 20);

    let body = ScriptedBody::pending_between(&["{", "}"]);
    let (response, _) = gateway.send(post(CHAT, body)).await;
    assert_eq!((response.status(), response.code()), (503, "overloaded"));
    assert_eq!(response.header("retry-after"), Some("1"));
    // A request whose model is in its first frame holds nothing.
    let (code, _) = gateway
        .post(CHAT, r#"{"model":"m","a":"0123456789"}"#)
        .await;
    assert_eq!(code, "ok");
    assert_eq!(layer.held_bytes(), 20, "a rejection reserves nothing");

    // The inner service has read the prefix.
    assert_eq!(first.send(r#"","model":"m""#), None);
    assert_eq!(layer.held_bytes(), 6);
    assert_eq!(second.send(r#","b":1"#), None);
    let third = Call::start(layer, r#"{"a":12"#);
    assert_eq!(layer.held_bytes(), 19);
    assert_eq!(second.send("23"), Some("overloaded"));
    assert_eq!(layer.held_bytes(), 7, "released with the response");
    drop(third);
    assert_eq!(layer.held_bytes(), 0);
    assert_eq!(first.send("}"), None);
    drop(first.sender);
    let response = first.future.poll().map(|response| response.unwrap());
    assert!(matches!(response, Poll::Ready(response) if response.status() == 200));
}

#[tokio::test]
async fn request_over_the_total_limit_is_413() {
    let gateway = limited(100, 10).await;
    let body = ScriptedBody::pending_between(&[r#"{"a":"01234"#, "5"]);
    let (response, _) = gateway.send(post(CHAT, body)).await;
    assert_eq!(
        response.code(),
        "request_too_large",
        "a retry would not help"
    );
}

#[tokio::test]
async fn released_on_cancellation_and_rejection() {
    let gateway = limited(100, 100).await;
    let layer = &gateway.layer;
    let call = Call::start(layer, r#"{"a":1,"#);
    assert_eq!(layer.held_bytes(), 7);
    drop(call);
    assert_eq!(layer.held_bytes(), 0);
    for (rest, code) in [
        ("]", "invalid_json"),
        (r#""MODEL":1}"#, "ambiguous_model"),
        (r#""model":1}"#, "invalid_model"),
        (r#""model":"whisper-1"}"#, "model_type_mismatch"),
    ] {
        let mut call = Call::start(layer, r#"{"a":1,"#);
        assert_eq!(call.send(rest), Some(code));
        assert_eq!(layer.held_bytes(), 0, "{code}");
    }
}

#[tokio::test]
async fn held_while_waiting_for_the_registry() {
    let gateway = Gateway::with_source(ScriptedSource::new(Outcome::Pending), |config| config);
    let layer = &gateway.layer;
    let mut call = Call::start(layer, r#"{"a":1,"#);
    assert_eq!(call.send(r#""model":"m"}"#), None);
    assert_eq!(layer.held_bytes(), 19, "including the last frame");
    drop(call);
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn released_as_the_inner_service_reads() {
    let layer = warm_layer().await;
    for reads in 0..=4 {
        let body = ScriptedBody::new([
            data(r#"{"a":1,"#),
            data(r#""b":22,"#),
            data(r#""model":"m","#),
            Step::Hang,
        ]);
        let (service, mut handle) = mock::pair::<_, Response<String>>();
        let mut call = task::spawn(layer.layer(service).oneshot(post(CHAT, body)));
        assert!(call.poll().is_pending());
        assert_eq!(layer.held_bytes(), 14);
        let (request, respond) = handle.next_request().await.unwrap();
        let mut body: RoutedBody<ScriptedBody> = request.into_body();
        for read in 0..reads {
            body.frame().await.unwrap().unwrap();
            let held = [7, 0, 0, 0][read];
            assert_eq!(layer.held_bytes(), held, "after {read}");
        }
        // Held until the body is dropped, response or not.
        respond.send_response(Response::new(String::new()));
        assert!(call.poll().is_ready());
        drop(call);
        assert_eq!(layer.held_bytes() > 0, reads < 2);
        drop(body);
        assert_eq!(layer.held_bytes(), 0);
    }
}

#[tokio::test]
async fn replaced_prefix_is_released_before_the_rest_arrives() {
    let layer = warm_layer().await;
    let (first, second) = (format!(r#"{{"model":"{}"#, "x".repeat(1000)), r#"x","a":"#);
    let body = ScriptedBody::new([data(&first), Step::Pending, data(second), Step::Hang]);
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let mut call = task::spawn(layer.layer(service).oneshot(post(CHAT, body)));
    while layer.held_bytes() == 0 {
        assert!(call.poll().is_pending());
    }
    while call.is_woken() {
        assert!(call.poll().is_pending());
    }
    let (request, _respond) = handle.next_request().await.unwrap();
    let mut body: RoutedBody<ScriptedBody> = request.into_body();
    for _ in 0..3 {
        body.frame().await.unwrap().unwrap();
    }
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn released_when_the_inner_service_panics() {
    let layer = warm_layer().await;
    let service = layer.layer(service_fn(async |_: Request<RoutedBody<ScriptedBody>>| {
        panic!("on purpose");
        #[expect(unreachable_code, reason = "for the type")]
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let body = ScriptedBody::pending_between(&[r#"{"a":1,"#, r#""model":"m"}"#]);
    let call = tokio::spawn(service.oneshot(post(CHAT, body)));
    assert!(call.await.unwrap_err().is_panic());
    assert_eq!(layer.held_bytes(), 0);
}
