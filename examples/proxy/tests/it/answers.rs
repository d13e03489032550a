//! The answer side: names restored while the answer streams, the metrics, and
//! single models.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{CHAT, Setup, VENICE};
use test_support::{
    client::{PATIENCE, get, post, post_with},
    upstream::Act,
};

const CHAT_REQUEST: &str = r#"{"model":"venice-uncensored","stream":true}"#;

#[tokio::test]
async fn a_json_answer_has_the_name_and_no_other_byte_changes() {
    let json = "content-type: application/json; charset=utf-8\r\ncontent-md5: x\r\n";
    let body =
        format!("{{ \"n\":1e400,\"x\":{{\"model\":\"{VENICE}\"}}, \"model\" :\t\"{VENICE}\" }}\n");
    let setup = Setup::scripted(vec![Act::answer(200, json, &body)]).await;
    let answer = post(setup.address(), CHAT, CHAT_REQUEST).await;
    let restored = body.replace(&format!("\t\"{VENICE}\""), "\t\"venice-uncensored\"");
    assert_eq!(answer.text(), restored);
    assert_eq!(answer.header("content-md5"), None);
    assert!(answer.payload.is_complete);
}

#[tokio::test]
async fn errors_and_other_types_pass_untouched() {
    let setup = Setup::new().await;
    let body = format!("{{\"model\":\"{VENICE}\"}}");
    for (status, headers) in [
        (400, "content-type: application/json\r\n"),
        (200, "content-type: text/plain\r\n"),
        (
            200,
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        ),
    ] {
        setup
            .upstream
            .script(vec![Act::answer(status, headers, &body)]);
        let answer = post(setup.address(), CHAT, CHAT_REQUEST).await;
        assert_eq!(answer.text(), body, "{headers}");
        assert_eq!(
            answer.header("content-length"),
            Some(&*body.len().to_string())
        );
    }
}

#[tokio::test]
async fn an_event_leaves_before_the_next_one_has_come() {
    let gate = Arc::new(Semaphore::new(0));
    let event = |end: &str| format!("data: {{\"model\":\"{VENICE}\",\"n\":1}}{end}{end}");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let setup = Setup::scripted(vec![
        Act::send(head),
        Act::send(": hello\n\n"),
        Act::send(&event("\n")),
        Act::Wait(Arc::clone(&gate)),
        // In two pieces, cut within the ID.
        Act::send(&event("\r\n")[..30]),
        Act::Wait(Arc::clone(&gate)),
        Act::send(&event("\r\n")[30..]),
        Act::send("data: [DONE]\n\n"),
        Act::Close,
    ])
    .await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let length = CHAT_REQUEST.len();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{CHAT_REQUEST}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let restored = event("\n").replace(VENICE, "venice-uncensored");
    let mut received = Vec::new();
    // The second event comes only once the first one has been seen here.
    read_until(&mut stream, &mut received, &restored).await;
    gate.add_permits(1);
    gate.add_permits(1);
    read_until(&mut stream, &mut received, "[DONE]").await;
    let text = String::from_utf8(received).unwrap();
    // Sizes of chunks lie between the pieces, so look at what is in one of them.
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.contains(": hello\n\n"), "{body}");
    assert!(!body.contains(VENICE), "{body}");
    let second = "{\"model\":\"venice-uncensored\",\"n\":1}\r\n\r\n";
    assert!(body.contains(second), "{body}");
}

async fn read_until(stream: &mut TcpStream, received: &mut Vec<u8>, end: &str) {
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(received).contains(end) {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let len = read.expect("more in time").unwrap();
        assert_ne!(len, 0, "{}", String::from_utf8_lossy(received));
        received.extend_from_slice(&buffer[..len]);
    }
}

#[tokio::test]
async fn the_stream_shapes_of_other_apis_are_restored_by_path() {
    let setup = Setup::new().await;
    for (path, nested) in [("/v1/responses", "response"), ("/v1/messages", "message")] {
        let events = format!(
            "event: created\ndata: {{\"type\":\"created\",\"{nested}\":{{\"model\":\"{VENICE}\"}}}}\n\n\
             data: {{\"text\":\"\\\"{nested}\\\":{{\\\"model\\\":\\\"{VENICE}\\\"}}\"}}\n\n"
        );
        let sse = "content-type: text/event-stream\r\n";
        setup.upstream.script(vec![Act::answer(200, sse, &events)]);
        let answer = post(setup.address(), path, CHAT_REQUEST).await;
        let restored = events.replacen(VENICE, "venice-uncensored", 1);
        assert_eq!(answer.text(), restored);
    }
}

#[tokio::test]
async fn the_id_header_says_the_model_and_no_client_forges_it() {
    let setup = Setup::with(|command| {
        command.args(["--id-header", "model_id"]);
    })
    .await;
    let json = ("content-type", "application/json");
    let headers = [json, ("model_id", "forged"), ("model-id", "forged")];
    post_with(setup.address(), CHAT, &headers, CHAT_REQUEST).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.head.all("model_id"), [VENICE]);
    assert_eq!(request.header("model-id"), None);
    post_with(setup.address(), "/v1/files", &headers[1..], "x").await;
    assert_eq!(setup.upstream.request().await.header("model_id"), None);
}

#[tokio::test]
async fn an_unknown_model_is_refused_with_suggestions_where_there_is_no_fallback() {
    let setup = Setup::with(|command| {
        command.env("DEFAULT_FALLBACK_MODEL", "");
    })
    .await;
    let answer = post(setup.address(), CHAT, r#"{"model":"venice-uncensord"}"#).await;
    assert_eq!(answer.error(), (404, "model_not_found".to_owned()));
    assert!(
        answer
            .text()
            .contains(r#"Did you mean \"venice-uncensored\"?"#)
    );
    let answer = post(setup.address(), CHAT, r#"{"model":"code",}"#).await;
    assert_eq!(answer.error(), (400, "invalid_json".to_owned()));
    assert!(answer.text().contains("byte 16"), "{}", answer.text());
}

#[tokio::test]
async fn the_metrics_are_there_and_name_no_client_text() {
    let setup = Setup::new().await;
    post(setup.address(), CHAT, CHAT_REQUEST).await;
    post(setup.address(), CHAT, r#"{"model":"no-such-model-{}"}"#).await;
    post(setup.address(), CHAT, r#"{"model":"a","model":"b"}"#).await;
    let metrics = get(setup.address(), "/metrics").await;
    assert_eq!(metrics.status(), 200);
    let text = metrics.text();
    for line in [
        "# TYPE model_routing_requests_total counter",
        r#"model_routing_requests_total{outcome="name",model="venice-uncensored"} 1"#,
        r#"model_routing_requests_total{outcome="fallback",model="mistral-31-24b"} 1"#,
        r#"model_routing_requests_total{outcome="rejected",model="unknown"} 1"#,
        r#"model_routing_rejections_total{code="duplicate_model"} 1"#,
        r#"model_registry_refreshes_total{result="changed"} 1"#,
        "# TYPE model_routing_layer_seconds histogram",
        "model_routing_layer_seconds_count 3",
        "model_routing_held_bytes 0",
        "model_registry_models ",
        "model_registry_age_seconds ",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("no-such-model"), "{text}");
}

#[tokio::test]
async fn one_model_and_revalidation() {
    let setup = Setup::new().await;
    let answer = get(setup.address(), "/v1/models/VENICE-uncensored").await;
    assert_eq!(answer.json()["blockchainID"], VENICE);
    assert!(answer.header("etag").is_some());
    let answer = get(setup.address(), "/api/v1/models/venice-uncensord").await;
    let (status, code) = answer.error();
    assert_eq!((status, &*code), (404, "model_not_found"));
    assert!(answer.text().contains("venice-uncensored"));
}

#[tokio::test]
async fn the_model_part_of_a_form_is_replaced_while_the_file_streams() {
    let setup = Setup::new().await;
    let file = "\0\r\n--not-the-boundary".repeat(100_000);
    for model_first in [true, false] {
        let part = |name: &str, more: &str, content: &str| {
            format!(
                "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{content}\r\n"
            )
        };
        let parts = [
            part("model", "", "whisper-1"),
            part("file", "; filename=\"a.wav\"", &file),
        ];
        let order = if model_first { [0, 1] } else { [1, 0] };
        let body = format!("{}{}--xyz--\r\n", parts[order[0]], parts[order[1]]);
        let form = [("content-type", "multipart/form-data; boundary=xyz")];
        let answer = timeout(
            Duration::from_secs(60),
            post_with(setup.address(), "/v1/audio/transcriptions", &form, &body),
        );
        assert_eq!(answer.await.unwrap().status(), 200);
        let request = setup.upstream.request().await;
        let id = format!("0x{}", "cb".repeat(32));
        assert!(
            request.text() == body.replace("whisper-1", &id),
            "only the model changes, to {id}"
        );
    }
}
