//! The layer's own answers, as a client and an outer service see them.

use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_model_routing::{Endpoint, Rejection, RejectionCode, UnknownModel};

use crate::support::{
    gateway::{Answer, CHAT, Gateway, post},
    source::{self, Source},
};

/// Posts JSON that is to be refused, and checks all that every refusal has.
async fn refusal(gateway: &Gateway, path: &str, sent: &str) -> (Answer, Value) {
    let (answer, seen) = gateway
        .send(post(path, Full::<Bytes>::from(sent.to_owned())))
        .await;
    assert!(seen.is_none(), "{sent}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    let error = body["error"].clone();
    assert_eq!(error.as_object().unwrap().len(), 4);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(error["code"], answer.code());
    let kind = match answer.status() {
        400..500 => "invalid_request_error",
        _ => "server_error",
    };
    assert_eq!(error["type"], kind);
    let rejection = answer.head.extensions.get::<Rejection>().unwrap();
    assert_eq!(error["message"], rejection.message());
    assert_eq!(rejection.status(), answer.head.status);
    (answer, error)
}

#[tokio::test]
async fn every_code_has_its_status_and_param() {
    let gateway = Gateway::with(|config| {
        config
            .fallback(Endpoint::Llm, "")
            .fallback(Endpoint::Tts, "gone")
            .fallback(Endpoint::Embedding, "m-llm")
    });
    for (path, sent, status, code, param) in [
        (CHAT, "{", 400, "invalid_json", json!(null)),
        (
            CHAT,
            r#"{"model":"m","model":"m"}"#,
            400,
            "duplicate_model",
            json!("model"),
        ),
        (
            CHAT,
            r#"{"MODEL":"m"}"#,
            400,
            "ambiguous_model",
            json!("model"),
        ),
        (CHAT, r#"{"model":1}"#, 400, "invalid_model", json!("model")),
        (
            CHAT,
            r#"{"model":"whisper-1"}"#,
            400,
            "model_type_mismatch",
            json!("model"),
        ),
        (
            CHAT,
            r#"{"model":"gpt-9"}"#,
            404,
            "model_not_found",
            json!("model"),
        ),
        (CHAT, "{}", 404, "model_not_found", json!("model")),
        (
            "/audio/speech",
            "{}",
            503,
            "fallback_model_unavailable",
            json!("model"),
        ),
        (
            "/audio/speech",
            r#"{"model":"x"}"#,
            503,
            "fallback_model_unavailable",
            json!("model"),
        ),
        (
            "/embeddings",
            "{}",
            503,
            "fallback_model_unavailable",
            json!("model"),
        ),
    ] {
        let (answer, error) = refusal(&gateway, path, sent).await;
        assert_eq!((answer.status(), answer.code()), (status, code), "{sent}");
        assert_eq!(error["param"], param, "{code}");
        assert_eq!(answer.header("retry-after"), None, "{code}");
    }
}

#[tokio::test]
async fn an_unavailable_registry_says_when_to_retry_but_not_why() {
    let gateway = Gateway::of(Source::new(source::Answer::Fails), |config| config);
    let (answer, error) = refusal(&gateway, CHAT, r#"{"model":"m"}"#).await;
    assert_eq!(
        (answer.status(), answer.code()),
        (503, "model_registry_unavailable")
    );
    assert_eq!(error["param"], Value::Null);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!error["message"].as_str().unwrap().contains("secret"));
    // It is in the error's sources, for logs.
    let rejection = answer.head.extensions.get::<Rejection>().unwrap();
    let mut sources = std::iter::successors(rejection.source(), |error| (*error).source());
    assert!(sources.any(|error| error.to_string().contains("the secret reason")));
}

#[tokio::test]
async fn an_unknown_model_is_treated_by_policy() {
    let near = r#"{"model":"venice-uncensord"}"#;
    let far = r#"{"model":"gpt-9"}"#;
    let fallback = Some(r#"{"model":"0x0a"}"#);
    for (policy, near_code, near_body, far_code, far_body) in [
        (UnknownModel::Fallback, "ok", fallback, "ok", fallback),
        (
            UnknownModel::Suggest,
            "model_not_found",
            None,
            "ok",
            fallback,
        ),
        (
            UnknownModel::Reject,
            "model_not_found",
            None,
            "model_not_found",
            None,
        ),
        (UnknownModel::Forward, "ok", Some(near), "ok", Some(far)),
    ] {
        let gateway = Gateway::with(|config| config.unknown_model(policy));
        let (code, body) = gateway.post(CHAT, near).await;
        assert_eq!(
            (code, body.as_deref()),
            (near_code, near_body),
            "{policy:?}"
        );
        let (code, body) = gateway.post(CHAT, far).await;
        assert_eq!((code, body.as_deref()), (far_code, far_body), "{policy:?}");
        // A request that names none is no unknown name.
        let (code, body) = gateway.post(CHAT, r#"{"model":""}"#).await;
        assert_eq!((code, body.as_deref()), ("ok", fallback), "{policy:?}");
    }
}

#[tokio::test]
async fn a_404_names_the_nearest_models() {
    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Reject));
    let (answer, error) = refusal(&gateway, CHAT, r#"{"model":"Venice_Uncensord"}"#).await;
    let rejection = answer.head.extensions.get::<Rejection>().unwrap();
    assert_eq!(rejection.code(), RejectionCode::ModelNotFound);
    assert_eq!(rejection.suggestions(), ["venice-uncensored"]);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(r#""Venice_Uncensord""#), "{message}");
    assert!(
        message.contains(r#"Did you mean "venice-uncensored"?"#),
        "{message}"
    );
}

#[tokio::test]
async fn a_fallback_that_is_not_in_the_catalog_is_never_another_model() {
    let gateway = Gateway::with(|config| config.fallback(Endpoint::Llm, "gone"));
    let (_, error) = refusal(&gateway, CHAT, r#"{"model":"x"}"#).await;
    assert_eq!(error["code"], "fallback_model_unavailable");
    assert!(error["message"].as_str().unwrap().contains(r#""gone""#));
    // A model that is there needs none.
    assert_eq!(gateway.post(CHAT, r#"{"model":"m"}"#).await.0, "ok");
}

#[tokio::test]
async fn a_clients_text_is_escaped_and_cut_short_in_messages() {
    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Reject));
    let sent = json!({ "model": format!("\u{1b}[31m\"\n{}", "x".repeat(1 << 20)) }).to_string();
    let (answer, error) = refusal(&gateway, CHAT, &sent).await;
    assert_eq!(answer.code(), "model_not_found");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.len() < 400 && !message.contains(['\u{1b}', '\n']),
        "{message}"
    );
}

#[tokio::test]
async fn an_invalid_body_is_located() {
    let gateway = Gateway::new();
    for (sent, offset) in [
        (r#"{"model":"m",}"#, 13),
        (r#"{"model":"m","model":1}"#, 13),
        (r#"{"model":"m""#, 12),
    ] {
        let (answer, error) = refusal(&gateway, CHAT, sent).await;
        let rejection = answer.head.extensions.get::<Rejection>().unwrap();
        assert_eq!(rejection.offset(), Some(offset), "{sent}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("byte {offset}")), "{message}");
    }
}
