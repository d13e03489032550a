//! The demo.

use tokio::process::Command;

use super::{VENICE, proxy};
use test_support::{
    client::{get, post},
    process::Process,
};

#[tokio::test]
async fn the_demo_upstream_reports_the_model() {
    let demo = Process::start(&mut proxy()).await;
    let address = demo.address();
    let body = r#"{"model":"venice-uncensored","messages":[]}"#;
    let response = post(address, "/v1/chat/completions", body).await;
    assert_eq!(response.header("x-model-id"), Some(VENICE));
    let content = response.json()["choices"][0]["message"]["content"].clone();
    assert!(content.as_str().unwrap().contains(VENICE), "{content}");

    let streamed = body.replace("[]", r#"[],"stream":true"#);
    let response = post(address, "/v1/chat/completions", &streamed).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let events = response.text();
    assert!(
        events.starts_with("data: {") && events.ends_with("data: [DONE]\n\n"),
        "{events}"
    );
    assert!(events.contains(VENICE), "{events}");

    let response = post(address, "/v1/responses", body).await.json();
    let text = response["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap();
    assert!(text.contains(VENICE), "{response}");
    let response = post(address, "/v1/responses", &streamed).await.text();
    assert!(
        response.contains("event: response.completed\n"),
        "{response}"
    );

    let body = r#"{"model":"text-embedding-bge-m3","input":"Hi"}"#;
    let response = post(address, "/v1/embeddings", body).await.json();
    assert_eq!(response["data"][0]["object"], "embedding");

    let models = get(address, "/v1/models").await.json();
    assert_eq!(models["data"].as_array().unwrap().len(), 8);
    let health = get(address, "/health/models").await.json();
    for (name, result) in health["test_results"].as_object().unwrap() {
        assert_eq!(result["status"], "resolved", "{name}");
    }
}

#[tokio::test]
async fn the_printed_command_works() {
    if Command::new("curl")
        .arg("--version")
        .output()
        .await
        .is_err()
    {
        return; // Not installed.
    }
    let mut demo = Process::start(&mut proxy()).await;
    demo.wait_for_log(&["The models are at"]).await;
    let log = demo.log();
    let start = log.find("\ncurl ").unwrap() + 1;
    let end = start + log[start..].find("\n\n").unwrap();
    let mut shell = Command::new("sh");
    shell
        .env("NO_PROXY", "127.0.0.1")
        .args(["-c", &log[start..end]]);
    let output = shell.output().await.unwrap();
    let response = String::from_utf8(output.stdout).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    assert!(response.contains(VENICE), "{response}");
}

#[tokio::test]
async fn the_demo_upstream_reads_large_requests() {
    let demo = Process::start(&mut proxy()).await;
    let padding = "x".repeat(3 * 1024 * 1024);
    let body = format!(r#"{{"a":"{padding}","model":"venice-uncensored"}}"#);
    let response = post(demo.address(), "/v1/chat/completions", body).await;
    assert!(response.text().contains(VENICE), "{response:?}");
}
