//! The answer side: the model's name restored, headers, and rejections in
//! another shape.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{Rejection, ResponseBody, RoutedBody, RoutedModel, RoutingConfigBuilder};

use crate::support::{
    body::{Script, Step, data, trailers},
    gateway::{CHAT, layer, post},
    source::Source,
};

const REQUEST: &str = r#"{"model":"Venice-Uncensored"}"#;

/// Sends a chat to a layer with names restored, around a service that answers
/// with this response.
async fn answer<R>(
    path: &str,
    response: Response<R>,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> Response<ResponseBody<R>>
where
    R: Body<Data = Bytes> + Send + 'static,
{
    let mut response = Some(response);
    let inner = service_fn(move |_: Request<RoutedBody<Full<Bytes>>>| {
        let response = response.take().expect("only one request is sent");
        async { Ok::<_, Infallible>(response) }
    });
    // The layer wants a service that can be cloned; this one is called once.
    let inner = tower::buffer::Buffer::new(inner, 1);
    let layer = layer(&Source::of_models(), |config| {
        configure(config.restore_model_name(true))
    });
    let service = layer.layer(inner);
    service
        .oneshot(post(path, Full::from(REQUEST)))
        .await
        .unwrap()
}

async fn text<B: Body<Data = Bytes>>(response: Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

fn of_type(content_type: &str, body: &'static str) -> Response<Full<Bytes>> {
    Response::builder()
        .header("content-type", content_type)
        .body(Full::from(body))
        .unwrap()
}

#[tokio::test]
async fn a_json_answer_names_the_model_that_served() {
    let mut inner = of_type(
        "application/json; charset=utf-8",
        r#"{"id":1e400, "model":"0xb603"}"#,
    );
    for header in ["content-length", "content-digest", "content-md5", "x-kept"] {
        let name = HeaderName::from_static(header);
        inner.headers_mut().insert(name, "30".parse().unwrap());
    }
    let response = answer(CHAT, inner, |config| config).await;
    for header in ["content-length", "content-digest", "content-md5"] {
        assert!(!response.headers().contains_key(header), "{header}");
    }
    assert_eq!(response.headers()["x-kept"], "30");
    let routed = response.extensions().get::<RoutedModel>().unwrap();
    assert_eq!(routed.name(), "venice-uncensored");
    assert_eq!(
        text(response).await,
        r#"{"id":1e400, "model":"venice-uncensored"}"#
    );
}

#[tokio::test]
async fn the_names_are_left_alone_unless_it_is_asked_for() {
    let inner = of_type("application/json", r#"{"model":"0xb603"}"#);
    let response = answer(CHAT, inner, |config| config.restore_model_name(false)).await;
    assert_eq!(text(response).await, r#"{"model":"0xb603"}"#);
}

#[tokio::test]
async fn answers_that_cannot_be_read_pass_untouched() {
    let json = r#"{"model":"0xb603"}"#;
    let mut encoded = of_type("application/json", json);
    encoded
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    let mut error = of_type("application/json", json);
    *error.status_mut() = StatusCode::BAD_REQUEST;
    let mut part = of_type("application/json", json);
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    for mut response in [
        encoded,
        error,
        part,
        of_type("text/plain", json),
        of_type("application/x-ndjson", json),
        Response::new(Full::from(json)),
    ] {
        let length = json.len().to_string().parse().unwrap();
        response.headers_mut().insert("content-length", length);
        let response = answer(CHAT, response, |config| config).await;
        assert_eq!(response.headers()["content-length"], "18");
        assert_eq!(text(response).await, json);
    }
}

#[tokio::test]
async fn the_length_of_an_answer_is_known_until_its_name_is_restored() {
    let json = r#"{"model":"0xb603"}"#;
    let untouched = answer(CHAT, of_type("text/plain", json), |config| config).await;
    assert_eq!(untouched.body().size_hint().exact(), Some(18));
    let mut restored = answer(CHAT, of_type("application/json", json), |config| config).await;
    assert_eq!(restored.body().size_hint().exact(), None);
    assert!(!restored.body().is_end_stream());
    // That was all, and it says so without being asked for more.
    restored.body_mut().frame().await.unwrap().unwrap();
    assert!(restored.body().is_end_stream());
    assert_eq!(restored.body().size_hint().exact(), Some(0));
}

#[tokio::test]
async fn a_body_that_is_printed_says_what_it_is_and_none_of_its_bytes() {
    for (content_type, kind) in [("text/plain", "inner"), ("application/json", "restoring")] {
        let response = answer(CHAT, of_type(content_type, "{}"), |config| config).await;
        let shown = format!("{:?}", response.body());
        assert_eq!(shown, format!("ResponseBody {{ kind: {kind:?}, .. }}"));
    }
    let layer = layer(&Source::of_models(), |config| config);
    let inner = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
        Ok::<_, Infallible>(Response::new(format!("{:?}", request.body())))
    });
    for (request, shown) in [
        (REQUEST, "RoutedBody { held_bytes: 18, .. }"),
        ("{", "ResponseBody { kind: \"own\", .. }"),
    ] {
        let request = post(CHAT, Full::<Bytes>::from(request));
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        let own = format!("{:?}", response.body());
        let inner = text(response).await;
        assert!([inner, own].contains(&shown.to_owned()));
    }
}

#[tokio::test]
async fn each_event_names_the_model_as_it_comes() {
    let body = Script::new([
        data("data: {\"model\":\"0xb603\",\"n\":1}\n\n"),
        Step::Pending,
        data("data: {\"model\":\"0x"),
        Step::Pending,
        data("b603\"}\n\ndata: [DONE]\n\n"),
        Step::Trailers(trailers()),
    ]);
    let inner = Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(body)
        .unwrap();
    let response = answer(CHAT, inner, |config| config).await;
    let mut body = std::pin::pin!(response.into_body());
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(match frame.unwrap().into_data() {
            Ok(data) => String::from_utf8(data.into()).unwrap(),
            Err(_) => "trailers".into(),
        });
    }
    assert_eq!(
        frames,
        [
            "data: {\"model\":\"venice-uncensored\",\"n\":1}\n\n",
            // From `data:` on: the value is held, and nothing before it.
            "data: ",
            "{\"model\":\"venice-uncensored\"}\n\ndata: [DONE]\n\n",
            "trailers",
        ]
    );
}

#[tokio::test]
async fn trailers_keep_no_digest_of_the_answer_as_it_was() {
    let mut sums = trailers();
    sums.insert("repr-digest", "x".parse().unwrap());
    let body = Script::new([data(r#"{"model":"0xb603"}"#), Step::Trailers(sums)]);
    let inner = Response::builder()
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let response = answer(CHAT, inner, |config| config).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers()));
}

#[tokio::test]
async fn a_header_that_says_how_to_read_the_request_cannot_carry_the_id() {
    for name in ["content-type", "content_type", "transfer_encoding", "host"] {
        let config = tower_model_routing::RoutingConfig::builder()
            .source(Source::of_models())
            .id_header(HeaderName::from_static(name))
            .build();
        assert_eq!(config.unwrap_err().setting(), "id_header");
    }
}

#[tokio::test]
async fn a_body_that_fails_loses_nothing_that_came_before() {
    let body = Script::new([data("{\"model\":\"0x"), Step::Error("broke off")]);
    let inner = Response::builder()
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let response = answer(CHAT, inner, |config| config).await;
    let mut body = std::pin::pin!(response.into_body());
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "{\"model\":\"0x");
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn nested_models_are_restored_where_the_api_has_them() {
    for (path, nested) in [("/v1/responses", "response"), ("/v1/messages", "message")] {
        let event: &'static str =
            format!("data: {{\"{nested}\":{{\"model\":\"0xb603\"}}}}\n\n").leak();
        let restored = event.replace("0xb603", "venice-uncensored");
        let response = answer(path, of_type("text/event-stream", event), |config| config).await;
        assert_eq!(text(response).await, restored);
        let response = answer(CHAT, of_type("text/event-stream", event), |config| config).await;
        assert_eq!(text(response).await, event);
    }
}

#[tokio::test]
async fn a_rejection_can_be_shown_in_another_shape_and_keeps_its_type() {
    let layer = layer(&Source::of_models(), |config| {
        config.rejection_response(|rejection, uri| {
            let body = format!(
                "{} {} {}",
                rejection.code().as_str(),
                uri,
                rejection.message()
            );
            rejection.to_response().map(|_| body.into())
        })
    });
    let inner = service_fn(|_: Request<RoutedBody<Full<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    for (request, code) in [
        (r#"{"model":7}"#, "invalid_model /v1/chat/completions?a=b"),
        ("{", "invalid_json /v1/chat/completions?a=b"),
    ] {
        let request = post("/v1/chat/completions?a=b", Full::<Bytes>::from(request));
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400);
        assert!(response.extensions().get::<Rejection>().is_some());
        let body = text(response).await;
        assert!(body.starts_with(code), "{body}");
    }
}
