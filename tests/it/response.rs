//! The response: its model rewritten, its headers, and rejections in a custom form.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, buffer::Buffer, service_fn};
use tower_model_routing::{
    Rejection, ResponseBody, ResponseModel, RoutedBody, RoutedModel, RoutingConfig,
    RoutingConfigBuilder,
};

use crate::support::{
    body::{ScriptedBody, Step, data, trailers},
    gateway::{CHAT, Gateway, default_layer, layer, post},
    shape::Shape,
    source::ScriptedSource,
};

const REQUEST: &str = r#"{"model":"Venice-Uncensored"}"#;
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Makes the response name the served model.
fn served(config: RoutingConfigBuilder) -> RoutingConfigBuilder {
    config.response_model(ResponseModel::Served)
}

/// Sends [`REQUEST`] through a layer around a service that returns this response.
async fn rewrite<R>(
    path: &str,
    response: Response<R>,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> Response<ResponseBody<R>>
where
    R: Body<Data = Bytes> + Send + 'static,
{
    rewrite_for(path, REQUEST.into(), response, configure).await
}

/// Sends a request through a layer around a service that returns this response.
async fn rewrite_for<R>(
    path: &str,
    request: String,
    response: Response<R>,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> Response<ResponseBody<R>>
where
    R: Body<Data = Bytes> + Send + 'static,
{
    let mut response = Some(response);
    let inner = service_fn(move |_: Request<RoutedBody<Full<Bytes>>>| {
        let response = response.take().expect("one request");
        async { Ok::<_, Infallible>(response) }
    });
    // The layer needs a service that is `Clone`.
    let inner = Buffer::new(inner, 1);
    let service = layer(ScriptedSource::with_models(), configure).layer(inner);
    let request = post(path, Full::from(request));
    service.oneshot(request).await.unwrap()
}

async fn text<B: Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

fn with_type<B>(content_type: &str, body: B) -> Response<B> {
    let response = Response::builder().header("content-type", content_type);
    response.body(body).unwrap()
}

fn full(content_type: &str, body: &'static str) -> Response<Full<Bytes>> {
    with_type(content_type, Full::from(body))
}

#[tokio::test]
async fn json_names_the_served_model() {
    let mut inner = full(
        "application/json; charset=utf-8",
        r#"{"id":1e400, "model":"0xb603"}"#,
    );
    for header in ["content-length", "content-digest", "content-md5", "x-kept"] {
        let name = HeaderName::from_static(header);
        inner.headers_mut().insert(name, "30".parse().unwrap());
    }
    let response = rewrite(CHAT, inner, served).await;
    for header in ["content-length", "content-digest", "content-md5"] {
        assert!(!response.headers().contains_key(header), "{header}");
    }
    assert_eq!(response.headers()["x-kept"], "30");
    let routed = response.extensions().get::<RoutedModel>().unwrap();
    assert_eq!(routed.name(), "venice-uncensored");
    let expected = r#"{"id":1e400, "model":"venice-uncensored"}"#;
    assert_eq!(text(response).await, expected);
}

#[tokio::test]
async fn model_is_unchanged_by_default() {
    let inner = full(JSON, r#"{"model":"0xb603"}"#);
    let response = rewrite(CHAT, inner, |config| config).await;
    assert_eq!(text(response).await, r#"{"model":"0xb603"}"#);
}

#[tokio::test]
async fn response_model_decides_the_name_but_of_a_fallback() {
    use ResponseModel::{Requested, Served, Unchanged};

    for (requested, response_model, expected) in [
        (r#""Venice-Uncensored""#, Unchanged, "0xb603"),
        (r#""Venice-Uncensored""#, Served, "venice-uncensored"),
        (r#""Venice-Uncensored""#, Requested, "Venice-Uncensored"),
        (r#""venice-uncensored""#, Requested, "venice-uncensored"),
        (
            r#"" venice\u002duncensored""#,
            Requested,
            " venice-uncensored",
        ),
        (r#""0XB603""#, Requested, "0XB603"),
        (r#""gpt-9""#, Unchanged, "mistral-31-24b"),
        (r#""gpt-9""#, Served, "mistral-31-24b"),
        (r#""gpt-9""#, Requested, "mistral-31-24b"),
        ("null", Unchanged, "mistral-31-24b"),
        ("null", Requested, "mistral-31-24b"),
    ] {
        let request = format!(r#"{{"model":{requested}}}"#);
        let response = full(JSON, r#"{"model":"0xb603"}"#);
        let response = rewrite_for(CHAT, request, response, |config| {
            config.response_model(response_model)
        });
        let expected = format!(r#"{{"model":"{expected}"}}"#);
        assert_eq!(text(response.await).await, expected, "{requested}");
    }
}

#[tokio::test]
async fn encoded_partial_and_other_responses_pass_unchanged() {
    let json = r#"{"model":"0xb603"}"#;
    let mut encoded = full(JSON, json);
    let encoding = "compress".parse().unwrap();
    encoded.headers_mut().insert("content-encoding", encoding);
    let mut partial = full(JSON, json);
    *partial.status_mut() = StatusCode::PARTIAL_CONTENT;
    for mut response in [
        encoded,
        partial,
        full("text/plain", json),
        Response::new(Full::from(json)),
    ] {
        let length = json.len().to_string().parse().unwrap();
        response.headers_mut().insert("content-length", length);
        let response = rewrite(CHAT, response, served).await;
        assert_eq!(response.headers()["content-length"], "18");
        assert_eq!(text(response).await, json);
    }
}

#[tokio::test]
async fn error_message_has_the_name_in_place_of_the_id() {
    let json = |model: &str| format!(r#"{{"error":"no capacity for \n{model}, {model}"}}"#);
    let long = |model: &str| format!("{{\"a\":\"{}\",\"b\":\"{model}\"}}", "a".repeat(64 << 10));
    for (content_type, make, is_rewritten) in [
        (JSON, &json as &dyn Fn(&str) -> String, true),
        ("application/problem+json", &json, true),
        (
            "text/plain; charset=utf-8",
            &|model| format!("{model}: no"),
            true,
        ),
        ("text/html", &|model| format!("<p>{model}</p>"), false),
        (EVENTS, &|model| format!("data: {model}\n\n"), false),
        (JSON, &long, false),
    ] {
        for (response_model, name) in [
            (ResponseModel::Unchanged, None),
            (ResponseModel::Served, Some("venice-uncensored")),
            (ResponseModel::Requested, Some("Venice-Uncensored")),
        ] {
            let expected = name.filter(|_| is_rewritten).unwrap_or("0xb603");
            for status in [400, 404, 500, 503] {
                let frames = make("0xb603");
                let frames = frames
                    .as_bytes()
                    .chunks(50_000)
                    .map(|part| data(std::str::from_utf8(part).unwrap()));
                let mut response = with_type(content_type, ScriptedBody::new(frames));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                let response = rewrite(CHAT, response, |config| {
                    config.response_model(response_model)
                });
                let response = response.await;
                assert_eq!(text(response).await, make(expected), "{content_type}");
            }
        }
    }
}

#[tokio::test]
async fn error_message_of_a_fallback_has_the_name_whatever_the_setting() {
    for response_model in [ResponseModel::Unchanged, ResponseModel::Requested] {
        let mut response = full(JSON, r#"{"error":"no capacity for 0x0a"}"#);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let request = r#"{"model":"gpt-9"}"#.to_owned();
        let response = rewrite_for(CHAT, request, response, |config| {
            config.response_model(response_model)
        });
        let expected = r#"{"error":"no capacity for mistral-31-24b"}"#;
        assert_eq!(text(response.await).await, expected, "{response_model}");
    }
}

#[tokio::test]
async fn long_error_keeps_its_length() {
    let body = "x".repeat((64 << 10) + 1);
    let mut response = with_type(JSON, Full::<Bytes>::from(body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let response = rewrite(CHAT, response, served).await;
    assert_eq!(response.body().size_hint().exact(), Some((64 << 10) + 1));
}

#[tokio::test]
async fn id_becomes_a_name_where_the_request_names_no_model() {
    let id = "0x000000000000000000000000000000000000000000000000000000000000ABCD";
    let stored = format!("data: {{\"response\":{{\"model\":\"{id}\"}}}}\n\n");
    let json = format!("{{\"model\":\"{id}\",\"of\":\"{id}\"}}");
    for (content_type, sent, renamed) in [
        (JSON, json.clone(), json.replacen(id, "m", 1)),
        (EVENTS, stored.clone(), stored.replace(id, "m")),
        (
            "application/x-ndjson",
            json.clone(),
            json.replacen(id, "m", 1),
        ),
        (
            JSON,
            r#"{"model":"gpt-4o"}"#.into(),
            r#"{"model":"gpt-4o"}"#.into(),
        ),
        (JSON, r#"{"model":"M"}"#.into(), r#"{"model":"M"}"#.into()),
        ("text/plain", json.clone(), json.clone()),
    ] {
        for (response_model, expected) in [
            (ResponseModel::Unchanged, &sent),
            (ResponseModel::Served, &renamed),
            (ResponseModel::Requested, &renamed),
        ] {
            let source = ScriptedSource::with_models();
            let layer = layer(source, |config| config.response_model(response_model));
            layer.registry().refresh().await.unwrap();
            for (method, path, body) in [
                ("GET", "/v1/responses/resp_1?stream=true", ""),
                ("GET", "/v1/chat/completions/1", ""),
                ("POST", "/v1/responses/resp_1/cancel", ""),
                ("POST", "/v1/responses", r#"{"prompt":{"id":"1"}}"#),
            ] {
                let inner = service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
                    Ok::<_, Infallible>(with_type(content_type, Full::<Bytes>::from(sent.clone())))
                });
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("content-type", JSON)
                    .body(Full::from(body))
                    .unwrap();
                let response = layer.layer(inner).oneshot(request).await.unwrap();
                assert!(response.extensions().get::<RoutedModel>().is_none());
                assert_eq!(&text(response).await, expected, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn passing_request_starts_no_fetch_for_its_response() {
    let layer = layer(ScriptedSource::with_models(), served);
    let inner = service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
        let body = Full::<Bytes>::from(r#"{"model":"0xb603"}"#);
        Ok::<_, Infallible>(with_type(JSON, body))
    });
    let request = Request::get("/v1/responses/resp_1").body(Full::default());
    let response = layer.layer(inner).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, r#"{"model":"0xb603"}"#);
    assert_eq!(layer.registry().stats().fetches, 0);
}

#[tokio::test]
async fn encoding_is_not_asked_for_where_the_model_is_rewritten() {
    for (response_model, inspected) in [
        (ResponseModel::Unchanged, "gzip, br"),
        (ResponseModel::Served, "identity"),
        (ResponseModel::Requested, "identity"),
    ] {
        let gateway = Gateway::with(|config| config.response_model(response_model));
        for (path, body, expected) in [
            (CHAT, REQUEST, inspected),
            (CHAT, r#"{"model":"gpt-9"}"#, "identity"),
            ("/v1/files", "{}", "gzip, br"),
        ] {
            let mut request = post(path, Full::from(body));
            let accepted = "gzip, br".parse().unwrap();
            request.headers_mut().insert("accept-encoding", accepted);
            let (_, received) = gateway.send::<Full<Bytes>>(request).await;
            let received = received.unwrap();
            assert_eq!(received.header("accept-encoding"), Some(expected), "{path}");
        }
    }
}

#[tokio::test]
async fn identity_is_no_encoding() {
    let mut response = full(JSON, r#"{"model":"0xb603"}"#);
    let identity = HeaderValue::from_static("Identity");
    response.headers_mut().insert("content-encoding", identity);
    let response = rewrite(CHAT, response, served).await;
    assert_eq!(response.headers()["content-encoding"], "Identity");
    assert_eq!(text(response).await, r#"{"model":"venice-uncensored"}"#);
}

#[tokio::test]
async fn rewrites_in_every_shape() {
    const DOCUMENT: &str = r#"{"id":"a","model":"0xb603","choices":[{"model":"0xb603"}]}"#;
    const EVENT: &str = "data: {\"model\":\"0xb603\",\"n\":1}\n\ndata: [DONE]\n\n";

    for (content_type, sent) in [(JSON, DOCUMENT), (EVENTS, EVENT)] {
        let rewritten = sent.replacen("0xb603", "venice-uncensored", 1);
        let model_end = sent.find("0xb603").unwrap() + r#"0xb603""#.len();
        for expected in [rewritten.as_str(), sent] {
            let layer = layer(ScriptedSource::with_models(), |config| {
                if expected == sent {
                    config
                } else {
                    config.response_model(ResponseModel::Served)
                }
            });
            for shape in Shape::all(sent.len()) {
                let service =
                    layer.layer(service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
                        Ok::<_, Infallible>(with_type(content_type, shape.body(sent)))
                    }));
                let request = post(CHAT, Full::from(REQUEST));
                let response = service.oneshot(request).await.unwrap();
                let read = shape
                    .read(response.into_body(), expected.as_bytes(), false)
                    .await;
                // A failed body loses nothing that came before.
                if shape.fails && shape.cut < model_end {
                    assert_eq!(read, sent.as_bytes()[..shape.cut], "{shape:?}");
                } else if shape.fails {
                    let len = shape.cut + expected.len() - sent.len();
                    assert_eq!(read, expected.as_bytes()[..len], "{shape:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_line_of_ndjson_names_the_model() {
    let lines = |model: &str| format!("{{\"model\":\"{model}\"}}\n{{\"model\":\"{model}\"}}\n");
    for content_type in ["application/x-ndjson", "Application/JSONL; charset=utf-8"] {
        let response = with_type(content_type, Full::<Bytes>::from(lines("0xb603")));
        let response = rewrite("/api/chat", response, served).await;
        assert_eq!(text(response).await, lines("venice-uncensored"));
    }
}

#[tokio::test]
async fn size_hint_is_open_until_the_model_is_rewritten() {
    let json = r#"{"model":"0xb603"}"#;
    let unchanged = rewrite(CHAT, full("text/plain", json), served).await;
    assert_eq!(unchanged.body().size_hint().exact(), Some(18));
    let mut rewritten = rewrite(CHAT, full(JSON, json), served).await;
    assert_eq!(rewritten.body().size_hint().exact(), None);
    assert!(!rewritten.body().is_end_stream());
    // The last frame ends the body.
    rewritten.body_mut().frame().await.unwrap().unwrap();
    assert!(rewritten.body().is_end_stream());
    assert_eq!(rewritten.body().size_hint().exact(), Some(0));
}

#[tokio::test]
async fn events_are_rewritten_without_delay() {
    let body = ScriptedBody::new([
        data("data: {\"model\":\"0xb603\",\"n\":1}\n\n"),
        Step::Pending,
        data("data: {\"model\":\"0x"),
        Step::Pending,
        data("b603\"}\n\ndata: [DONE]\n\n"),
        Step::Trailers(trailers()),
    ]);
    let inner = with_type("text/event-stream; charset=utf-8", body);
    let response = rewrite(CHAT, inner, served).await;
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
            // Only the event's own bytes are held.
            "data: ",
            "{\"model\":\"venice-uncensored\"}\n\ndata: [DONE]\n\n",
            "trailers",
        ]
    );
}

#[tokio::test]
async fn nested_model_is_rewritten_where_the_api_has_it() {
    for (path, parent) in [("/v1/responses", "response"), ("/v1/messages", "message")] {
        let event = format!("data: {{\"{parent}\":{{\"model\":\"0xb603\"}}}}\n\n");
        let response = rewrite(path, with_type(EVENTS, event.clone()), served).await;
        let expected = event.replace("0xb603", "venice-uncensored");
        assert_eq!(text(response).await, expected);
        let response = rewrite(CHAT, with_type(EVENTS, event.clone()), served).await;
        assert_eq!(text(response).await, event);
    }
}

#[tokio::test]
async fn digests_are_removed_from_trailers() {
    let mut sums = trailers();
    sums.insert("repr-digest", "x".parse().unwrap());
    let body = ScriptedBody::new([data(r#"{"model":"0xb603"}"#), Step::Trailers(sums)]);
    let response = rewrite(CHAT, with_type(JSON, body), served).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers()));
}

#[tokio::test]
async fn debug_output_has_no_bytes_of_the_body() {
    for (content_type, kind) in [("text/plain", "inner"), (JSON, "rewriting")] {
        let response = rewrite(CHAT, full(content_type, "{}"), served).await;
        let printed = format!("{:?}", response.body());
        assert_eq!(printed, format!("ResponseBody {{ kind: {kind:?}, .. }}"));
    }
    let inner = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
        Ok::<_, Infallible>(Response::new(format!("{:?}", request.body())))
    });
    for (request, expected) in [
        (REQUEST, "RoutedBody { held_bytes: 18, .. }"),
        ("{", "ResponseBody { kind: \"own\", .. }"),
    ] {
        let request = post(CHAT, Full::<Bytes>::from(request));
        let response = default_layer().layer(inner).oneshot(request).await.unwrap();
        let of_response = format!("{:?}", response.body());
        let of_request = text(response).await;
        assert!([of_request, of_response].contains(&expected.to_owned()));
    }
}

#[test]
fn framing_header_cannot_carry_the_model() {
    let builder = || RoutingConfig::builder().source(ScriptedSource::with_models());
    for name in ["content-type", "content_type", "transfer_encoding", "host"] {
        let header = HeaderName::from_static(name);
        let config = builder().id_header(header.clone()).build();
        assert_eq!(config.unwrap_err().setting(), "id_header");
        let config = builder().name_header(header).build();
        assert_eq!(config.unwrap_err().setting(), "name_header");
    }
    let same = builder()
        .id_header(HeaderName::from_static("x-model"))
        .name_header(HeaderName::from_static("x_model"));
    assert_eq!(same.build().unwrap_err().setting(), "name_header");
}

#[tokio::test]
async fn rejection_response_replaces_the_body_and_keeps_the_extension() {
    let layer = layer(ScriptedSource::with_models(), |config| {
        config.rejection_response(|rejection, uri| {
            let code = rejection.code().as_str();
            let body = format!("{code} {uri} {}", rejection.message());
            rejection.to_response().map(|_| body.into())
        })
    });
    let inner = service_fn(|_: Request<RoutedBody<Full<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    for (request, expected) in [
        (r#"{"model":7}"#, "invalid_model /v1/chat/completions?a=b"),
        ("{", "invalid_json /v1/chat/completions?a=b"),
    ] {
        let request = post("/v1/chat/completions?a=b", Full::<Bytes>::from(request));
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400);
        assert!(response.extensions().get::<Rejection>().is_some());
        let body = text(response).await;
        assert!(body.starts_with(expected), "{body}");
    }
    let request = Request::get("/v1/models/x?a=b").body(()).unwrap();
    let response = layer.model_list().oneshot(request).await.unwrap();
    assert!(response.extensions().get::<Rejection>().is_some());
    let body = text(response).await;
    assert!(
        body.starts_with("model_not_found /v1/models/x?a=b"),
        "{body}"
    );
}

/// Responses that are encoded although that was not asked for.
#[cfg(feature = "decompression")]
mod decoded {
    use super::*;
    use crate::support::encoding::{CODINGS, compress};

    fn encoded<B>(coding: &str, mut response: Response<B>) -> Response<B> {
        let headers = response.headers_mut();
        headers.insert("content-encoding", coding.parse().unwrap());
        headers.insert("content-length", "99".parse().unwrap());
        headers.insert("repr-digest", "x".parse().unwrap());
        response
    }

    #[tokio::test]
    async fn every_coding_is_decoded_where_the_model_is_rewritten() {
        let json = |model: &str| format!(r#"{{"model":"{model}","a":"{}"}}"#, "a".repeat(100_000));
        for coding in CODINGS {
            let body = compress(coding, json("0xb603")).await;
            let response = || {
                let frames = body.chunks(100).map(data);
                encoded(coding, with_type(JSON, ScriptedBody::new(frames)))
            };
            let rewritten = rewrite(CHAT, response(), served).await;
            for name in ["content-encoding", "content-length", "repr-digest"] {
                assert!(!rewritten.headers().contains_key(name), "{coding} {name}");
            }
            assert_eq!(text(rewritten).await, json("venice-uncensored"), "{coding}");

            let unchanged = rewrite(CHAT, response(), |config| config).await;
            assert_eq!(unchanged.headers()["content-encoding"], coding);
            assert_eq!(unchanged.headers()["content-length"], "99");
            let unchanged = unchanged.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(unchanged, body);
        }
    }

    #[tokio::test]
    async fn event_waits_for_no_other() {
        let comment = ": 32 bytes, the least that is compressed";
        let event = format!("data: {{\"model\":\"0xb603\"}}\n\n{comment}\n\n");
        for coding in ["gzip", "zstd"] {
            let member = compress(coding, event.clone()).await;
            let body = ScriptedBody::new([Step::Data(member), Step::Hang]);
            let response = rewrite(CHAT, encoded(coding, with_type(EVENTS, body)), served).await;
            let mut body = std::pin::pin!(response.into_body());
            let mut received = String::new();
            while received.len() < event.len() {
                let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
                received.push_str(std::str::from_utf8(&data).unwrap());
            }
            assert_eq!(received, event.replace("0xb603", "venice-uncensored"));
        }
    }

    #[tokio::test]
    async fn truncated_response_fails() {
        let body = compress(
            "gzip",
            format!("{{\"model\":\"0xb603\"}}{}", " ".repeat(99)),
        )
        .await;
        let cut = body.slice(..body.len() - 1);
        let response = rewrite(
            CHAT,
            encoded("gzip", with_type(JSON, Full::new(cut))),
            served,
        );
        let error = response.await.into_body().collect().await.unwrap_err();
        assert!(error.to_string().contains("truncated"), "{error}");
    }
}
