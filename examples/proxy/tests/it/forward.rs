//! Targets, methods, protocols and trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower_model_routing::BoxError;

use super::{CHAT, Setup, TRUSTED, VENICE};
use test_support::{
    client::{get, post, post_with, send},
    upstream::Step,
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;

#[tokio::test]
async fn paths_and_queries_are_appended_to_the_upstream_url() {
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
        let response = post(setup.address(), "/v1/chat/completions?beta=true", BODY).await;
        assert_eq!(response.header("x-model-id"), Some(VENICE));
        let target = format!("{prefix}/v1/chat/completions?beta=true");
        assert_eq!(setup.upstream.request().await.target(), target);
    }
}

#[tokio::test]
async fn absolute_targets_are_forwarded_as_paths() {
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
async fn other_requests_are_forwarded_unchanged() {
    let setup = Setup::new().await;
    for method in ["GET", "DELETE", "PUT", "PATCH", "PROPFIND"] {
        let request = format!("{method} /v1/files/1 HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(send(setup.address(), request).await.status(), 200);
        let request = setup.upstream.request().await;
        assert_eq!(request.method(), method);
        assert_eq!(request.header("transfer-encoding"), None, "{method}");
        assert_eq!(request.body.length, 0);
    }
    let headers = [
        ("content-type", "application/octet-stream"),
        ("content-md5", "x"),
    ];
    let response = post_with(setup.address(), "/v1/files", &headers, BODY).await;
    assert_eq!(response.header("x-model-id"), None);
    let request = setup.upstream.request().await;
    assert_eq!(request.text(), BODY);
    assert_eq!(request.header("content-md5"), Some("x"));
}

#[tokio::test]
async fn error_responses_are_forwarded() {
    let headers = "content-type: application/json\r\nx-request-id: 7\r\nset-cookie: a\r\n\
                   set-cookie: b\r\n";
    let body = r#"{"error":{"message":"rate limit"}}"#;
    let setup = Setup::scripted(vec![Step::response(429, headers, body)]).await;
    let response = post(setup.address(), CHAT, BODY).await;
    assert_eq!((response.status(), response.text().as_str()), (429, body));
    assert_eq!(response.head.all("set-cookie"), ["a", "b"]);
    assert_eq!(response.header("x-request-id"), Some("7"));
    assert_eq!(response.header("x-model-name"), Some("venice-uncensored"));
}

#[tokio::test]
async fn responses_to_head_keep_their_length() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\netag: \"1\"\r\n\r\n";
    let setup = Setup::scripted(vec![Step::send(head)]).await;
    let request = "HEAD /v1/files/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = send(setup.address(), request).await;
    assert_eq!(response.header("content-length"), Some("1234"));
    assert_eq!(response.body.length, 0);
}

/// Connects over HTTP/2 without TLS.
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
async fn clients_may_use_http2() {
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
async fn trailers_are_forwarded_in_both_directions() {
    let response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-cost\r\n\r\n\
                  2\r\nok\r\n0\r\nx-cost: 3\r\n\r\n";
    let setup = Setup::scripted(vec![Step::send(response)]).await;
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
    let response = response.into_body().collect().await.unwrap();
    assert_eq!(response.trailers().unwrap()["x-cost"], "3");
    let request = setup.upstream.request().await;
    let expected = vec![("x-sum".to_owned(), "42".to_owned())];
    assert_eq!(request.body.trailers, expected);
    assert!(request.text().contains(VENICE));
}

#[tokio::test]
async fn default_ports_are_omitted() {
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
        setup.proxy.wait_for_log(&["starting", &name]).await;
    }
}
