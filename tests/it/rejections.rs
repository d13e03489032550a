//! Rejections, as clients and outer services see them.

use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_model_routing::{Endpoint, Rejection, RejectionCode, UnknownModel};

use crate::support::{
    body::ScriptedBody,
    gateway::{CHAT, Gateway, ReceivedResponse, post},
    source::{Outcome, ScriptedSource},
};

/// Posts JSON that must be rejected, and checks the common form of rejections.
async fn reject(gateway: &Gateway, path: &str, sent: &str) -> (ReceivedResponse, Value) {
    let request = post(path, Full::<Bytes>::from(sent.to_owned()));
    let (response, received) = gateway.send(request).await;
    assert!(received.is_none(), "{sent}");
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    let error = body["error"].clone();
    let has_suggestions = error.get("suggestions").is_some();
    assert_eq!(
        error.as_object().unwrap().len(),
        4 + usize::from(has_suggestions)
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(error["code"], response.code());
    let kind = match response.status() {
        400..500 => "invalid_request_error",
        _ => "server_error",
    };
    assert_eq!(error["type"], kind);
    let rejection = response.head.extensions.get::<Rejection>().unwrap();
    assert_eq!(error["message"], rejection.message());
    assert_eq!(rejection.status(), response.head.status);
    (response, error)
}

#[tokio::test]
async fn each_code_has_its_status_and_param() {
    let gateway = Gateway::with(|config| {
        config
            .without_fallback(Endpoint::Llm)
            .fallback(Endpoint::Tts, "gone")
            .fallback(Endpoint::Embedding, "m-llm")
    });
    let (speech, embeddings) = ("/audio/speech", "/embeddings");
    let model = Some("model");
    for (path, sent, status, code, param) in [
        (CHAT, "{", 400, "invalid_json", None),
        (
            CHAT,
            r#"{"model":"m","model":"m"}"#,
            400,
            "duplicate_model",
            model,
        ),
        (CHAT, r#"{"MODEL":"m"}"#, 400, "ambiguous_model", model),
        (CHAT, r#"{"model":1}"#, 400, "invalid_model", model),
        (
            CHAT,
            r#"{"model":"whisper-1"}"#,
            400,
            "model_type_mismatch",
            model,
        ),
        (CHAT, r#"{"model":"gpt-9"}"#, 404, "model_not_found", model),
        (CHAT, "{}", 400, "model_required", model),
        (speech, "{}", 503, "fallback_model_unavailable", model),
        (
            speech,
            r#"{"model":"x"}"#,
            503,
            "fallback_model_unavailable",
            model,
        ),
        (embeddings, "{}", 503, "fallback_model_unavailable", model),
    ] {
        let (response, error) = reject(&gateway, path, sent).await;
        assert_eq!(
            (response.status(), response.code()),
            (status, code),
            "{sent}"
        );
        assert_eq!(error["param"], json!(param), "{code}");
        assert_eq!(response.header("retry-after"), None, "{code}");
    }
}

#[tokio::test]
async fn unavailable_registry_is_503_without_the_cause() {
    let source = ScriptedSource::new(Outcome::Failure);
    let gateway = Gateway::with_source(source, |config| config);
    let (response, error) = reject(&gateway, CHAT, r#"{"model":"m"}"#).await;
    let found = (response.status(), response.code());
    assert_eq!(found, (503, "model_registry_unavailable"));
    assert_eq!(error["param"], Value::Null);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(!error["message"].as_str().unwrap().contains("secret"));
    // The cause is a source of the rejection, for logs.
    let rejection = response.head.extensions.get::<Rejection>().unwrap();
    let mut sources = std::iter::successors(rejection.source(), |error| (*error).source());
    assert!(sources.any(|error| error.to_string().contains("the secret reason")));
}

#[tokio::test]
async fn not_found_suggests_the_nearest_models() {
    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Reject));
    let (response, error) = reject(&gateway, CHAT, r#"{"model":"Venice_Uncensord"}"#).await;
    let rejection = response.head.extensions.get::<Rejection>().unwrap();
    assert_eq!(rejection.code(), RejectionCode::ModelNotFound);
    assert_eq!(rejection.suggestions(), ["venice-uncensored"]);
    assert_eq!(error["suggestions"], json!(["venice-uncensored"]));
    let message = error["message"].as_str().unwrap();
    let suggestion = r#"Did you mean "venice-uncensored"?"#;
    for expected in [r#""Venice_Uncensord""#, suggestion] {
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn missing_fallback_is_503_and_never_another_model() {
    let gateway = Gateway::with(|config| config.fallback(Endpoint::Llm, "gone"));
    let (_, error) = reject(&gateway, CHAT, r#"{"model":"x"}"#).await;
    assert_eq!(error["code"], "fallback_model_unavailable");
    assert!(error["message"].as_str().unwrap().contains(r#""gone""#));
    // Known models need no fallback.
    assert_eq!(gateway.post(CHAT, r#"{"model":"m"}"#).await.0, "ok");
}

#[tokio::test]
async fn invalid_body_has_an_offset() {
    let gateway = Gateway::new();
    for (sent, offset) in [
        (r#"{"model":"m",}"#, 13),
        (r#"{"model":"m","model":1}"#, 13),
        (r#"{"model":"m""#, 12),
    ] {
        let (response, error) = reject(&gateway, CHAT, sent).await;
        let rejection = response.head.extensions.get::<Rejection>().unwrap();
        assert_eq!(rejection.offset(), Some(offset), "{sent}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("byte {offset}")), "{message}");
    }
}

#[tokio::test]
async fn rejection_has_the_form_of_the_paths_api() {
    let gateway = Gateway::new();
    let late = [r#"{"model":"m""#, r#","model":"n"}"#];
    for frames in [&["[]"][..], &late] {
        let body = ScriptedBody::pending_between(frames);
        let (response, _) = gateway.send(post("/v1/messages", body)).await;
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        let rejection = response.head.extensions.get::<Rejection>().unwrap();
        let expected = json!({"type": "error", "error": {
            "type": "invalid_request_error", "message": rejection.message(),
        }});
        assert_eq!(body, expected);
    }
}
