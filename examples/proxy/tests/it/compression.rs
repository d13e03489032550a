//! Compression of responses for clients.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use flate2::{read, write};
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower_model_routing::BoxError;

use super::{CHAT, Setup, VENICE, forward::h2_client};
use test_support::{
    client::{Response, post_with, send},
    upstream::Step,
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;

/// Posts a chat request that accepts this coding.
async fn chat(setup: &Setup, accepted: &str) -> Response {
    let headers = [
        ("content-type", "application/json"),
        ("accept-encoding", accepted),
    ];
    post_with(setup.address(), CHAT, &headers, BODY).await
}

fn decoded(response: &Response) -> String {
    let mut text = String::new();
    let mut decoder = read::GzDecoder::new(&*response.body.bytes);
    decoder.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn responses_are_compressed_after_their_model_is_rewritten() {
    let padding = "x".repeat(2000);
    let sent = format!(r#"{{"model":"{VENICE}","a":"{padding}"}}"#);
    let expected = sent.replace(VENICE, "venice-uncensored");
    let json = "content-type: application/json\r\n";
    let setup = Setup::scripted(vec![Step::response(200, json, &sent)]).await;
    for accepted in ["gzip", "gzip, deflate, br, zstd"] {
        let response = chat(&setup, accepted).await;
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        assert_eq!(decoded(&response), expected);
    }
    for not_accepted in ["identity", "gzip;q=0", "br", "identity;q=0"] {
        let response = chat(&setup, not_accepted).await;
        assert_eq!(response.status(), 200, "{not_accepted}");
        assert_eq!(response.header("content-encoding"), None, "{not_accepted}");
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        assert_eq!(response.text(), expected);
    }
}

#[tokio::test]
async fn only_json_and_text_that_may_change_are_compressed() {
    let text = "x".repeat(2000);
    let setup = Setup::new().await;
    for (status, headers, is_compressed) in [
        (200, "content-type: application/json", true),
        (404, "content-type: application/problem+json; a=b", true),
        (200, "content-type: Text/HTML", true),
        (200, "content-type: text/plain\r\netag: W/\"1\"", true),
        (200, "content-type: text/plain\r\netag: \"1\"", false),
        (200, "content-type: text/plain\r\ncontent-digest: a", false),
        (
            200,
            "content-type: text/plain\r\ncache-control: a, No-Transform",
            false,
        ),
        (
            200,
            "content-type: text/plain\r\ncontent-encoding: a",
            false,
        ),
        (
            206,
            "content-type: text/plain\r\ncontent-range: bytes 0-1999/9999",
            false,
        ),
        (206, "content-type: text/plain", false),
        (200, "content-type: text/event-stream; charset=utf-8", false),
        (200, "content-type: application/x-ndjson", false),
        (200, "content-type: application/grpc+json", false),
        (200, "content-type: image/svg+xml", false),
        (200, "x-no: type", false),
    ] {
        let script = vec![Step::response(status, &format!("{headers}\r\n"), &text)];
        setup.upstream.script(script);
        let request = "GET /v1/files/1 HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n";
        let response = send(setup.address(), request).await;
        assert_eq!(response.status(), status, "{headers}");
        if is_compressed {
            assert_eq!(
                response.header("content-encoding"),
                Some("gzip"),
                "{headers}"
            );
            assert_eq!(decoded(&response), text, "{headers}");
        } else {
            assert_ne!(
                response.header("content-encoding"),
                Some("gzip"),
                "{headers}"
            );
            assert_eq!(response.header("vary"), None, "{headers}");
            assert_eq!(response.text(), text, "{headers}");
        }
    }
}

#[tokio::test]
async fn streams_are_compressed_without_delay() {
    const PARTS: [&str; 3] = ["[{\"a\":1}", ",{\"a\":2}", ",{\"a\":3}]"];

    let gate = Arc::new(Semaphore::new(0));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut script = vec![Step::send(head)];
    for part in PARTS {
        script.push(Step::send(&format!("{:x}\r\n{part}\r\n", part.len())));
        script.push(Step::Wait(Arc::clone(&gate)));
    }
    script.push(Step::send("0\r\n\r\n"));
    let setup = Setup::scripted(script).await;
    let mut client = h2_client(&setup).await;
    let request = Request::post(format!("http://gateway.example{CHAT}"))
        .header("content-type", "application/json")
        .header("accept-encoding", "gzip")
        .body(Full::<Bytes>::from(BODY).map_err(BoxError::from));
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut body = response.into_body();
    let mut decoder = write::GzDecoder::new(Vec::new());
    let mut expected = String::new();
    for part in PARTS {
        expected += part;
        while decoder.get_ref().len() < expected.len() {
            let frame = body.frame().await.unwrap().unwrap();
            decoder.write_all(&frame.into_data().unwrap()).unwrap();
            decoder.flush().unwrap();
        }
        assert_eq!(decoder.get_ref(), expected.as_bytes());
        gate.add_permits(1);
    }
}
