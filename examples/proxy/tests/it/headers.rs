//! What a proxy changes in the headers, and what it leaves.

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::Setup;
use test_support::{
    client::{answer, post, post_with},
    upstream::Act,
    wire::Head,
};

const BODY: &str = r#"{"model":"code"}"#;

#[tokio::test]
async fn headers_of_the_connection_stop_at_the_proxy_on_both_ways() {
    let hop_by_hop = "connection: close, X-Hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
                      proxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\n\
                      upgrade: websocket\r\nx-end: 1\r\nx-end: 2\r\nserver: scripted\r\n";
    let setup = Setup::scripted(vec![Act::answer(201, hop_by_hop, "{}"), Act::Close]).await;
    let headers = [
        ("content-type", "application/json"),
        ("connection", "keep-alive, x-secret"),
        ("connection", "X-Other"),
        ("x-secret", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("te", "gzip, trailers;q=0.5"),
        ("upgrade", "websocket"),
        ("x-end", "1"),
        ("x-end", "2"),
        ("authorization", "Bearer sk"),
    ];
    let answer = post_with(setup.address(), "/v1/chat/completions", &headers, BODY).await;
    assert_eq!(answer.status(), 201, "{answer:?}");
    assert_eq!(answer.head.all("x-end"), ["1", "2"]);
    assert_eq!(answer.header("server"), Some("scripted"));
    let request = setup.upstream.request().await;
    assert_eq!(request.head.all("x-end"), ["1", "2"]);
    assert_eq!(request.header("authorization"), Some("Bearer sk"));
    for name in [
        "x-hop",
        "x-secret",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "te",
        "upgrade",
    ] {
        assert_eq!(request.header(name), None);
        assert_eq!(answer.header(name), None);
    }
    assert_ne!(answer.header("connection"), Some("close, X-Hop"));
}

#[tokio::test]
async fn a_client_that_takes_trailers_still_does() {
    let setup = Setup::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("connection", "TE"),
        ("te", "deflate, Trailers"),
    ];
    post_with(setup.address(), "/v1/chat/completions", &headers, BODY).await;
    assert_eq!(
        setup.upstream.request().await.header("te"),
        Some("trailers")
    );
}

#[tokio::test]
async fn the_upstream_gets_its_own_host_and_learns_of_the_clients() {
    let setup = Setup::new().await;
    post(setup.address(), "/v1/chat/completions", BODY).await;
    let request = setup.upstream.request().await;
    let host = setup.upstream.address().to_string();
    assert_eq!(request.header("host"), Some(&*host));
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("test"));
}

#[tokio::test]
async fn the_word_of_a_proxy_in_front_stays() {
    let setup = Setup::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "198.51.100.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.example.com"),
    ];
    post_with(setup.address(), "/v1/chat/completions", &headers, BODY).await;
    let request = setup.upstream.request().await;
    let chain = "203.0.113.7, 198.51.100.2, 127.0.0.1";
    assert_eq!(request.header("x-forwarded-for"), Some(chain));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_eq!(request.header("x-forwarded-host"), Some("api.example.com"));
}

#[tokio::test]
async fn an_expectation_is_met_by_the_proxy() {
    let setup = Setup::new().await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        BODY.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let interim = Head::read(&mut stream).await.unwrap().unwrap();
    assert_eq!(interim.word(1), "100");
    stream.write_all(BODY.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().status(), 200);
    assert_eq!(setup.upstream.request().await.header("expect"), None);
}

#[tokio::test]
async fn split_cookies_are_joined() {
    let setup = Setup::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("cookie", "a=1"),
        ("cookie", "b=2; c=3"),
    ];
    post_with(setup.address(), "/v1/chat/completions", &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.header("cookie"), Some("a=1; b=2; c=3"));
}
