//! Failures, timeouts and limits that the table of faults does not have.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{CHAT, Setup, TRUSTED, models, proxy};
use test_support::{
    client::{TIMEOUT, post, read_response, send},
    process::Process,
    registry_server::RegistryServer,
    upstream::Step,
};

const BODY: &str = r#"{"model":"code"}"#;
const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n\
                    content-type: application/json\r\n";

#[tokio::test]
async fn unreachable_upstreams_are_bad_gateways() {
    // Bound, so that no other process gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let registry = RegistryServer::start(models()).await;
    let mut command = proxy();
    command.env(
        "UPSTREAM_URL",
        format!("http://{}", socket.local_addr().unwrap()),
    );
    command.env("ACTIVE_MODELS_URL", registry.url());
    let mut proxy = Process::start(&mut command).await;
    let response = post(proxy.address(), CHAT, BODY).await;
    assert_eq!(response.error(), (502, "upstream_unavailable".to_owned()));
    let response = post(proxy.address(), "/v1/messages", BODY).await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.json()["error"]["type"], "api_error");
    assert_eq!(response.header("x-model-name"), Some("code"));
    proxy
        .wait_for_log(&["WARN", "upstream request failed", "refused"])
        .await;
}

#[tokio::test]
async fn a_response_timeout_closes_the_upstream_connection() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--upstream-first-byte-timeout", "2"]);
    })
    .await;
    setup.upstream.script(vec![Step::WaitForDisconnect]);
    setup.warm_up().await;
    let response = post(setup.address(), CHAT, BODY).await;
    assert_eq!(response.error(), (504, "upstream_timeout".to_owned()));
    setup.upstream.wait_for_disconnect().await;
}

#[tokio::test]
async fn a_response_idle_timeout_closes_the_upstream_connection() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--upstream-idle-timeout", "1"]);
    })
    .await;
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let script = vec![Step::send(start), Step::WaitForDisconnect];
    setup.upstream.script(script);
    let response = post(setup.address(), CHAT, BODY).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body.bytes, b"abc");
    assert!(!response.body.is_complete);
    setup.upstream.wait_for_disconnect().await;
}

#[tokio::test]
async fn a_tls_handshake_timeout_is_a_gateway_timeout() {
    // Connections stay in the backlog, without a TLS handshake.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let setup = Setup::with(|proxy| {
        proxy.env("SSL_CERT_FILE", TRUSTED);
        proxy.args(["--upstream", &url, "--upstream-connect-timeout", "0.2"]);
    })
    .await;
    let response = post(setup.address(), CHAT, BODY).await;
    assert_eq!(response.error(), (504, "upstream_timeout".to_owned()));
}

#[tokio::test]
async fn connections_without_a_request_are_closed() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--client-header-timeout", "0.2"]);
    })
    .await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = timeout(TIMEOUT, stream.read_to_end(&mut rest)).await;
        // An end or a reset, depending on what it has read.
        let _ = read.expect("the end in time");
    }
}

#[tokio::test]
async fn response_heads_are_limited() {
    for (len, status) in [(100 * 1024, 200), (300 * 1024, 502)] {
        let large = format!("x-large: {}\r\n", "x".repeat(len));
        let setup = Setup::scripted(vec![Step::response(200, &large, "{}")]).await;
        assert_eq!(post(setup.address(), CHAT, BODY).await.status(), status);
    }
}

#[tokio::test]
async fn slow_uploads_do_not_count_as_response_time() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--upstream-first-byte-timeout", "4"]);
    })
    .await;
    setup.warm_up().await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let head = format!("{HEAD}content-length: {}\r\n\r\n", BODY.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
        .write_all(&BODY.as_bytes()[..BODY.len() - 1])
        .await
        .unwrap();
    setup.upstream.head().await;
    // Longer than the timeout, which must not elapse.
    sleep(Duration::from_millis(4_500)).await;
    stream.write_all(b"}").await.unwrap();
    let response = read_response(&mut BufReader::new(stream)).await.unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
}

#[tokio::test]
async fn client_idle_timeouts_are_request_timeouts() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--client-idle-timeout", "0.2"]);
    })
    .await;
    // Before the model is known, and after.
    for start in ["{\"a", "{\"model\":\"code\","] {
        let request = format!("{HEAD}content-length: 100\r\n\r\n{start}");
        let response = send(setup.address(), request).await;
        assert_eq!(response.error(), (408, "request_timeout".to_owned()));
    }
    while setup.upstream.has_request().await {
        assert!(!setup.upstream.request().await.body.is_complete);
    }
}

#[tokio::test]
async fn responses_reach_clients_that_are_still_sending() {
    let too_large = Step::response(413, "content-type: text/plain\r\n", "too large");
    let setup = Setup::scripted(vec![Step::Early, too_large, Step::Close]).await;
    let body = format!(
        r#"{{"model":"code","a":"{}"}}"#,
        "x".repeat(8 * 1024 * 1024)
    );
    let response = post(setup.address(), CHAT, body).await;
    assert_eq!(response.status(), 413, "{response:?}");
    assert_eq!(response.text(), "too large");
}

#[tokio::test]
async fn clients_that_do_not_read_are_disconnected() {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--client-write-timeout", "0.2"]);
        proxy.env("RUST_LOG", "proxy=debug");
    })
    .await;
    // More than all buffers hold.
    let large = "x".repeat(64 * 1024 * 1024);
    setup.upstream.script(vec![Step::response(200, "", &large)]);
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let request = format!("{HEAD}content-length: {}\r\n\r\n{BODY}", BODY.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    setup.proxy.wait_for_log(&["connection error"]).await;
    let response = read_response(&mut BufReader::new(stream)).await.unwrap();
    assert!(!response.body.is_complete);
}

#[tokio::test]
async fn half_closed_connections_get_the_whole_response() {
    let gate = Arc::new(Semaphore::new(0));
    let setup = Setup::scripted(vec![
        Step::Wait(Arc::clone(&gate)),
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
        Step::Wait(Arc::clone(&gate)),
        Step::send("def"),
    ])
    .await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let request = format!("{HEAD}content-length: {}\r\n\r\n{BODY}", BODY.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    setup.upstream.request().await;
    gate.add_permits(1);
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\nabc") {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
    }
    gate.add_permits(1);
    stream.read_to_end(&mut received).await.unwrap();
    assert!(received.ends_with(b"\r\n\r\nabcdef"), "{received:?}");
}
