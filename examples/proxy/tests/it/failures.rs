//! What goes wrong on either side, and whose fault it is.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use super::{CHAT, Setup, TRUSTED, models, proxy};
use test_support::{
    client::{PATIENCE, answer, post, send},
    process::Process,
    registry_server::RegistryServer,
    upstream::Act,
};

const BODY: &str = r#"{"model":"code"}"#;
const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n\
                    content-type: application/json\r\n";

#[tokio::test]
async fn a_dead_upstream_is_a_bad_gateway() {
    // Bound, so that nobody else gets the port, but not listening.
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
    let answer = post(proxy.address(), CHAT, BODY).await;
    assert_eq!(answer.error(), (502, "upstream_unavailable".to_owned()));
    assert_eq!(answer.header("x-model-name"), Some("code"));
    proxy.logged(&["WARN", "upstream failed", "refused"]).await;
}

#[tokio::test]
async fn an_upstream_that_hangs_up_is_a_bad_gateway() {
    let partial = Act::send("HTTP/1.1 200 OK\r\ncontent-le");
    for script in [vec![Act::Close], vec![partial, Act::Close]] {
        let setup = Setup::scripted(script).await;
        let answer = post(setup.address(), CHAT, BODY).await;
        assert_eq!(answer.error(), (502, "upstream_unavailable".to_owned()));
        setup.upstream.request().await;
        assert!(!setup.upstream.has_request().await, "it was not sent twice");
    }
}

#[tokio::test]
async fn a_silent_upstream_is_a_gateway_timeout() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--upstream-first-byte-timeout", "2"]);
    })
    .await;
    setup.upstream.script(vec![Act::WaitUntilGone]);
    setup.warm_up().await;
    let answer = post(setup.address(), CHAT, BODY).await;
    assert_eq!(answer.error(), (504, "upstream_timeout".to_owned()));
    setup.upstream.until_gone().await;
}

#[tokio::test]
async fn an_upstream_that_does_not_even_greet_is_a_gateway_timeout() {
    // Connections end up in its queue, and no TLS handshake is answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let setup = Setup::with(|proxy| {
        proxy.env("SSL_CERT_FILE", TRUSTED);
        proxy.args(["--upstream", &url, "--upstream-connect-timeout", "0.2"]);
    })
    .await;
    let answer = post(setup.address(), CHAT, BODY).await;
    assert_eq!(answer.error(), (504, "upstream_timeout".to_owned()));
}

#[tokio::test]
async fn a_client_that_is_slow_to_ask_is_hung_up_on() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--client-header-timeout", "0.2"]);
    })
    .await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        // An end or a reset, depending on what it has read.
        let _ = read.expect("the end in time");
    }
}

#[tokio::test]
async fn a_head_may_be_large_but_not_too_large() {
    let setup = Setup::new().await;
    setup.warm_up().await;
    for (len, status) in [(200 * 1024, 200), (600 * 1024, 431)] {
        let large = "x".repeat(len);
        let request = format!("GET /health HTTP/1.1\r\nhost: test\r\nx-large: {large}\r\n\r\n");
        assert_eq!(send(setup.address(), request).await.status(), status);
    }
}

#[tokio::test]
async fn the_head_of_an_answer_may_be_large_but_not_too_large() {
    for (len, status) in [(100 * 1024, 200), (300 * 1024, 502)] {
        let large = format!("x-large: {}\r\n", "x".repeat(len));
        let setup = Setup::scripted(vec![Act::answer(200, &large, "{}")]).await;
        assert_eq!(post(setup.address(), CHAT, BODY).await.status(), status);
    }
}

#[tokio::test]
async fn a_slow_upload_is_no_fault_of_the_upstreams() {
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
    // Not waited for: this is what must have no consequence.
    sleep(Duration::from_millis(4_500)).await;
    stream.write_all(b"}").await.unwrap();
    let answer = answer(&mut BufReader::new(stream)).await.unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_pauses_too_long_is_cut_off() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--upstream-idle-timeout", "1"]);
    })
    .await;
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    setup
        .upstream
        .script(vec![Act::send(start), Act::WaitUntilGone]);
    let answer = post(setup.address(), CHAT, BODY).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.payload.bytes, b"abc");
    assert!(!answer.payload.is_complete);
    setup.upstream.until_gone().await;
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_so() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--client-idle-timeout", "0.2"]);
    })
    .await;
    // Before the model is known, and after.
    for start in ["{\"a", "{\"model\":\"code\","] {
        let request = format!("{HEAD}content-length: 100\r\n\r\n{start}");
        let answer = send(setup.address(), request).await;
        assert_eq!(answer.error(), (408, "request_timeout".to_owned()));
    }
    while setup.upstream.has_request().await {
        assert!(!setup.upstream.request().await.payload.is_complete);
    }
}

#[tokio::test]
async fn a_body_with_broken_framing_is_the_clients_fault() {
    let setup = Setup::new().await;
    for start in ["1\r\n{\r\nzz\r\n", "10\r\n{\"model\":\"code\",\r\nzz\r\n"] {
        let request = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{start}");
        let answer = send(setup.address(), request).await;
        assert_eq!(answer.error(), (400, "invalid_request_body".to_owned()));
    }
    while setup.upstream.has_request().await {
        assert!(!setup.upstream.request().await.payload.is_complete);
    }
}

#[tokio::test]
async fn a_body_that_the_client_breaks_off_never_arrives_whole() {
    let setup = Setup::new().await;
    setup.warm_up().await;
    for framing in [
        "content-length: 18\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n10\r\n",
    ] {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        let request = format!("{HEAD}{framing}{BODY}");
        stream.write_all(request.as_bytes()).await.unwrap();
        setup.upstream.head().await;
        drop(stream);
        assert!(!setup.upstream.request().await.payload.is_complete);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_upstreams_work() {
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    // Before the answer, and in the middle of it.
    for script in [vec![], vec![Act::send(start)]] {
        let mut script: Vec<Act> = script;
        let has_begun = !script.is_empty();
        script.push(Act::WaitUntilGone);
        let setup = Setup::scripted(script).await;
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        let request = format!("{HEAD}content-length: {}\r\n\r\n{BODY}", BODY.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        setup.upstream.request().await;
        if has_begun {
            stream.read_u8().await.unwrap();
        }
        drop(stream);
        setup.upstream.until_gone().await;
    }
}

#[tokio::test]
async fn an_answer_to_half_a_request_reaches_a_client_that_is_still_sending() {
    let too_large = Act::answer(413, "content-type: text/plain\r\n", "too large");
    let setup = Setup::scripted(vec![Act::Early, too_large, Act::Close]).await;
    let body = format!(
        r#"{{"model":"code","a":"{}"}}"#,
        "x".repeat(8 * 1024 * 1024)
    );
    let answer = post(setup.address(), CHAT, body).await;
    assert_eq!(answer.status(), 413, "{answer:?}");
    assert_eq!(answer.text(), "too large");
}
