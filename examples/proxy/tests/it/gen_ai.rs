//! The histograms of OpenTelemetry's conventions for generative AI.

use std::sync::Arc;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use super::{CHAT, Setup, until};
use test_support::{
    client::{get, post},
    upstream::Step,
};

const DURATION: &str = "gen_ai_server_request_duration_seconds";
const FIRST_BYTE: &str = "gen_ai_server_time_to_first_token_seconds";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      content-length: 20\r\n\r\ndata: 1\n\n";

/// Returns the value of a sample, whose labels are in the given order.
async fn sample(setup: &Setup, name: &str, labels: &str) -> Option<f64> {
    let page = get(setup.address(), "/metrics").await.text();
    let line = format!("{name}{{{labels}}} ");
    let value = page.lines().find_map(|it| it.strip_prefix(&line))?;
    Some(value.parse().unwrap())
}

/// Waits until a histogram has one sample with these labels.
async fn until_counted(setup: &Setup, histogram: &str, labels: &str) {
    let name = format!("{histogram}_count");
    until(labels, async || {
        sample(setup, &name, labels).await == Some(1.0)
    })
    .await;
}

fn labels(operation: &str, requested: &str, served: &str, status: u16) -> String {
    format!(
        "gen_ai_operation_name=\"{operation}\",gen_ai_request_model=\"{requested}\",\
         gen_ai_response_model=\"{served}\",http_response_status_code=\"{status}\""
    )
}

#[tokio::test]
async fn responses_are_counted_by_model_and_status() {
    let setup = Setup::new().await;
    setup.warm_up().await;
    // Without a model: rejected, or the upstream's matter.
    assert_eq!(post(setup.address(), CHAT, "no JSON").await.status(), 400);
    get(setup.address(), "/v1/files/find-me").await;
    for (path, model, status, operation, requested, served) in [
        (CHAT, "CODE", 200, "chat", "code", "code"),
        (
            CHAT,
            "venice-uncensored",
            429,
            "chat",
            "venice-uncensored",
            "venice-uncensored",
        ),
        (CHAT, "find-me", 503, "chat", "unknown", "mistral-31-24b"),
        (
            "/v1/images/generations",
            "code",
            200,
            "other",
            "code",
            "code",
        ),
    ] {
        setup.upstream.script(vec![Step::response(status, "", "1")]);
        let body = json!({ "model": model }).to_string();
        assert_eq!(post(setup.address(), path, body).await.status(), status);
        let labels = labels(operation, requested, served, status);
        until_counted(&setup, FIRST_BYTE, &labels).await;
        let with_error = match status {
            200 => labels,
            _ => format!("{labels},error_type=\"{status}\""),
        };
        until_counted(&setup, DURATION, &with_error).await;
        let infinity = format!("{with_error},le=\"+Inf\"");
        let buckets = format!("{DURATION}_bucket");
        assert_eq!(sample(&setup, &buckets, &infinity).await, Some(1.0));
    }
    let page = get(setup.address(), "/metrics").await.text();
    let count = |text: &str| page.matches(text).count();
    assert_eq!(count(&format!("{DURATION}_count")), 4, "{page}");
    assert_eq!(count("find-me"), 0, "{page}");
    // As the conventions advise.
    assert_eq!(count(&format!("{DURATION}_bucket")), 4 * 15);
    assert_eq!(count(&format!("{FIRST_BYTE}_bucket")), 4 * 17);
}

#[tokio::test]
async fn first_byte_of_a_stream_is_counted_before_its_end() {
    let permits = Arc::new(Semaphore::new(0));
    let setup = Setup::scripted(vec![
        Step::send(STREAM),
        Step::Wait(Arc::clone(&permits)),
        Step::send("data: 2\n\n"),
        Step::Close,
    ])
    .await;
    setup.warm_up().await;
    let labels = labels("chat", "code", "code", 200);
    let address = setup.address();
    let response = tokio::spawn(async move { post(address, CHAT, r#"{"model":"code"}"#).await });
    until_counted(&setup, FIRST_BYTE, &labels).await;
    let page = get(setup.address(), "/metrics").await.text();
    assert!(!page.contains(&format!("{DURATION}_count")), "{page}");

    permits.add_permits(1);
    assert!(!response.await.unwrap().body.is_complete);
    until_counted(
        &setup,
        DURATION,
        &format!("{labels},error_type=\"body_error\""),
    )
    .await;
}

#[tokio::test]
async fn clients_that_disconnect_are_counted() {
    let script = vec![Step::send(STREAM), Step::WaitForDisconnect];
    let setup = Setup::scripted(script).await;
    setup.warm_up().await;
    let mut client = TcpStream::connect(setup.address()).await.unwrap();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: 16\r\n\r\n{{\"model\":\"code\"}}"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
    drop(client);
    let labels = labels("chat", "code", "code", 200);
    until_counted(
        &setup,
        DURATION,
        &format!("{labels},error_type=\"canceled\""),
    )
    .await;
}
