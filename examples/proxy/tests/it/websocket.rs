//! WebSockets, which are tunnelled.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
};

use super::{CHAT, Setup, VENICE, until};
use test_support::{
    client::{get, read_response, send},
    upstream::Step,
    wire::Head,
};

const HANDSHAKE: &str = "GET /v1/realtime?model=venice-uncensored&a=1 HTTP/1.1\r\nhost: test\r\n\
                         connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-protocol: realtime\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         origin: https://app.example.com\r\n\r\n";
pub(super) const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-protocol: realtime\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Returns a setup whose upstream sends `hello` and then what it receives.
async fn echo(args: &[&str]) -> Setup {
    let setup = Setup::with(|proxy| {
        proxy.args(args);
    })
    .await;
    let hello = format!("{ACCEPT}hello");
    setup.upstream.script(vec![Step::send(&hello), Step::Echo]);
    setup
}

/// Sends a handshake, and returns the connection after it with the response.
pub(super) async fn open(setup: &Setup) -> (BufReader<TcpStream>, Head) {
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let head = Head::read(&mut stream).await.unwrap().unwrap();
    (stream, head)
}

async fn expect(stream: &mut BufReader<TcpStream>, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).await.unwrap();
    assert!(received == expected);
}

#[tokio::test]
async fn messages_pass_in_both_directions_until_both_sides_are_closed() {
    let setup = echo(&["--cors-origin", "*"]).await;
    let (mut stream, head) = open(&setup).await;
    assert_eq!(head.status(), 101, "{head:?}");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "realtime"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("x-model-id", VENICE),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    let request = setup.upstream.request().await;
    assert_eq!(request.target(), format!("/v1/realtime?model={VENICE}&a=1"));
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "realtime"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    // Servers reject handshakes with a body.
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("transfer-encoding"), None);

    expect(&mut stream, b"hello").await;
    for length in [1, 1_000, 1_000_000] {
        let message = vec![length as u8; length];
        let (read, mut write) = stream.get_mut().split();
        let mut read = BufReader::new(read);
        let mut received = vec![0; length];
        let (sent, echoed) =
            tokio::join!(write.write_all(&message), read.read_exact(&mut received));
        sent.unwrap();
        echoed.unwrap();
        assert!(received == message);
    }
    stream.write_all(b"last").await.unwrap();
    stream.shutdown().await.unwrap();
    expect(&mut stream, b"last").await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn messages_that_follow_the_handshake_at_once_arrive() {
    let setup = echo(&[]).await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = format!("{HANDSHAKE}first");
    stream.write_all(request.as_bytes()).await.unwrap();
    Head::read(&mut stream).await.unwrap().unwrap();
    expect(&mut stream, b"hellofirst").await;
}

#[tokio::test]
async fn a_side_that_disconnects_ends_the_other() {
    let setup = Setup::new().await;
    let script = vec![Step::send(ACCEPT), Step::WaitForDisconnect];
    setup.upstream.script(script);
    drop(open(&setup).await);
    setup.upstream.wait_for_disconnect().await;

    setup.upstream.script(vec![Step::send(ACCEPT), Step::Close]);
    let (mut stream, _) = open(&setup).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn refusals_pass_and_the_connection_stays_usable() {
    let setup = Setup::new().await;
    let refusal = Step::response(426, "sec-websocket-version: 13\r\n", "no");
    setup.upstream.script(vec![refusal]);
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    for _ in 0..2 {
        stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        let response = read_response(&mut stream).await.unwrap();
        assert_eq!(response.status(), 426);
        assert_eq!(response.header("sec-websocket-version"), Some("13"));
        assert_eq!(response.header("upgrade"), None);
        assert_eq!(response.text(), "no");
    }
}

#[tokio::test]
async fn other_upgrades_are_forwarded_without_upgrade() {
    let setup = Setup::new().await;
    for request in [
        HANDSHAKE.replace("WebSocket", "h2c"),
        HANDSHAKE.replace("keep-alive, Upgrade", "keep-alive"),
        HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"),
        HANDSHAKE.replace("GET", "DELETE"),
        HANDSHAKE.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\n{}"),
        HANDSHAKE.replace(
            "\r\n\r\n",
            "\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        assert_eq!(send(setup.address(), &request).await.status(), 200);
        let received = setup.upstream.request().await;
        assert_eq!(received.header("upgrade"), None, "{request}");
        assert_eq!(received.header("connection"), None, "{request}");
    }
}

#[tokio::test]
async fn upgrades_that_were_not_requested_are_bad_gateways() {
    let other = ACCEPT.replace("websocket\r\n", "h2c\r\n");
    let post = format!("POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}");
    for (request, response) in [
        (post, ACCEPT),
        (HANDSHAKE.replace("WebSocket", "h2c"), ACCEPT),
        (HANDSHAKE.to_owned(), &*other),
    ] {
        let setup = Setup::scripted(vec![Step::send(response), Step::WaitForDisconnect]).await;
        let response = send(setup.address(), request).await;
        assert_eq!(response.error(), (502, "upstream_unavailable".to_owned()));
        setup.upstream.wait_for_disconnect().await;
    }
}

#[tokio::test]
async fn a_tunnel_is_a_request_in_flight() {
    let setup = echo(&["--max-requests", "1"]).await;
    let (mut stream, _) = open(&setup).await;
    expect(&mut stream, b"hello").await;
    let rejected = get(setup.address(), "/v1/files").await;
    assert_eq!(rejected.error(), (503, "overloaded".to_owned()));
    drop(stream);
    setup.upstream.script(vec![Step::response(200, "", "{}")]);
    until("the permit is returned", async || {
        get(setup.address(), "/v1/files").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn clients_that_disconnect_during_the_handshake_leave_no_tunnel() {
    let setup = echo(&["--max-requests", "20"]).await;
    for is_half_closed in [true, false].repeat(10) {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        if is_half_closed {
            stream.shutdown().await.unwrap();
            setup.upstream.request().await;
        }
    }
    // All permits are returned: each of these tunnels keeps one.
    let mut tunnels = Vec::new();
    while tunnels.len() < 20 {
        let (stream, head) = open(&setup).await;
        match head.status() {
            101 => tunnels.push(stream),
            status => assert_eq!(status, 503),
        }
    }
}

#[tokio::test]
async fn idle_tunnels_are_closed() {
    let setup = echo(&["--upstream-idle-timeout", "0.5"]).await;
    let (mut stream, _) = open(&setup).await;
    expect(&mut stream, b"hello").await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn shutdown_waits_for_tunnels() {
    let permits = Arc::new(Semaphore::new(0));
    let mut setup = echo(&[]).await;
    let (mut stream, _) = open(&setup).await;
    expect(&mut stream, b"hello").await;
    let mut idle = TcpStream::connect(setup.address()).await.unwrap();
    // This handshake ends after idle connections were closed.
    let late = vec![
        Step::Wait(Arc::clone(&permits)),
        Step::send(ACCEPT),
        Step::Echo,
    ];
    setup.upstream.request().await;
    setup.upstream.script(late);
    let mut later = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    later.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    setup.upstream.request().await;

    setup.proxy.signal("TERM").await;
    setup.proxy.wait_for_log(&["draining"]).await;
    assert!(matches!(idle.read(&mut [0]).await, Ok(0) | Err(_)));
    permits.add_permits(1);
    let head = Head::read(&mut later).await.unwrap().unwrap();
    assert_eq!(head.status(), 101, "{head:?}");
    // hyper adds `close`, as to other responses.
    assert!(head.header("connection").unwrap().starts_with("upgrade"));
    for stream in [&mut stream, &mut later] {
        stream.write_all(b"message").await.unwrap();
        expect(stream, b"message").await;
    }
    drop((stream, later));
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.contains("drained"), "{output:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_drain_timeout_closes_tunnels() {
    let setup = echo(&["--drain-timeout", "0.2"]).await;
    let (mut stream, _) = open(&setup).await;
    expect(&mut stream, b"hello").await;
    setup.proxy.signal("TERM").await;
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.contains("drain timeout"), "{output:?}");
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
}
