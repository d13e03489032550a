//! Requests that the proxy must not forward, and unusual ones that it must.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Setup, models, proxy};
use test_support::{
    client::{post, send},
    process::Process,
    registry_server::RegistryServer,
};

#[tokio::test]
async fn requests_that_must_not_be_forwarded_are_rejected() {
    const TARGET: &str = "invalid_request_target";
    const HOST: &str = "invalid_host";

    let setup = Setup::new().await;
    for (start, status, code) in [
        ("TRACE /x HTTP/1.1\r\nhost: a", 405, "method_not_allowed"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a", 405, "method_not_allowed"),
        ("POSt /x HTTP/1.1\r\nhost: a", 400, "invalid_method"),
        ("get /health HTTP/1.1\r\nhost: a", 400, "invalid_method"),
        ("OPTIONS * HTTP/1.1\r\nhost: a", 400, TARGET),
        ("GET * HTTP/1.1\r\nhost: a", 400, TARGET),
        ("GET a HTTP/1.1\r\nhost: a", 400, TARGET),
        ("GET a:80 HTTP/1.1\r\nhost: a", 400, TARGET),
        ("GET http://a?b HTTP/1.1\r\nhost: a", 400, TARGET),
        ("GET http://a@b/ HTTP/1.1\r\nhost: a", 400, HOST),
        ("GET / HTTP/1.1", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a", 400, HOST),
        ("GET / HTTP/1.1\r\nhost:", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: a b", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: a, b", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: a/b", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: b@a", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: caf\u{e9}", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: a:+1", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: a:65536", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: ::1", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: [::1", 400, HOST),
        ("GET / HTTP/1.1\r\nhost: [::1]1", 400, HOST),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked",
            501,
            "unsupported_transfer_encoding",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked",
            501,
            "unsupported_transfer_encoding",
        ),
    ] {
        let request = format!("{start}\r\n\r\n0\r\n\r\n");
        let response = send(setup.address(), request).await;
        assert_eq!(response.error(), (status, code.to_owned()), "{start}");
    }
    assert!(!setup.upstream.has_request().await);
}

#[tokio::test]
async fn other_hosts_and_methods_are_forwarded() {
    let setup = Setup::new().await;
    for start in [
        "GET / HTTP/1.0",
        "GET / HTTP/1.1\r\nhost: 127.0.0.1:8080",
        "GET / HTTP/1.1\r\nhost: [::1]",
        "GET / HTTP/1.1\r\nhost: [2001:db8::1]:443",
        "GET / HTTP/1.1\r\nhost: my_host.example.:",
        "GET http://a.example HTTP/1.1\r\nhost: a.example",
        "purge / HTTP/1.1\r\nhost: a",
    ] {
        let response = send(setup.address(), format!("{start}\r\n\r\n")).await;
        assert_eq!(response.status(), 200, "{start}");
        assert_eq!(setup.upstream.request().await.target(), "/", "{start}");
    }
}

#[tokio::test]
async fn bodies_of_any_method_arrive() {
    let setup = Setup::new().await;
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PROPFIND"] {
        for framing in [
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "content-length: 3\r\n\r\nabc",
        ] {
            let head = format!("{method} /v1/files HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
            assert_eq!(send(setup.address(), head + framing).await.status(), 200);
            let request = setup.upstream.request().await;
            assert_eq!(
                (request.method(), request.text()),
                (method, "abc"),
                "{framing}"
            );
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_its_own_upstream_detects_the_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = RegistryServer::start(models()).await;
    let mut command = proxy();
    command.env(
        "UPSTREAM_URL",
        format!("http://{}", listener.local_addr().unwrap()),
    );
    command.env("ACTIVE_MODELS_URL", registry.url());
    let proxy = Process::start(&mut command).await;
    let address = proxy.address();
    let hops = tokio::spawn(async move {
        let mut hops = JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            hops.spawn(async move {
                let mut to = TcpStream::connect(address).await?;
                copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    for path in ["/v1/chat/completions", "/v1/files"] {
        let response = post(address, path, r#"{"model":"code"}"#).await;
        assert_eq!(response.error(), (508, "loop_detected".to_owned()));
    }
    hops.abort();
}
