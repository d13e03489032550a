//! The two small examples, as processes.

use serde_json::{Value, json};

use crate::support::{
    client::post,
    process::{Process, command},
};

const VENICE: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";

async fn start(example: &str) -> Process {
    let mut command = command(example);
    command.env("LISTEN_ADDR", "127.0.0.1:0");
    // Nobody publishes a list there: the examples bring one to start with.
    command.env("ACTIVE_MODELS_URL", "http://127.0.0.1:9/active_models.json");
    Process::start(&mut command).await
}

#[tokio::test]
async fn the_axum_example_serves_the_model_asked_for() {
    let example = start("axum").await;
    let body = r#"{"model": "venice-uncensored", "n": 1}"#;
    let answer = post(example.address(), "/v1/chat/completions", body).await;
    assert_eq!(answer.header("x-model-id"), Some(VENICE));
    let expected = json!({
        "served_by": "venice-uncensored",
        "request": { "model": VENICE, "n": 1 },
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn the_hyper_example_serves_the_model_asked_for() {
    let example = start("hyper").await;
    let body = r#"{"model": "venice-uncensored", "n": 1e400}"#;
    let answer = post(example.address(), "/v1/chat/completions", body).await;
    assert_eq!(answer.text(), body.replace("venice-uncensored", VENICE));

    let answer = post(example.address(), "/v1/chat/completions", "{").await;
    assert_eq!(answer.error(), (400, "invalid_json".to_owned()));
    let error: Value = answer.json();
    assert_eq!(error["error"]["param"], Value::Null);
}
