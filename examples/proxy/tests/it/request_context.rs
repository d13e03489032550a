//! Request IDs and log lines.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{CHAT, Setup};
use test_support::{
    client::{get, post, post_with},
    upstream::Step,
};

const BODY: &str = r#"{"model":"code"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_request_has_one_id() {
    let setup = Setup::new().await;
    let response = post(setup.address(), CHAT, BODY).await;
    let id = response.header("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let request = setup.upstream.request().await;
    assert_eq!(request.header("x-request-id"), Some(&*id));
    let other = get(setup.address(), "/health").await;
    assert_ne!(other.header("x-request-id"), Some(&*id));
}

#[tokio::test]
async fn usable_ids_of_clients_are_kept() {
    let setup = Setup::new().await;
    let long = "x".repeat(1000);
    for (id, is_kept) in [("client-7", true), ("a b", false), (&long, false)] {
        let headers = [JSON, ("x-request-id", id)];
        let response = post_with(setup.address(), CHAT, &headers, BODY).await;
        let request = setup.upstream.request().await;
        assert_eq!(
            request.header("x-request-id"),
            response.header("x-request-id")
        );
        assert_eq!(response.header("x-request-id") == Some(id), is_kept);
    }
}

#[tokio::test]
async fn json_logs_have_an_object_per_line() {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--log-format", "json"]);
        proxy.env("RUST_LOG", "info,proxy=debug");
    })
    .await;
    setup.warm_up().await;
    setup.upstream.script(vec![Step::Close]);
    let headers = [JSON, ("x-request-id", "find-me")];
    let target = format!("{CHAT}?key=secret");
    let response = post_with(setup.address(), &target, &headers, BODY).await;
    assert_eq!(response.status(), 502);
    let failed = setup
        .proxy
        .wait_for_log(&["upstream request failed", "find-me"])
        .await;
    let finished = setup
        .proxy
        .wait_for_log(&["\"status\":502", "find-me"])
        .await;
    for line in [&failed, &finished] {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["spans"][0]["request_id"], "find-me", "{line}");
        assert_eq!(line["spans"][0]["path"], CHAT, "{line}");
        assert!(line["timestamp"].is_string() && line["level"].is_string());
    }
    let finished: Value = serde_json::from_str(&finished).unwrap();
    assert!(finished["seconds"].is_f64(), "{finished}");
    let log = setup.proxy.log();
    assert!(log.lines().count() > 2);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        assert!(line["message"].is_string(), "{line}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn text_logs_have_the_id() {
    let mut setup = Setup::scripted(vec![Step::Close]).await;
    let headers = [JSON, ("x-request-id", "find-me")];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    setup
        .proxy
        .wait_for_log(&["upstream request failed", "find-me"])
        .await;
    let unknown = BODY.replace("code", "no-such-model");
    post_with(setup.address(), CHAT, &headers, &unknown).await;
    let parts = ["routing to the fallback model", "find-me", "no-such-model"];
    setup.proxy.wait_for_log(&parts).await;
}

#[tokio::test]
async fn connection_cannot_remove_the_id() {
    let setup = Setup::new().await;
    let headers = [JSON, ("connection", "x-request-id"), ("x-request-id", "7")];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.header("x-request-id"), Some("7"));
}

#[tokio::test]
async fn incomplete_responses_are_logged() {
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let mut setup = Setup::scripted(vec![Step::send(broken), Step::Close]).await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         x-request-id: find-me\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let cause = "end of file before message length reached";
    let parts = ["WARN", "upstream response ended early", "find-me", cause];
    setup.proxy.wait_for_log(&parts).await;
}

#[tokio::test]
async fn access_log_has_a_line_per_response() {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--log-format", "json", "--access-log"]);
    })
    .await;
    setup.warm_up().await;
    let unknown = BODY.replace("code", "no-such\u{202e}-model");
    for (id, body, status, model, served) in [
        ("id-1", BODY, 200, json!("code"), json!("code")),
        (
            "id-2",
            &*unknown,
            200,
            json!("no-such\u{202e}-model"),
            json!("mistral-31-24b"),
        ),
        ("id-3", "no JSON", 400, Value::Null, Value::Null),
    ] {
        let headers = [JSON, ("x-request-id", id)];
        let target = format!("{CHAT}?key=secret");
        let response = post_with(setup.address(), &target, &headers, body).await;
        assert_eq!(response.status(), status);
        let line = setup.proxy.wait_for_log(&["\"access\"", id]).await;
        assert!(line.is_ascii(), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["status"], status);
        assert_eq!((&line["model"], &line["served"]), (&model, &served));
        assert_eq!(line["complete"], true, "{line}");
        assert_eq!(line["bytes"], response.body.length);
        let first_byte = line["first_byte_seconds"].as_f64().unwrap();
        assert!(first_byte <= line["seconds"].as_f64().unwrap());
        assert_eq!(line["rejection"].is_string(), status == 400);
        assert_eq!(line["spans"][0]["method"], "POST");
        assert_eq!(line["spans"][0]["path"], CHAT);
    }
    assert!(!setup.proxy.log().contains("secret"));
}

#[tokio::test]
async fn access_log_has_clients_that_disconnect_before_the_response() {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--log-format", "json", "--access-log"]);
    })
    .await;
    setup.warm_up().await;
    setup.upstream.script(vec![Step::WaitForDisconnect]);
    let mut client = TcpStream::connect(setup.address()).await.unwrap();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: test\r\nx-request-id: gone\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    setup.upstream.request().await;
    drop(client);
    let line = setup.proxy.wait_for_log(&["\"access\"", "gone"]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["complete"], false, "{line}");
    assert_eq!(line["status"], Value::Null, "{line}");
    assert_eq!(line["spans"][0]["request_id"], "gone");
}
