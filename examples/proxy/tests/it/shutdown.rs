//! Graceful shutdown, and the other signals.

#![cfg(unix)]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{Semaphore, mpsc},
};
use tower_model_routing::BoxError;

use super::{Setup, admin::with_admin_listener, forward::h2_client, until_json};
use test_support::{
    client::{get, read_response},
    upstream::{Received, Step},
};

const REQUEST_BODY: &str = r#"{"model":"code"}"#;
const REQUEST: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n\
                       content-type: application/json\r\ncontent-length: 16\r\n\r\n\
                       {\"model\":\"code\"}";

#[tokio::test]
async fn shutdown_drains_requests_and_closes_idle_connections() {
    for signal in ["TERM", "INT"] {
        let permits = Arc::new(Semaphore::new(0));
        let mut setup = Setup::scripted(vec![
            Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
            Step::Wait(Arc::clone(&permits)),
            Step::send("def"),
        ])
        .await;
        // In flight, idle after a request, and without one.
        let mut busy = TcpStream::connect(setup.address()).await.unwrap();
        busy.write_all(REQUEST.as_bytes()).await.unwrap();
        setup.upstream.request().await;
        let mut silent = TcpStream::connect(setup.address()).await.unwrap();
        let mut idle = TcpStream::connect(setup.address()).await.unwrap();
        idle.write_all(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .unwrap();
        let mut idle = BufReader::new(idle);
        read_response(&mut idle).await.unwrap();

        setup.proxy.signal(signal).await;
        setup.proxy.wait_for_log(&["draining"]).await;
        // Idle connections are closed, and new ones are refused.
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
        assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
        assert!(TcpStream::connect(setup.address()).await.is_err());

        permits.add_permits(1);
        let response = read_response(&mut BufReader::new(busy)).await.unwrap();
        assert_eq!(response.text(), "abcdef");
        let output = setup.proxy.wait().await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(output.stdout, "", "only the first line");
    }
}

#[tokio::test]
async fn admin_listener_serves_during_the_drain() {
    let (mut setup, admin) = with_admin_listener().await;
    let permits = Arc::new(Semaphore::new(0));
    setup.upstream.script(vec![
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
        Step::Wait(Arc::clone(&permits)),
        Step::send("def"),
    ]);
    let mut busy = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = b"GET /v1/files/1 HTTP/1.1\r\nhost: test\r\n\r\n";
    busy.write_all(request).await.unwrap();
    setup.upstream.request().await;
    setup.proxy.signal("TERM").await;
    setup.proxy.wait_for_log(&["draining"]).await;
    assert_eq!(get(admin, "/metrics").await.status(), 200);
    permits.add_permits(1);
    assert_eq!(read_response(&mut busy).await.unwrap().text(), "abcdef");
    assert_eq!(setup.proxy.wait().await.status.code(), Some(0));
}

#[tokio::test]
async fn the_drain_timeout_aborts_requests() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--drain-timeout", "0.2"]);
    })
    .await;
    setup.upstream.script(vec![Step::WaitForDisconnect]);
    let mut busy = TcpStream::connect(setup.address()).await.unwrap();
    busy.write_all(REQUEST.as_bytes()).await.unwrap();
    setup.upstream.request().await;
    setup.proxy.signal("TERM").await;
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.contains("drain timeout"), "{output:?}");
}

#[tokio::test]
async fn a_second_signal_aborts_requests() {
    let mut setup = Setup::scripted(vec![Step::WaitForDisconnect]).await;
    let mut busy = TcpStream::connect(setup.address()).await.unwrap();
    busy.write_all(REQUEST.as_bytes()).await.unwrap();
    setup.upstream.request().await;
    setup.proxy.signal("TERM").await;
    setup.proxy.wait_for_log(&["draining"]).await;
    setup.proxy.signal("INT").await;
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.contains("second signal"), "{output:?}");
}

#[tokio::test]
async fn idle_http2_connections_are_closed() {
    let setup = Setup::new().await;
    let mut client = h2_client(&setup).await;
    let body = Empty::new().map_err(|never| match never {});
    let request = Request::get("http://gateway.example/v1/files");
    let response = client.send_request(request.body(body).unwrap()).await;
    response.unwrap().into_body().collect().await.unwrap();
    let request = setup.upstream.request().await;
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("content-length"), None);

    setup.proxy.signal("TERM").await;
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.contains("drained"), "{output:?}");
}

type H2Body = UnsyncBoxBody<Bytes, BoxError>;
type H2Client = hyper::client::conn::http2::SendRequest<H2Body>;

async fn send(address: SocketAddr, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

fn h2_request(body: H2Body) -> Request<H2Body> {
    Request::post("http://gateway.example/v1/chat/completions")
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn full(body: &'static str) -> H2Body {
    Full::from(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Returns the number that a client gave its request.
fn number(request: &Received) -> usize {
    request.header("x-number").unwrap().parse().unwrap()
}

/// The number of in-flight requests of each kind.
const MANY: usize = 12;
const CODE: &str = "0x8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a";
const EVENT: &str = "data: {\"model\":\"code\"}\n\n";

#[tokio::test]
async fn shutdown_completes_every_request() {
    let mut setup = Setup::new().await;
    let mut used = Vec::new();
    for _ in 0..MANY {
        let mut stream = send(
            setup.address(),
            "GET /health HTTP/1.1\r\nhost: test\r\n\r\n",
        )
        .await;
        read_response(&mut stream).await.unwrap();
        used.push(stream);
    }
    let mut h2 = h2_client(&setup).await;
    let permits = Arc::new(Semaphore::new(0));

    // Streams after their first event.
    let event = EVENT.replace("code", CODE);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    setup.upstream.script(vec![
        Step::send(&format!("{head}{chunk}")),
        Step::Wait(Arc::clone(&permits)),
        Step::send(&format!("{chunk}0\r\n\r\n")),
    ]);
    let streams: Vec<_> = join_all((0..MANY).map(|_| send(setup.address(), REQUEST))).await;
    let mut h2_streams = Vec::new();
    for _ in 0..MANY {
        let response = h2
            .send_request(h2_request(full(REQUEST_BODY)))
            .await
            .unwrap();
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        h2_streams.push((first, body));
    }
    for _ in 0..2 * MANY {
        setup.upstream.head().await;
    }

    // Incomplete uploads, then requests without a response.
    let json = "content-type: application/json\r\n";
    setup.upstream.script(vec![
        Step::Wait(Arc::clone(&permits)),
        Step::response(200, json, r#"{"ok":true}"#),
    ]);
    let (half, rest) = (r#"{"model":"code""#, r#","last":"0123456789"}"#);
    let upload = REQUEST.replace("content-length: 16", "content-length: 36");
    let upload = upload.replace(REQUEST_BODY, half);
    let mut uploads = join_all((0..MANY).map(|_| send(setup.address(), &upload))).await;
    let mut h2_uploads = Vec::new();
    let mut h2_responses = Vec::new();
    for _ in 0..MANY {
        let (frames, body) = mpsc::unbounded_channel();
        let body = stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let body = StreamBody::new(body.map(Ok::<_, BoxError>));
        frames.send(Frame::data(Bytes::from(half))).unwrap();
        h2_uploads.push(frames);
        let response = h2.send_request(h2_request(body.boxed_unsync()));
        h2_responses.push(tokio::spawn(response));
    }
    let plain = join_all((0..MANY).map(|_| send(setup.address(), REQUEST))).await;
    for _ in 0..3 * MANY {
        setup.upstream.head().await;
    }

    // Requests that are in the sockets when the signal arrives, on new connections and
    // on used ones. The stopped proxy cannot read them before.
    setup.proxy.signal("STOP").await;
    let fresh = join_all((0..MANY).map(|_| send(setup.address(), REQUEST))).await;
    for stream in &mut used {
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
    }
    setup.proxy.signal("TERM").await;
    setup.proxy.signal("CONT").await;
    setup.proxy.wait_for_log(&["draining"]).await;
    assert!(TcpStream::connect(setup.address()).await.is_err());
    for _ in 0..2 * MANY {
        setup.upstream.head().await;
    }

    permits.add_permits(100 * MANY);
    for (first, body) in h2_streams {
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!([first, rest].concat(), [EVENT, EVENT].concat().as_bytes());
    }
    for mut stream in streams {
        let response = read_response(&mut stream).await.unwrap();
        assert_eq!(response.text(), [EVENT, EVENT].concat());
    }
    for stream in &mut uploads {
        stream.write_all(rest.as_bytes()).await.unwrap();
    }
    for frames in h2_uploads {
        frames.send(Frame::data(Bytes::from(rest))).unwrap();
    }
    for response in h2_responses {
        let body = response.await.unwrap().unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), r#"{"ok":true}"#);
    }
    for mut stream in uploads.into_iter().chain(plain).chain(fresh).chain(used) {
        let response = read_response(&mut stream).await.unwrap();
        assert_eq!(response.text(), r#"{"ok":true}"#);
        assert_eq!(response.header("connection"), Some("close"));
    }
    for _ in 0..7 * MANY {
        assert!(setup.upstream.request().await.body.is_complete);
    }
    assert!(!setup.upstream.has_request().await);
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.contains("drained"), "{output:?}");
}

#[tokio::test]
async fn shutdown_under_load_loses_no_request() {
    let setup = Setup::new().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..24 {
        let (address, sent) = (setup.address(), Arc::clone(&sent));
        clients.push(match number % 3 {
            0 => tokio::spawn(load_with_h2(h2_client(&setup).await, sent)),
            1 => tokio::spawn(load(address, sent, "close")),
            _ => tokio::spawn(load(address, sent, "keep-alive")),
        });
    }
    let mut seen = HashSet::new();
    while seen.len() < 300 {
        seen.insert(number(&setup.upstream.request().await));
    }
    setup.proxy.signal("TERM").await;
    let mut without_response = Vec::new();
    for client in clients {
        without_response.extend(client.await.unwrap());
    }
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    while setup.upstream.has_request().await {
        seen.insert(number(&setup.upstream.request().await));
    }
    // Clients may retry these, so the upstream must not have seen them.
    for number in &without_response {
        assert!(!seen.contains(number), "request {number} was lost");
    }
    assert_eq!(
        seen.len() + without_response.len(),
        sent.load(Ordering::Relaxed)
    );
}

/// Sends requests one after the other until connections are refused. Returns the
/// numbers of those without a response.
async fn load(address: SocketAddr, sent: Arc<AtomicUsize>, connection: &str) -> Vec<usize> {
    let mut without_response = Vec::new();
    while let Ok(stream) = TcpStream::connect(address).await {
        let mut stream = BufReader::new(stream);
        loop {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let headers = format!("x-number: {number}\r\nconnection: {connection}\r\nhost:");
            let request = REQUEST.replace("host:", &headers);
            // The proxy may have closed the connection.
            let _ = stream.write_all(request.as_bytes()).await;
            let Some(response) = read_response(&mut stream).await else {
                without_response.push(number);
                break;
            };
            assert_eq!(response.text(), r#"{"ok":true}"#, "request {number}");
            if response.header("connection") == Some("close") {
                break;
            }
        }
    }
    without_response
}

/// Does the same over one HTTP/2 connection.
async fn load_with_h2(mut client: H2Client, sent: Arc<AtomicUsize>) -> Vec<usize> {
    while client.ready().await.is_ok() {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let mut request = h2_request(full(REQUEST_BODY));
        request.headers_mut().insert("x-number", number.into());
        let Ok(response) = client.send_request(request).await else {
            return vec![number];
        };
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"ok":true}"#, "request {number}");
    }
    Vec::new()
}

#[tokio::test]
async fn sighup_refreshes_the_catalog_and_keeps_streams() {
    let setup = Setup::new().await;
    setup.warm_up().await;
    let permits = Arc::new(Semaphore::new(0));
    setup.upstream.script(vec![
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
        Step::Wait(Arc::clone(&permits)),
        Step::send("def"),
    ]);
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = b"GET /v1/files/1 HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(request).await.unwrap();
    setup.upstream.request().await;
    setup.proxy.signal("HUP").await;
    until_json(&setup, "/health/models", |health| {
        health["cache_stats"]["refreshes_unchanged"] == 1
    })
    .await;
    permits.add_permits(1);
    assert_eq!(read_response(&mut stream).await.unwrap().text(), "abcdef");
}
