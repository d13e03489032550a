//! The proxy without any settings.

use tokio::process::Command;

use super::{VENICE, proxy};
use test_support::{
    client::{get, post},
    process::Process,
};

#[tokio::test]
async fn the_demo_routes_and_says_what_its_upstream_was_sent() {
    let demo = Process::start(&mut proxy()).await;
    let address = demo.address();
    let body = r#"{"model":"venice-uncensored","messages":[]}"#;
    let answer = post(address, "/v1/chat/completions", body).await;
    assert_eq!(answer.header("x-model-id"), Some(VENICE));
    let content = answer.json()["choices"][0]["message"]["content"].clone();
    assert!(content.as_str().unwrap().contains(VENICE), "{content}");

    let streamed = body.replace("[]", r#"[],"stream":true"#);
    let answer = post(address, "/v1/chat/completions", &streamed).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = answer.text();
    assert!(
        events.starts_with("data: {") && events.ends_with("data: [DONE]\n\n"),
        "{events}"
    );
    assert!(events.contains(VENICE), "{events}");

    let answer = post(address, "/v1/responses", body).await.json();
    let text = answer["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(VENICE), "{answer}");
    let answer = post(address, "/v1/responses", &streamed).await.text();
    assert!(answer.contains("event: response.completed\n"), "{answer}");

    let body = r#"{"model":"text-embedding-bge-m3","input":"Hi"}"#;
    let answer = post(address, "/v1/embeddings", body).await.json();
    assert_eq!(answer["data"][0]["object"], "embedding");

    let models = get(address, "/v1/models").await.json();
    assert_eq!(models["data"].as_array().unwrap().len(), 8);
    let health = get(address, "/health/models").await.json();
    for (name, result) in health["test_results"].as_object().unwrap() {
        assert_eq!(result["status"], "resolved", "{name}");
    }
}

#[tokio::test]
async fn the_printed_curl_works_as_pasted() {
    if Command::new("curl")
        .arg("--version")
        .output()
        .await
        .is_err()
    {
        return; // Not on this machine.
    }
    let mut demo = Process::start(&mut proxy()).await;
    demo.logged(&["The models are at"]).await;
    let log = demo.log();
    let start = log.find("\ncurl ").unwrap() + 1;
    let end = start + log[start..].find("\n\n").unwrap();
    let mut shell = Command::new("sh");
    shell
        .env("NO_PROXY", "127.0.0.1")
        .args(["-c", &log[start..end]]);
    let output = shell.output().await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(VENICE), "{answer}");
}

#[tokio::test]
async fn a_large_request_with_its_model_last_is_read_too() {
    let demo = Process::start(&mut proxy()).await;
    let padding = "x".repeat(3 * 1024 * 1024);
    let body = format!(r#"{{"a":"{padding}","model":"venice-uncensored"}}"#);
    let answer = post(demo.address(), "/v1/chat/completions", body).await;
    assert!(answer.text().contains(VENICE), "{answer:?}");
}
