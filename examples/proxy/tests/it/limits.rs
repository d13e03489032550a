//! Limits of connections, requests and heads.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{CHAT, Setup, forward::h2_client, until};
use test_support::{
    client::{TIMEOUT, get, post, read_response, send},
    upstream::Step,
};

const BODY: &str = r#"{"model":"code"}"#;
const GET: &[u8] = b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn connections_past_the_limit_wait() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--max-connections", "1"]);
    })
    .await;
    let mut first = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    first.write_all(GET).await.unwrap();
    read_response(&mut first).await.unwrap();
    let mut second = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    second.write_all(GET).await.unwrap();
    // Long enough for the response to the second connection, if it was accepted.
    for _ in 0..10 {
        first.write_all(GET).await.unwrap();
        read_response(&mut first).await.unwrap();
    }
    assert!(second.get_ref().try_read(&mut [0]).is_err());
    drop(first);
    assert_eq!(read_response(&mut second).await.unwrap().status(), 200);
}

#[tokio::test]
async fn requests_past_the_limit_are_rejected_until_a_response_has_ended() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--max-requests", "1"]);
    })
    .await;
    let permits = Arc::new(Semaphore::new(0));
    setup.upstream.script(vec![
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
        Step::Wait(Arc::clone(&permits)),
        Step::send("def"),
    ]);
    let mut streaming = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = b"GET /v1/files/1 HTTP/1.1\r\nhost: test\r\n\r\n";
    streaming.write_all(request).await.unwrap();
    setup.upstream.request().await;

    let rejected = post(setup.address(), CHAT, BODY).await;
    assert_eq!(rejected.error(), (503, "overloaded".to_owned()));
    assert_eq!(rejected.header("retry-after"), Some("1"));
    assert_eq!(get(setup.address(), "/health").await.status(), 200);

    permits.add_permits(1);
    let response = read_response(&mut streaming).await.unwrap();
    assert_eq!(response.text(), "abcdef");
    setup.upstream.script(vec![Step::response(200, "", "{}")]);
    until("the permit is returned", async || {
        post(setup.address(), CHAT, BODY).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn heads_are_limited() {
    let setup = Setup::new().await;
    setup.warm_up().await;
    // hyper may have read another 128 KiB.
    for (len, status) in [(126 * 1024, 200), (300 * 1024, 431)] {
        let large = "x".repeat(len);
        let request = format!("GET /health HTTP/1.1\r\nhost: test\r\nx-large: {large}\r\n\r\n");
        assert_eq!(send(setup.address(), request).await.status(), status);
    }
    let many = "x-header: 1\r\n".repeat(101);
    let long = "x".repeat(70_000);
    for (request, status, code) in [
        ("no HTTP\r\n\r\n".to_owned(), 400, "invalid_request_head"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 414, "uri_too_long"),
        (
            format!("GET / HTTP/1.1\r\n{many}\r\n"),
            431,
            "request_head_too_large",
        ),
    ] {
        let response = send(setup.address(), request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.json()["error"]["code"], code);
    }
    let mut client = h2_client(&setup).await;
    for (len, status) in [(63 * 1024, 200), (65 * 1024, 431)] {
        let request = Request::get("http://gateway.example/health")
            .header("x-large", "x".repeat(len))
            .body(Empty::<Bytes>::new().map_err(|never| match never {}));
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn http2_streams_that_are_not_read_are_reset() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--client-write-timeout", "0.2"]);
    })
    .await;
    setup.upstream.script(vec![
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
        Step::WaitForDisconnect,
    ]);
    let stream = TcpStream::connect(setup.address()).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let empty = || Empty::<Bytes>::new().map_err(|never| match never {});
    let request = Request::get("http://gateway.example/v1/files/1").body(empty());
    let response = client.send_request(request.unwrap()).await.unwrap();
    let body = timeout(TIMEOUT, response.into_body().collect()).await;
    let error = body.expect("a reset in time").unwrap_err();
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    setup.upstream.wait_for_disconnect().await;
    // The connection lives on.
    let request = Request::head("http://gateway.example/health").body(empty());
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}
