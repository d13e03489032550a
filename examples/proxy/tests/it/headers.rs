//! The headers that the proxy changes, and those that it keeps.

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{CHAT, Setup, VENICE, proxy};
use test_support::{
    client::{get, post, post_with, read_response},
    process::run,
    upstream::Step,
    wire::Head,
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;
const KEY: &str = "Bearer sk-upstream-1234";

#[tokio::test]
async fn hop_by_hop_headers_are_removed_in_both_directions() {
    let hop_by_hop = "connection: close, X-Hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
                      proxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\n\
                      upgrade: websocket\r\nx-end: 1\r\nx-end: 2\r\nserver: scripted\r\n";
    let setup = Setup::scripted(vec![Step::response(201, hop_by_hop, "{}"), Step::Close]).await;
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
    let response = post_with(setup.address(), CHAT, &headers, BODY).await;
    assert_eq!(response.status(), 201, "{response:?}");
    assert_eq!(response.head.all("x-end"), ["1", "2"]);
    assert_eq!(response.header("server"), Some("scripted"));
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
        assert_eq!(response.header(name), None);
    }
    assert_ne!(response.header("connection"), Some("close, X-Hop"));
}

#[tokio::test]
async fn te_trailers_is_kept() {
    let setup = Setup::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("connection", "TE"),
        ("te", "deflate, Trailers"),
    ];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    assert_eq!(
        setup.upstream.request().await.header("te"),
        Some("trailers")
    );
}

#[tokio::test]
async fn host_and_forwarded_headers_are_set() {
    let setup = Setup::new().await;
    post(setup.address(), CHAT, BODY).await;
    let request = setup.upstream.request().await;
    let host = setup.upstream.address().to_string();
    assert_eq!(request.header("host"), Some(&*host));
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("test"));
}

#[tokio::test]
async fn forwarded_headers_of_proxies_in_front_are_kept() {
    let setup = Setup::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "198.51.100.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.example.com"),
    ];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    let chain = "203.0.113.7, 198.51.100.2, 127.0.0.1";
    assert_eq!(request.header("x-forwarded-for"), Some(chain));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_eq!(request.header("x-forwarded-host"), Some("api.example.com"));
}

#[tokio::test]
async fn the_proxy_sends_100_continue() {
    let setup = Setup::new().await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        BODY.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let interim = Head::read(&mut stream).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    stream.write_all(BODY.as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status(), 200);
    assert_eq!(setup.upstream.request().await.header("expect"), None);
}

#[tokio::test]
async fn cookies_are_joined() {
    let setup = Setup::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("cookie", "a=1"),
        ("cookie", "b=2; c=3"),
    ];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.header("cookie"), Some("a=1; b=2; c=3"));
}

#[tokio::test]
async fn clients_cannot_forge_the_id_header() {
    let setup = Setup::with(|command| {
        command.args(["--id-header", "model_id"]);
    })
    .await;
    let json = ("content-type", "application/json");
    let headers = [json, ("model_id", "forged"), ("model-id", "forged")];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.head.all("model_id"), [VENICE]);
    assert_eq!(request.header("model-id"), None);
    post_with(setup.address(), "/v1/files", &headers[1..], "x").await;
    assert_eq!(setup.upstream.request().await.header("model_id"), None);
}

#[tokio::test]
async fn via_is_appended() {
    let setup = Setup::new().await;
    let another = "1.1 tower-model-routing-0123456789abcdef";
    let headers = [
        ("content-type", "application/json"),
        ("via", "1.0 fred"),
        ("via", another),
    ];
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    let hops = request.head.all("via");
    assert_eq!(hops[..2], ["1.0 fred", another]);
    assert!(hops[2].starts_with("1.1 tower-model-routing-"), "{hops:?}");
}

#[tokio::test]
async fn upstream_credentials_replace_the_clients_and_stay_secret() {
    let setup = Setup::with(|proxy| {
        proxy.env("UPSTREAM_AUTHORIZATION", KEY);
        proxy.env(
            "UPSTREAM_HEADERS",
            format!("X-Api-Key: {KEY}\n\nx-team: a\nX-Team:b"),
        );
        proxy.env("RUST_LOG", "trace");
    })
    .await;
    let with_key = [
        ("content-type", "application/json"),
        ("authorization", "Bearer sk-client"),
        ("x-api-key", "sk-client"),
        ("x-team", "client"),
    ];
    for headers in [&with_key[..], &with_key[..1]] {
        let response = post_with(setup.address(), CHAT, headers, BODY).await;
        assert_eq!(response.status(), 200);
        assert!(!format!("{response:?}").contains("sk-upstream"));
        let request = setup.upstream.request().await;
        assert_eq!(request.header("authorization"), Some(KEY));
        assert_eq!(request.header("x-api-key"), Some(KEY));
        assert_eq!(request.head.all("x-team"), ["a", "b"]);
    }
    for page in ["/health", "/health/models", "/metrics", "/v1/models"] {
        let response = get(setup.address(), page).await;
        assert!(!response.text().contains("sk-upstream"), "{page}");
    }
    assert!(!setup.proxy.log().contains("sk-upstream"));
    let help = run(proxy().env("UPSTREAM_AUTHORIZATION", KEY).arg("--help")).await;
    assert!(help.stdout.contains("UPSTREAM_AUTHORIZATION"));
    assert!(!help.stdout.contains("sk-upstream"));
}

#[tokio::test]
async fn rejections_by_the_head_skip_100_continue() {
    let setup = Setup::new().await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\n\
         content-length: 1000\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let response = read_response(&mut stream).await.unwrap();
    assert_eq!(response.error(), (415, "unsupported_media_type".to_owned()));
}

#[tokio::test]
async fn the_proxy_sends_100_continue_on_other_paths() {
    let setup = Setup::new().await;
    let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
    let request = "PUT /v1/files/1 HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\
                   expect: 100-continue\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let interim = Head::read(&mut stream).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    stream.write_all(b"abc").await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status(), 200);
    let request = setup.upstream.request().await;
    assert_eq!((request.text(), request.header("expect")), ("abc", None));
}
