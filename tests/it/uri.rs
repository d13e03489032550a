//! The model in the URI: resolved and replaced like one in the body, which must agree with it.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{Endpoint, RoutedBody, RoutedModel, RoutingConfig, UnknownModel};

use crate::support::{
    body::{ScriptedBody, Step, data},
    gateway::{CHAT, Gateway, post},
    source::{Outcome, ScriptedSource},
};

const DEPLOYMENT: &str = "/openai/deployments/venice-uncensored/chat/completions";
const DEPLOYMENT_ID: &str = "/openai/deployments/0xb603/chat/completions";
const NO_MODEL: &str = r#"{"messages":[]}"#;

/// Sends a request without a `Content-Type`. Returns the URI that the inner service received, or
/// the rejection's code.
async fn send(gateway: &Gateway, method: &str, uri: &str, body: &str) -> String {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Full::<Bytes>::from(body.to_owned())).unwrap();
    match gateway.send(request).await {
        (_, Some(received)) => {
            assert_eq!(received.text(), body);
            received.head.uri.to_string()
        }
        (response, None) => response.code().into(),
    }
}

#[tokio::test]
async fn name_is_replaced_and_nothing_else() {
    let gateway = Gateway::warm(|config| config).await;
    for (method, uri, expected) in [
        (
            "POST",
            "/v1beta/models/venice-uncensored:generateContent?alt=sse&key=%20",
            "/v1beta/models/0xb603:generateContent?alt=sse&key=%20",
        ),
        (
            "PUT",
            "http://host:8/x//models/Venice%2DUncensored:countTokens/",
            "http://host:8/x//models/0xb603:countTokens/",
        ),
        (
            "POST",
            "/models/text-embedding-bge-m3:embedContent",
            "/models/0x0b:embedContent",
        ),
        (
            "POST",
            "/models/picture%20maker:predict",
            "/models/0x10:predict",
        ),
        (
            "GET",
            "/v1/realtime?model=venice-uncensored",
            "/v1/realtime?model=0xb603",
        ),
        (
            "POST",
            "/v1/realtime?a&model=Picture+Maker",
            "/v1/realtime?a&model=0x10",
        ),
    ] {
        for body in ["", "not { JSON", r#"{"model":"mistral-31-24b"}"#] {
            assert_eq!(send(&gateway, method, uri, body).await, expected);
        }
    }
}

#[tokio::test]
async fn unknown_name_is_subject_to_the_endpoint_and_the_policy() {
    let gemini = "/models/no-such-model:generateContent";
    let typo = "/models/venice-uncensord:generateContent";
    let tts = "/models/tts-kokoro:generateContent";
    let fallback = "/models/0x0a:generateContent";
    for (policy, uri, expected) in [
        (UnknownModel::Suggest, gemini, fallback),
        (UnknownModel::Suggest, typo, "model_not_found"),
        (UnknownModel::Fallback, typo, fallback),
        (UnknownModel::Reject, gemini, "model_not_found"),
        (UnknownModel::Forward, gemini, gemini),
        (UnknownModel::Forward, tts, "model_type_mismatch"),
        // Not of an endpoint for inference.
        (
            UnknownModel::Reject,
            "/models/x:predict",
            "/models/x:predict",
        ),
        (
            UnknownModel::Reject,
            "/realtime?model=x",
            "/realtime?model=x",
        ),
        (
            UnknownModel::Reject,
            "/openai/deployments/x/images/generations",
            "/openai/deployments/x/images/generations",
        ),
    ] {
        let gateway = Gateway::warm(|config| config.unknown_model(policy)).await;
        let found = send(&gateway, "POST", uri, "").await;
        assert_eq!(found, expected, "{policy} {uri}");
    }
}

#[tokio::test]
async fn request_without_a_body_stays_without_one() {
    let layer = Gateway::warm(|config| config).await.layer;
    let service = layer.layer(service_fn(async |request: Request<RoutedBody<_>>| {
        assert_eq!(request.uri(), "/v1/realtime?model=0xb603");
        // Otherwise, hyper's client would send `Content-Length: 0`.
        assert!(request.body().is_end_stream());
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let request = Request::get("/v1/realtime?model=venice-uncensored");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    service.oneshot(request).await.unwrap();
}

#[tokio::test]
async fn body_must_name_the_same_model_or_none() {
    let gateway = Gateway::warm(|config| config).await;
    for (name, body, expected) in [
        ("venice-uncensored", NO_MODEL, Ok(NO_MODEL)),
        (
            "venice-uncensored",
            r#"{"model":null}"#,
            Ok(r#"{"model":null}"#),
        ),
        (
            "venice-uncensored",
            r#"{"model":"Venice-Uncensored","n":1e400}"#,
            Ok(r#"{"model":"0xb603","n":1e400}"#),
        ),
        (
            "0xB603",
            r#"{"model":"venice-uncensored"}"#,
            Ok(r#"{"model":"0xb603"}"#),
        ),
        (
            "venice-uncensored",
            r#"{"model":"mistral-31-24b"}"#,
            Err("ambiguous_model"),
        ),
        (
            "venice-uncensored",
            r#"{"model":"x"}"#,
            Err("ambiguous_model"),
        ),
        (
            "unheard-of",
            r#"{"model":"mistral-31-24b"}"#,
            Err("ambiguous_model"),
        ),
        // Both are unknown.
        (
            "unheard-of",
            r#"{"model":"Unheard-of "}"#,
            Ok(r#"{"model":"0x0a"}"#),
        ),
        ("unheard-of", r#"{"model":"y"}"#, Err("ambiguous_model")),
        ("venice-uncensored", r#"{"model":7}"#, Err("invalid_model")),
        (
            "venice-uncensored",
            r#"{"Model":"m"}"#,
            Err("ambiguous_model"),
        ),
        ("venice-uncensored", "", Err("invalid_json")),
    ] {
        let uri = format!("/v1/engines/{name}/completions");
        let request = post(&uri, Full::<Bytes>::from(body));
        let (response, received) = gateway.send(request).await;
        match expected {
            Ok(body) => {
                let received = received.unwrap();
                assert_eq!(received.text(), body, "{uri}");
                assert!(!received.head.uri.path().contains(name), "{uri}");
            }
            Err(code) => assert_eq!(response.code(), code, "{uri} {body}"),
        }
    }
}

#[tokio::test]
async fn limits_on_held_bytes_only_concern_a_body_that_names_a_model() {
    let gateway = Gateway::warm(|config| config.max_held_bytes(20)).await;
    let long = "x".repeat(100);
    for (end, code) in [
        (r#"x"}"#, "ok"),
        (r#"","model":null}"#, "ok"),
        (r#"","model":"venice-uncensored"}"#, "request_too_large"),
        (r#"","model":7}"#, "request_too_large"),
        (r#"","#, "invalid_json"),
    ] {
        let frames = [r#"{"a":""#, &long, end];
        let body = ScriptedBody::pending_between(&frames);
        let (response, received) = gateway.send(post(DEPLOYMENT, body)).await;
        assert_eq!(response.code(), code, "{end}");
        let received = received.unwrap();
        assert_eq!(received.head.uri, DEPLOYMENT_ID);
        match code {
            "ok" => assert_eq!(received.text(), frames.concat()),
            _ => assert!(received.body.is_err(), "{end}"),
        }
        assert_eq!(gateway.layer.held_bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_body_without_a_model_is_forwarded_after_the_timeout() {
    let gateway = Gateway::warm(|config| config.held_timeout(Duration::from_secs(5))).await;
    let slow = [data(r#"{"a":"#), Step::Hang];
    let request = post(DEPLOYMENT, ScriptedBody::new(slow));
    let sent = tokio::time::timeout(Duration::from_secs(60), gateway.send(request)).await;
    // The inner service reads the body, which hangs.
    assert!(sent.is_err());
    let request = post(CHAT, ScriptedBody::new([data(r#"{"a":"#), Step::Hang]));
    let (response, _) = gateway.send(request).await;
    assert_eq!(response.code(), "request_timeout");
}

#[tokio::test]
async fn routed_model_headers_and_rejections_are_those_of_bodies() {
    let gateway = Gateway::warm(|config| {
        config
            .response_headers(true)
            .id_header(http::HeaderName::from_static("model_id"))
    })
    .await;
    let uri = "/v1beta/models/Venice-Uncensored:generateContent";
    let (response, received) = gateway.send(post(uri, Full::<Bytes>::from("{}"))).await;
    let received = received.unwrap();
    assert_eq!(received.header("model_id"), Some("0xb603"));
    let routed = received.head.extensions.get::<RoutedModel>().unwrap();
    assert_eq!(routed.requested(), Some("Venice-Uncensored"));
    assert_eq!(response.header("x-model-name"), Some("venice-uncensored"));

    let uri = "/v1beta/models/venice-uncensord:generateContent";
    let (response, _) = gateway.send(post(uri, Full::<Bytes>::from("{}"))).await;
    let error: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(error["error"]["status"], "NOT_FOUND");
}

#[tokio::test(start_paused = true)]
async fn without_a_catalog_inference_is_503_and_the_rest_passes() {
    for (uri, expected) in [
        (
            "/models/venice-uncensored:generateContent",
            "model_registry_unavailable",
        ),
        ("/models/x:predict", "/models/x:predict"),
        ("/realtime?model=x", "/realtime?model=x"),
    ] {
        let source = ScriptedSource::new(Outcome::Failure);
        let gateway = Gateway::with_source(source, |config| config);
        assert_eq!(send(&gateway, "POST", uri, "").await, expected);
    }
}

#[tokio::test]
async fn added_template_goes_before_the_default_ones() {
    let gateway = Gateway::warm(|config| {
        config
            .add_uri_template("/model/{model}/converse", Endpoint::Llm)
            .add_uri_template("/models/{model}:predict", Endpoint::Tts)
    })
    .await;
    for (uri, expected) in [
        (
            "/model/venice-uncensored/converse",
            "/model/0xb603/converse",
        ),
        ("/model/tts-kokoro/converse", "model_type_mismatch"),
        ("/models/venice-uncensored:predict", "model_type_mismatch"),
    ] {
        assert_eq!(send(&gateway, "POST", uri, "").await, expected);
    }
    let config = RoutingConfig::builder().add_uri_template("/{model}", Endpoint::Llm);
    let error = config.fixed_catalog(catalog()).build().unwrap_err();
    assert_eq!(error.setting(), "add_uri_template");
    assert!(error.to_string().contains("a literal segment"), "{error}");
}

fn catalog() -> tower_model_routing::registry::Catalog {
    let entry = tower_model_routing::registry::ModelEntry::new("m", "0x1");
    tower_model_routing::registry::Catalog::from_entries([entry]).unwrap()
}
