//! The reverse proxy: paths, methods, streams and protocols.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
};
use tower_model_routing::BoxError;

use super::{CHAT, Setup, TRUSTED, VENICE};
use test_support::{
    client::{PATIENCE, get, post, post_with, send},
    upstream::Act,
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;

#[tokio::test]
async fn any_path_goes_on_with_its_query_after_the_upstreams_own() {
    for (suffix, prefix) in [
        ("", ""),
        ("/", ""),
        ("/tenant/7", "/tenant/7"),
        ("/t/", "/t"),
    ] {
        let setup = Setup::with(|proxy| {
            let url = proxy
                .as_std()
                .get_envs()
                .find(|(name, _)| *name == "UPSTREAM_URL");
            let url = url.unwrap().1.unwrap().to_str().unwrap();
            let url = format!("{url}{suffix}");
            proxy.args(["--upstream", &url]);
        })
        .await;
        for target in [
            "/",
            "/v1/files?a=1&b=%2F%20",
            "/a//b/../c%2e?",
            "/%E2%82%AC",
        ] {
            assert_eq!(get(setup.address(), target).await.status(), 200);
            let request = setup.upstream.request().await;
            assert_eq!(request.target(), format!("{prefix}{target}"));
        }
        let answer = post(setup.address(), "/v1/chat/completions?beta=true", BODY).await;
        assert_eq!(answer.header("x-model-id"), Some(VENICE));
        let target = format!("{prefix}/v1/chat/completions?beta=true");
        assert_eq!(setup.upstream.request().await.target(), target);
    }
}

#[tokio::test]
async fn an_absolute_target_is_a_path_here() {
    let setup = Setup::new().await;
    let request = "GET http://elsewhere.example/x?y HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(send(setup.address(), request).await.status(), 200);
    let request = setup.upstream.request().await;
    assert_eq!(request.target(), "/x?y");
    assert_eq!(
        request.header("x-forwarded-host"),
        Some("elsewhere.example")
    );
}

#[tokio::test]
async fn a_target_that_is_no_path_is_refused() {
    let setup = Setup::new().await;
    for line in ["OPTIONS * HTTP/1.1", "CONNECT example.com:443 HTTP/1.1"] {
        let answer = send(setup.address(), format!("{line}\r\nhost: a\r\n\r\n")).await;
        assert_eq!(answer.error(), (400, "invalid_request_target".to_owned()));
    }
    assert!(!setup.upstream.has_request().await);
}

#[tokio::test]
async fn other_methods_and_bodies_pass_untouched() {
    let setup = Setup::new().await;
    for method in ["GET", "DELETE", "PUT", "PATCH", "PROPFIND"] {
        let request = format!("{method} /v1/files/1 HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(send(setup.address(), request).await.status(), 200);
        let request = setup.upstream.request().await;
        assert_eq!(request.method(), method);
        assert_eq!(request.header("transfer-encoding"), None, "{method}");
        assert_eq!(request.payload.length, 0);
    }
    let headers = [
        ("content-type", "application/octet-stream"),
        ("content-md5", "x"),
    ];
    let answer = post_with(setup.address(), "/v1/files", &headers, BODY).await;
    assert_eq!(answer.header("x-model-id"), None);
    let request = setup.upstream.request().await;
    assert_eq!(request.text(), BODY);
    assert_eq!(request.header("content-md5"), Some("x"));
}

#[tokio::test]
async fn the_upstreams_own_answers_stay_its_own() {
    let headers = "content-type: application/json\r\nx-request-id: 7\r\nset-cookie: a\r\n\
                   set-cookie: b\r\n";
    let body = r#"{"error":{"message":"rate limit"}}"#;
    let setup = Setup::scripted(vec![Act::answer(429, headers, body)]).await;
    let answer = post(setup.address(), CHAT, BODY).await;
    assert_eq!((answer.status(), answer.text().as_str()), (429, body));
    assert_eq!(answer.head.all("set-cookie"), ["a", "b"]);
    assert_eq!(answer.header("x-request-id"), Some("7"));
    assert_eq!(answer.header("x-model-name"), Some("venice-uncensored"));
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_the_length_it_would_have() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\netag: \"1\"\r\n\r\n";
    let setup = Setup::scripted(vec![Act::send(head)]).await;
    let request = "HEAD /v1/files/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = send(setup.address(), request).await;
    assert_eq!(answer.header("content-length"), Some("1234"));
    assert_eq!(answer.payload.length, 0);
}

#[tokio::test]
async fn an_answer_streams_event_by_event() {
    let permits = Arc::new(Semaphore::new(0));
    let setup = Setup::scripted(vec![
        Act::send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"),
        Act::send("transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"),
        Act::Wait(Arc::clone(&permits)),
        Act::send("9\r\ndata: 2\n\n\r\n0\r\n\r\n"),
    ])
    .await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let length = BODY.len();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{BODY}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut permits = Some(permits);
    let mut line = String::new();
    while !line.contains("data: 2") {
        line.clear();
        let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut line));
        assert_ne!(read.await.expect("an event in time").unwrap(), 0);
        if line.contains("data: 1") {
            // The second one is sent only now.
            permits.take().unwrap().add_permits(1);
        }
    }
    assert!(permits.is_none());
}

/// A client over HTTP/2 without TLS.
pub(super) async fn h2_client<B>(setup: &Setup) -> hyper::client::conn::http2::SendRequest<B>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(setup.address()).await.unwrap();
    let io = TokioIo::new(stream);
    let executor = TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn http2_without_tls_works_in_front() {
    let setup = Setup::new().await;
    let mut client = h2_client(&setup).await;
    for path in ["/v1/chat/completions", "/v1/chat/completions?x"] {
        let body = Full::new(Bytes::from(BODY)).map_err(|never| match never {});
        let request = Request::post(format!("http://gateway.example{path}"))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-model-id"], VENICE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"ok":true}"#);
        let request = setup.upstream.request().await;
        assert_eq!(request.target(), path);
        assert!(request.text().contains(VENICE));
        assert_eq!(request.header("x-forwarded-host"), Some("gateway.example"));
        let host = setup.upstream.address().to_string();
        assert_eq!(request.header("host"), Some(&*host));
    }
}

#[tokio::test]
async fn trailers_are_kept_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-cost\r\n\r\n\
                  2\r\nok\r\n0\r\nx-cost: 3\r\n\r\n";
    let setup = Setup::scripted(vec![Act::send(answer)]).await;
    let mut client = h2_client(&setup).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let data = Frame::data(Bytes::from(BODY));
    let frames = [data, Frame::trailers(trailers)].map(Ok::<_, BoxError>);
    let request = Request::post("http://gateway.example/v1/chat/completions")
        .header("content-type", "application/json")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let answer = response.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["x-cost"], "3");
    let request = setup.upstream.request().await;
    let expected = vec![("x-sum".to_owned(), "42".to_owned())];
    assert_eq!(request.payload.trailers, expected);
    assert!(request.text().contains(VENICE));
}

#[tokio::test]
async fn an_upstream_is_not_told_its_default_port() {
    for (url, name) in [
        ("http://127.0.0.1:80", "http://127.0.0.1/"),
        ("http://127.0.0.1:443/v1", "http://127.0.0.1:443/v1"),
        ("https://[::1]:443/v1", "https://[::1]/v1"),
        ("https://[::1]:80", "https://[::1]:80/"),
    ] {
        let mut setup = Setup::with(|proxy| {
            proxy
                .args(["--upstream", url])
                .env("SSL_CERT_FILE", TRUSTED);
        })
        .await;
        let name = format!("upstream={name} ");
        setup.proxy.logged(&["starting", &name]).await;
    }
}
