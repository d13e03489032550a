//! What is expected of any proxy: IDs and logs, expectations, keys, bursts, slow
//! readers.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{CHAT, Setup, forward::h2_client, proxy};
use test_support::{
    client::{PATIENCE, answer, get, post, post_with},
    process::run,
    upstream::Act,
    wire::Head,
};

const BODY: &str = r#"{"model":"code"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const KEY: &str = "Bearer sk-upstream-1234";

/// The head of a request in JSON that goes on with these lines.
fn head(lines: &str) -> String {
    format!("POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{lines}\r\n")
}

#[tokio::test]
async fn a_request_has_one_id_on_all_its_way() {
    let setup = Setup::new().await;
    let answer = post(setup.address(), CHAT, BODY).await;
    let id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let request = setup.upstream.request().await;
    assert_eq!(request.header("x-request-id"), Some(&*id));
    let other = get(setup.address(), "/health").await;
    assert_ne!(other.header("x-request-id"), Some(&*id));
}

#[tokio::test]
async fn a_clients_own_id_stays_unless_it_is_odd() {
    let setup = Setup::new().await;
    let long = "x".repeat(1000);
    for (id, stays) in [("client-7", true), ("a b", false), (&long, false)] {
        let headers = [JSON, ("x-request-id", id)];
        let answer = post_with(setup.address(), CHAT, &headers, BODY).await;
        let request = setup.upstream.request().await;
        assert_eq!(
            request.header("x-request-id"),
            answer.header("x-request-id")
        );
        assert_eq!(answer.header("x-request-id") == Some(id), stays);
    }
}

#[tokio::test]
async fn a_log_in_json_is_an_object_per_line_with_the_id() {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--log-format", "json"]);
        proxy.env("RUST_LOG", "info,proxy=debug");
    })
    .await;
    setup.warm_up().await;
    setup.upstream.script(vec![Act::Close]);
    let headers = [JSON, ("x-request-id", "find-me")];
    let target = format!("{CHAT}?key=secret");
    let answer = post_with(setup.address(), &target, &headers, BODY).await;
    assert_eq!(answer.status(), 502);
    let failed = setup
        .proxy
        .logged(&["the upstream failed", "find-me"])
        .await;
    let finished = setup.proxy.logged(&["\"status\":502", "find-me"]).await;
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
async fn a_log_in_text_has_the_id_too() {
    let mut setup = Setup::scripted(vec![Act::Close]).await;
    let headers = [JSON, ("x-request-id", "find-me")];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    setup.proxy.logged(&["upstream failed", "find-me"]).await;
    let unknown = BODY.replace("code", "no-such-model");
    post_with(setup.address(), CHAT, &headers, &unknown).await;
    let parts = ["routing to the fallback model", "find-me", "no-such-model"];
    setup.proxy.logged(&parts).await;
}

#[tokio::test]
async fn a_client_cannot_keep_the_id_from_the_upstream() {
    let setup = Setup::new().await;
    let headers = [JSON, ("connection", "x-request-id"), ("x-request-id", "7")];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.header("x-request-id"), Some("7"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_logged_with_the_id() {
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let mut setup = Setup::scripted(vec![Act::send(broken), Act::Close]).await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let lines = format!(
        "x-request-id: find-me\r\ncontent-length: {}\r\n",
        BODY.len()
    );
    let request = head(&lines) + BODY;
    stream.write_all(request.as_bytes()).await.unwrap();
    let cause = "end of file before message length reached";
    let parts = ["WARN", "broke off its answer", "find-me", cause];
    setup.proxy.logged(&parts).await;
}

#[tokio::test]
async fn heads_in_http2_may_be_as_large_as_in_http1() {
    let setup = Setup::new().await;
    let mut client = h2_client(&setup).await;
    for (len, status) in [(200 * 1024, 200), (270 * 1024, 431)] {
        let request = Request::get("http://gateway.example/health")
            .header("x-large", "x".repeat(len))
            .body(Empty::<Bytes>::new().map_err(|never| match never {}));
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn a_log_of_another_format_is_an_error_that_names_the_variable() {
    let remains = run(proxy().env("LOG_FORMAT", "xml")).await;
    assert_eq!(remains.status.code(), Some(2), "{remains:?}");
    assert!(remains.stderr.contains("LOG_FORMAT"), "{remains:?}");
}

#[tokio::test]
async fn the_upstreams_key_takes_the_place_of_the_clients_and_is_never_shown() {
    let setup = Setup::with(|proxy| {
        proxy.env("UPSTREAM_AUTHORIZATION", KEY);
        proxy.env("RUST_LOG", "trace");
    })
    .await;
    let with_key = [JSON, ("authorization", "Bearer sk-client")];
    for headers in [&with_key[..], &with_key[..1]] {
        let answer = post_with(setup.address(), CHAT, headers, BODY).await;
        assert_eq!(answer.status(), 200);
        assert!(!format!("{answer:?}").contains("sk-upstream"));
        let request = setup.upstream.request().await;
        assert_eq!(request.header("authorization"), Some(KEY));
    }
    for page in ["/health", "/health/models", "/metrics", "/v1/models"] {
        let answer = get(setup.address(), page).await;
        assert!(!answer.text().contains("sk-upstream"), "{page}");
    }
    assert!(!setup.proxy.log().contains("sk-upstream"));
    let help = run(proxy().env("UPSTREAM_AUTHORIZATION", KEY).arg("--help")).await;
    assert!(help.stdout.contains("UPSTREAM_AUTHORIZATION"));
    assert!(!help.stdout.contains("sk-upstream"));
}

#[tokio::test]
async fn a_bad_key_is_an_error_that_does_not_repeat_it() {
    for key in ["", " ", "Bearer sk-\u{e9}", "Bearer sk-1\nsk-2"] {
        let remains = run(proxy().env("UPSTREAM_AUTHORIZATION", key)).await;
        assert_eq!(remains.status.code(), Some(2), "{key:?}: {remains:?}");
        assert!(remains.stderr.contains("UPSTREAM_AUTHORIZATION"));
        assert!(!remains.stderr.contains("sk-"), "{remains:?}");
    }
}

#[tokio::test]
async fn what_the_head_decides_is_said_without_asking_for_the_body() {
    let setup = Setup::new().await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = head("content-length: 1000\r\nexpect: 100-continue\r\n");
    let request = request.replace("application/json", "text/plain");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = answer(&mut stream).await.unwrap();
    assert_eq!(answer.error(), (415, "unsupported_media_type".to_owned()));
}

#[tokio::test]
async fn an_expectation_does_not_go_upstream_where_nothing_is_inspected() {
    let setup = Setup::new().await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = "PUT /v1/files/1 HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\
                   expect: 100-continue\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let interim = Head::read(&mut stream).await.unwrap().unwrap();
    assert_eq!(interim.word(1), "100");
    stream.write_all(b"abc").await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().status(), 200);
    let request = setup.upstream.request().await;
    assert_eq!((request.text(), request.header("expect")), ("abc", None));
}

#[tokio::test]
async fn a_request_to_upgrade_is_served_without() {
    let setup = Setup::new().await;
    let request = "GET /v1/realtime HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n";
    let answer = test_support::client::send(setup.address(), request).await;
    assert_eq!(answer.status(), 200);
    let request = setup.upstream.request().await;
    assert_eq!(request.header("upgrade"), None);
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_a_bad_gateway() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\n\r\n";
    let setup = Setup::scripted(vec![Act::send(switching), Act::WaitUntilGone]).await;
    let answer = post(setup.address(), CHAT, BODY).await;
    assert_eq!(answer.error(), (502, "upstream_unavailable".to_owned()));
}

#[tokio::test]
async fn the_upstream_learns_of_each_proxy_on_the_way() {
    let setup = Setup::new().await;
    let headers = [JSON, ("via", "1.0 fred")];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(
        request.head.all("via"),
        ["1.0 fred", "1.1 tower-model-routing"]
    );
}

#[tokio::test]
async fn events_that_come_together_leave_in_few_writes() {
    let events: String = (0..50).map(|event| format!("data: {event}\n\n")).collect();
    let chunks: String = (0..50)
        .map(|event| format!("data: {event}\n\n"))
        .map(|event| format!("{:x}\r\n{event}\r\n", event.len()))
        .collect();
    let head_lines = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      transfer-encoding: chunked\r\n\r\n";
    let burst = format!("{head_lines}{chunks}0\r\n\r\n");
    let setup = Setup::scripted(vec![Act::send(&burst)]).await;
    setup.warm_up().await;
    let mut tries = Vec::new();
    // How TCP cuts a stream is nobody's promise, so most tries are enough.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        let length = format!("content-length: {}\r\n", BODY.len());
        let request = head(&length) + BODY;
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut reads, mut received) = (0, Vec::new());
        while !received.ends_with(b"\r\n0\r\n\r\n") {
            let mut piece = [0; 64 * 1024];
            let read = timeout(PATIENCE, stream.read(&mut piece));
            let count = read.await.expect("an answer in time").unwrap();
            assert_ne!(count, 0, "cut off");
            received.extend_from_slice(&piece[..count]);
            reads += 1;
        }
        tries.push(reads);
        let whole = answer(&mut BufReader::new(&received[..])).await.unwrap();
        assert_eq!(whole.text(), events);
    }
    tries.sort_unstable();
    assert!(tries[tries.len() / 2] <= 5, "50 events in {tries:?} reads");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_hung_up_on() {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--client-write-timeout", "0.2"]);
        proxy.env("RUST_LOG", "proxy=debug");
    })
    .await;
    // More than all buffers on the way take.
    let large = "x".repeat(64 * 1024 * 1024);
    setup.upstream.script(vec![Act::answer(200, "", &large)]);
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let length = format!("content-length: {}\r\n", BODY.len());
    let request = head(&length) + BODY;
    stream.write_all(request.as_bytes()).await.unwrap();
    setup.proxy.logged(&["a connection failed"]).await;
    let answer = answer(&mut BufReader::new(stream)).await.unwrap();
    assert!(!answer.payload.is_complete);
}
