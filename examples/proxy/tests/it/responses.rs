//! The model's name in responses, and how responses stream.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{CHAT, Setup, VENICE};
use test_support::{
    client::{TIMEOUT, post, read_response},
    upstream::Step,
};

const CHAT_REQUEST: &str = r#"{"model":"venice-uncensored","stream":true}"#;

#[tokio::test]
async fn only_the_model_of_json_changes() {
    let json = "content-type: application/json; charset=utf-8\r\ncontent-md5: x\r\n";
    let body =
        format!("{{ \"n\":1e400,\"x\":{{\"model\":\"{VENICE}\"}}, \"model\" :\t\"{VENICE}\" }}\n");
    let setup = Setup::scripted(vec![Step::response(200, json, &body)]).await;
    let response = post(setup.address(), CHAT, CHAT_REQUEST).await;
    let rewritten = body.replace(&format!("\t\"{VENICE}\""), "\t\"venice-uncensored\"");
    assert_eq!(response.text(), rewritten);
    assert_eq!(response.header("content-md5"), None);
    assert!(response.body.is_complete);
}

#[tokio::test]
async fn other_content_types_and_codings_are_forwarded_unchanged() {
    let setup = Setup::new().await;
    let body = format!("{{\"model\":\"{VENICE}\"}}");
    for (status, headers) in [
        (400, "content-type: text/html\r\n"),
        (200, "content-type: text/plain\r\n"),
        (
            200,
            "content-type: application/json\r\ncontent-encoding: compress\r\n",
        ),
    ] {
        setup
            .upstream
            .script(vec![Step::response(status, headers, &body)]);
        let response = post(setup.address(), CHAT, CHAT_REQUEST).await;
        assert_eq!(response.text(), body, "{headers}");
        assert_eq!(
            response.header("content-length"),
            Some(&*body.len().to_string())
        );
    }
}

#[tokio::test]
async fn events_are_forwarded_when_they_arrive() {
    let gate = Arc::new(Semaphore::new(0));
    let event = |end: &str| format!("data: {{\"model\":\"{VENICE}\",\"n\":1}}{end}{end}");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let setup = Setup::scripted(vec![
        Step::send(head),
        Step::send(": hello\n\n"),
        Step::send(&event("\n")),
        Step::Wait(Arc::clone(&gate)),
        // In two parts, split within the ID.
        Step::send(&event("\r\n")[..30]),
        Step::Wait(Arc::clone(&gate)),
        Step::send(&event("\r\n")[30..]),
        Step::send("data: [DONE]\n\n"),
        Step::Close,
    ])
    .await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let length = CHAT_REQUEST.len();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{CHAT_REQUEST}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let rewritten = event("\n").replace(VENICE, "venice-uncensored");
    let mut received = Vec::new();
    // The upstream sends the second event after the first one has been received here.
    read_until(&mut stream, &mut received, &rewritten).await;
    gate.add_permits(1);
    gate.add_permits(1);
    read_until(&mut stream, &mut received, "[DONE]").await;
    let text = String::from_utf8(received).unwrap();
    // Chunk sizes are between the parts, so look within chunks.
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.contains(": hello\n\n"), "{body}");
    assert!(!body.contains(VENICE), "{body}");
    let second = "{\"model\":\"venice-uncensored\",\"n\":1}\r\n\r\n";
    assert!(body.contains(second), "{body}");
}

async fn read_until(stream: &mut TcpStream, received: &mut Vec<u8>, end: &str) {
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(received).contains(end) {
        let read = timeout(TIMEOUT, stream.read(&mut buffer)).await;
        let len = read.expect("more bytes in time").unwrap();
        assert_ne!(len, 0, "{}", String::from_utf8_lossy(received));
        received.extend_from_slice(&buffer[..len]);
    }
}

#[tokio::test]
async fn events_of_responses_and_messages_are_rewritten() {
    let setup = Setup::new().await;
    for (path, nested) in [("/v1/responses", "response"), ("/v1/messages", "message")] {
        let events = format!(
            "event: created\n\
             data: {{\"type\":\"created\",\"{nested}\":{{\"model\":\"{VENICE}\"}}}}\n\n\
             data: {{\"text\":\"\\\"{nested}\\\":{{\\\"model\\\":\\\"{VENICE}\\\"}}\"}}\n\n"
        );
        let sse = "content-type: text/event-stream\r\n";
        setup
            .upstream
            .script(vec![Step::response(200, sse, &events)]);
        let response = post(setup.address(), path, CHAT_REQUEST).await;
        let rewritten = events.replacen(VENICE, "venice-uncensored", 1);
        assert_eq!(response.text(), rewritten);
    }
}

#[tokio::test]
async fn bursts_of_events_take_few_writes() {
    let events: String = (0..50).map(|event| format!("data: {event}\n\n")).collect();
    let chunks: String = (0..50)
        .map(|event| format!("data: {event}\n\n"))
        .map(|event| format!("{:x}\r\n{event}\r\n", event.len()))
        .collect();
    let head_lines = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      transfer-encoding: chunked\r\n\r\n";
    let burst = format!("{head_lines}{chunks}0\r\n\r\n");
    let setup = Setup::scripted(vec![Step::send(&burst)]).await;
    setup.warm_up().await;
    let mut all_reads = Vec::new();
    // TCP may split a stream anywhere, so most attempts are enough.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        let length = CHAT_REQUEST.len();
        let request = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{CHAT_REQUEST}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut reads, mut received) = (0, Vec::new());
        while !received.ends_with(b"\r\n0\r\n\r\n") {
            let mut piece = [0; 64 * 1024];
            let read = timeout(TIMEOUT, stream.read(&mut piece));
            let count = read.await.expect("a response in time").unwrap();
            assert_ne!(count, 0, "incomplete");
            received.extend_from_slice(&piece[..count]);
            reads += 1;
        }
        all_reads.push(reads);
        let response = read_response(&mut BufReader::new(&received[..]))
            .await
            .unwrap();
        assert_eq!(response.text(), events);
    }
    all_reads.sort_unstable();
    assert!(
        all_reads[all_reads.len() / 2] <= 5,
        "50 events in {all_reads:?} reads"
    );
}
