//! The bounds on held bytes, and that they are given back in every path.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_test::task;
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{ModelRouting, ModelRoutingLayer, Rejection, ResponseFuture, RoutedBody};
use tower_test::mock;

use crate::support::{
    body::{Fed, Feed, Script, Step, data, fed},
    gateway::{CHAT, Gateway, layer, post},
    source::{Answer, Source},
};

fn bounded(of_one: usize, of_all: usize) -> Gateway {
    Gateway::with(|config| config.max_held_bytes(of_one).max_total_held_bytes(of_all))
}

#[tokio::test]
async fn a_front_past_the_bound_is_a_413() {
    let gateway = bounded(20, 100);
    let long = "x".repeat(200);
    for (frames, code) in [
        // Exactly the bound is held.
        (vec![r#"{"a":"0123456789abc""#, r#","model":"m"}"#], "ok"),
        (
            vec![r#"{"a":"0123456789abcd""#, r#","model":"m"}"#],
            "request_too_large",
        ),
        (
            vec![r#"{"a":"012345"#, r#"6789abcd""#, r#","model":"m"}"#],
            "request_too_large",
        ),
        // An unfinished model is held.
        (
            vec![r#"{"a":1,"model":"0123"#, r#"4"#, r#""}"#],
            "request_too_large",
        ),
        // What need not be held is not bounded.
        (vec![r#"{"model":"m","a":""#, &long, r#""}"#], "ok"),
        (vec![r#"{"a":""#, r#"0123456789abcdef","model":"m"}"#], "ok"),
        (vec![&format!(r#"{{"a":"{long}","model":"m"}}"#)], "ok"),
        // There is no model to be found.
        (vec![r#"{"a":""#, &long, r#""}"#], "request_too_large"),
        (vec![r#"{"a":""#, r#"0123456789ab"#, r#""}"#], "ok"),
    ] {
        let (answer, seen) = gateway.send(post(CHAT, Script::halting(&frames))).await;
        assert_eq!(answer.code(), code, "{frames:?}");
        assert_eq!(seen.is_some(), code == "ok");
        if code != "ok" {
            assert_eq!(answer.status(), 413);
            assert_eq!(answer.header("retry-after"), None);
            assert!(String::from_utf8_lossy(&answer.body).contains("20 bytes"));
        }
        assert_eq!(gateway.layer.held_bytes(), 0);
    }
}

/// A call whose body is sent by hand.
struct Call {
    feed: Feed,
    future: task::Spawn<ResponseFuture<Echo, Fed>>,
}

type Echo =
    tower::util::BoxCloneService<Request<RoutedBody<Fed>>, Response<Full<Bytes>>, Infallible>;

fn echo(layer: &ModelRoutingLayer) -> ModelRouting<Echo> {
    let echo = service_fn(async |request: Request<RoutedBody<Fed>>| {
        let body = request.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Response::new(Full::from(body)))
    });
    layer.layer(tower::util::BoxCloneService::new(echo))
}

impl Call {
    fn start(layer: &ModelRoutingLayer, front: &str) -> Self {
        let (feed, body) = fed();
        let mut service = echo(layer);
        let future = tower::Service::call(&mut service, post(CHAT, body));
        let mut call = Self {
            feed,
            future: task::spawn(future),
        };
        assert_eq!(call.send(front), None);
        call
    }

    /// Sends some more; the rejection's code or `"ok"`, if there is an answer.
    fn send(&mut self, bytes: &str) -> Option<&'static str> {
        self.feed.data(bytes);
        self.poll().map(|response| {
            let rejection = response.extensions().get::<Rejection>();
            rejection.map_or("ok", |rejection| rejection.code().as_str())
        })
    }

    fn poll(&mut self) -> Option<Response<tower_model_routing::ResponseBody<Full<Bytes>>>> {
        match self.future.poll() {
            std::task::Poll::Ready(response) => Some(response.unwrap()),
            std::task::Poll::Pending => None,
        }
    }
}

#[tokio::test]
async fn past_the_bound_for_all_requests_it_is_a_503_until_there_is_room() {
    let gateway = bounded(100, 20);
    let layer = &gateway.layer;
    layer.registry().refresh().await.unwrap();
    let mut first = Call::start(layer, r#"{"a":"01234567"#);
    assert_eq!(layer.held_bytes(), 14);
    let mut second = Call::start(layer, r#"{"a":1"#);
    assert_eq!(layer.held_bytes(), 20);

    let (answer, _) = gateway.send(post(CHAT, Script::halting(&["{", "}"]))).await;
    assert_eq!((answer.status(), answer.code()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    // What need not be held goes through.
    assert_eq!(
        gateway
            .post(CHAT, r#"{"model":"m","a":"0123456789"}"#)
            .await
            .0,
        "ok"
    );
    assert_eq!(layer.held_bytes(), 20, "a refusal takes nothing");

    // Once the model is found, the front is on its way.
    assert_eq!(first.send(r#"","model":"m""#), None);
    assert_eq!(layer.held_bytes(), 6);
    assert_eq!(second.send(r#","b":1"#), None);
    let third = Call::start(layer, r#"{"a":12"#);
    assert_eq!(layer.held_bytes(), 19);
    assert_eq!(second.send("23"), Some("overloaded"));
    assert_eq!(layer.held_bytes(), 7, "given back with the answer");
    drop(third);
    assert_eq!(layer.held_bytes(), 0);
    assert_eq!(first.send("}"), None);
    drop(first.feed);
    assert_eq!(
        first.future.poll().map(|r| r.unwrap().status().as_u16()),
        std::task::Poll::Ready(200)
    );
}

#[tokio::test]
async fn the_bound_for_all_bounds_one_too() {
    let gateway = bounded(100, 10);
    let body = Script::halting(&[r#"{"a":"01234"#, "5"]);
    let (answer, _) = gateway.send(post(CHAT, body)).await;
    assert_eq!(
        answer.code(),
        "request_too_large",
        "it would never find room"
    );
}

#[tokio::test]
async fn held_bytes_are_given_back_when_a_call_is_dropped_or_refused() {
    let gateway = bounded(100, 100);
    let layer = &gateway.layer;
    layer.registry().refresh().await.unwrap();
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
async fn held_bytes_stay_held_while_the_registry_is_waited_for() {
    let gateway = Gateway::of(Source::new(Answer::Hangs), |config| config);
    let layer = &gateway.layer;
    let mut call = Call::start(layer, r#"{"a":1,"#);
    assert_eq!(call.send(r#""model":"m"}"#), None);
    assert!(layer.held_bytes() >= 7);
    drop(call);
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn held_bytes_are_given_back_frame_by_frame_as_the_inner_service_reads() {
    let layer = layer(&Source::of_models(), |config| config);
    layer.registry().refresh().await.unwrap();
    let body = || {
        Script::new([
            data(r#"{"a":1,"#),
            data(r#""b":22,"#),
            data(r#""model":"m","#),
            Step::Hang,
        ])
    };
    for reads in 0..=4 {
        let (service, mut handle) = mock::pair::<_, Response<String>>();
        let mut call = task::spawn(layer.layer(service).oneshot(post(CHAT, body())));
        assert!(call.poll().is_pending());
        assert_eq!(layer.held_bytes(), 14);
        let (request, respond) = handle.next_request().await.unwrap();
        let mut body: RoutedBody<Script> = request.into_body();
        for read in 0..reads {
            body.frame().await.unwrap().unwrap();
            let left = [7, 0, 0, 0][read];
            assert_eq!(layer.held_bytes(), left, "after {read}");
        }
        // The answer does not end the holding, but the end of the body does.
        respond.send_response(Response::new(String::new()));
        assert!(call.poll().is_ready());
        drop(call);
        assert_eq!(layer.held_bytes() > 0, reads < 2);
        drop(body);
        assert_eq!(layer.held_bytes(), 0);
    }
}

#[tokio::test]
async fn a_front_that_gets_shorter_is_given_back_while_the_rest_is_still_to_come() {
    let layer = layer(&Source::of_models(), |config| config);
    layer.registry().refresh().await.unwrap();
    let (first, second) = (format!(r#"{{"model":"{}"#, "x".repeat(1000)), r#"x","a":"#);
    let body = Script::new([data(&first), Step::Pending, data(second), Step::Hang]);
    let (service, mut handle) = mock::pair::<_, Response<String>>();
    let mut call = task::spawn(layer.layer(service).oneshot(post(CHAT, body)));
    while layer.held_bytes() == 0 {
        assert!(call.poll().is_pending());
    }
    while call.is_woken() {
        assert!(call.poll().is_pending());
    }
    let (request, _respond) = handle.next_request().await.unwrap();
    let mut body: RoutedBody<Script> = request.into_body();
    for _ in 0..3 {
        body.frame().await.unwrap().unwrap();
    }
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn held_bytes_are_given_back_when_the_inner_service_panics() {
    let layer = layer(&Source::of_models(), |config| config);
    let service = layer.layer(service_fn(async |_: Request<RoutedBody<Script>>| {
        panic!("on purpose");
        #[expect(unreachable_code, reason = "for the type")]
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let body = Script::halting(&[r#"{"a":1,"#, r#""model":"m"}"#]);
    let call = tokio::spawn(service.oneshot(post(CHAT, body)));
    assert!(call.await.unwrap_err().is_panic());
    assert_eq!(layer.held_bytes(), 0);
}
