//! Secrets are in no log line of any crate at any level, and clients cannot forge lines.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::{CHAT, Setup, forward::h2_client, until_json};
use test_support::{
    client::{get, post_chunked, post_with},
    registry_server::Reply,
    upstream::Step,
};

const SECRET: &str = "s3cret";
/// `user:s3cret` in base64, without the end.
const SECRET_IN_BASE64: &str = "dXNlcjpzM2NyZX";

const HEADERS: [(&str, &str); 7] = [
    ("content-type", "application/json"),
    ("authorization", "Bearer s3cret-authorization"),
    ("proxy-authorization", "Bearer s3cret-proxy"),
    ("api-key", "s3cret-api-key"),
    ("x-api-key", "s3cret-x-api-key"),
    ("cookie", "session=s3cret-cookie"),
    ("x-anything", "s3cret-header"),
];

const BODY: &str = r#"{"model":"venice-uncensored","messages":"s3cret-body"}"#;

fn assert_clean(text: &str) {
    let is_dirty = |line: &&str| line.contains(SECRET) || line.contains(SECRET_IN_BASE64);
    if let Some(line) = text.lines().find(is_dirty) {
        panic!("a secret: {line}");
    }
}

/// Starts a proxy that logs everything, with secrets in the URLs of its registry and of the
/// HTTP proxy in front of the registry.
async fn tracing_setup() -> Setup {
    let registry = test_support::registry_server::RegistryServer::start(super::models()).await;
    let http_proxy = format!("http://user:s3cret-http-proxy@{}", registry.address());
    let url = "http://user:s3cret-password@registry.example/list?sig=s3cret-query";
    let mut setup = Setup::with(|proxy| {
        proxy
            .env("RUST_LOG", "trace")
            .env("ACTIVE_MODELS_URL", url)
            .env("HTTP_PROXY", &http_proxy)
            .env("UPSTREAM_AUTHORIZATION", "Bearer s3cret-upstream")
            .env("MODELS_TTL_SECONDS", "0.01");
    })
    .await;
    setup.registry = registry;
    setup
}

#[tokio::test]
async fn secrets_of_requests_and_responses_are_not_logged() {
    let mut setup = tracing_setup().await;
    setup.warm_up().await;
    let fetch = setup.registry.last_request();
    assert!(fetch.header("proxy-authorization").is_some());
    let response_head = "content-type: application/json\r\nset-cookie: s3cret-set-cookie\r\n";
    setup.upstream.script(vec![Step::response(
        200,
        response_head,
        r#"{"model":"x","choices":"s3cret-response"}"#,
    )]);
    let path = format!("{CHAT}?key=s3cret-uri");
    for (body, status) in [
        (BODY, 200),
        (r#"{"messages":"s3cret-body"}"#, 200),
        (r#"{"messages":"s3cret-body","model":"nobody"}"#, 200),
        (r#"{"messages":"s3cret-body","model":7}"#, 400),
        (r#"{"messages":"s3cret-body","model":"a","model":"b"}"#, 400),
        ("s3cret-body", 400),
    ] {
        let response = post_with(setup.address(), &path, &HEADERS, body).await;
        assert_eq!(response.status(), status, "{body}");
    }
    let late = [
        BODY.trim_end_matches('}').as_bytes(),
        b",\"model\":\"s3cret\"}",
    ];
    let response = post_chunked(setup.address(), &path, &HEADERS, &late).await;
    assert_eq!(response.status(), 400);

    // The h2 crate logs frames.
    let mut client = h2_client(&setup).await;
    let body = Full::new(Bytes::from(BODY)).map_err(|never| match never {});
    let mut request = Request::post(format!("http://gateway.example{path}"));
    for (name, value) in HEADERS {
        request = request.header(name, value);
    }
    let response = client.send_request(request.body(body).unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();

    // An invalid response.
    setup
        .upstream
        .script(vec![Step::send("s3cret, but no HTTP\r\n\r\n"), Step::Close]);
    let response = post_with(setup.address(), &path, &HEADERS, BODY).await;
    assert_eq!(response.status(), 502);
    for expected in ["TRACE h2::", "TRACE hyper_util::", "reqwest::connect"] {
        setup.proxy.wait_for_log(&[expected]).await;
    }
    setup.proxy.wait_for_log(&["upstream request failed"]).await;
    assert_clean(&setup.proxy.log());
}

#[tokio::test]
async fn secrets_of_registries_are_not_logged_or_shown() {
    for reply in [
        Reply::new(500, "s3cret-document"),
        Reply::new(200, r#"{"models":"s3cret-document"}"#),
        Reply::redirect(302, "http://user:s3cret@127.0.0.1:1/?s3cret"),
        Reply::redirect(302, "/elsewhere?s3cret"),
    ] {
        // A new proxy each time, because failures are followed by a backoff.
        let mut setup = tracing_setup().await;
        setup.warm_up().await;
        setup.registry.reply(reply.clone());
        let health = until_json(&setup, "/health", |health| health["status"] == "degraded").await;
        let path = format!("{CHAT}?key=s3cret-uri");
        let response = post_with(setup.address(), &path, &HEADERS, BODY).await;
        assert_eq!(response.status(), 200, "{reply:?}");
        assert_clean(&health.to_string());
        for path in ["/health/models", "/metrics"] {
            assert_clean(&get(setup.address(), path).await.text());
        }
        setup
            .proxy
            .wait_for_log(&["WARN", "catalog not refreshed"])
            .await;
        assert_clean(&setup.proxy.log());
    }
}

#[tokio::test]
async fn secrets_of_unreachable_http_proxies_are_not_logged_or_shown() {
    let mut setup = Setup::with(|proxy| {
        proxy
            .env("RUST_LOG", "trace")
            .env("ACTIVE_MODELS_URL", "http://does-not-exist.invalid/?s3cret")
            .env("HTTP_PROXY", "http://user:s3cret-http-proxy@127.0.0.1:1");
    })
    .await;
    let health = until_json(&setup, "/health", |health| {
        health["model_service"]["cache_info"]["last_error"].is_string()
    })
    .await;
    assert_clean(&health.to_string());
    for parts in [
        ["reqwest::connect", "127.0.0.1:1"],
        ["WARN", "catalog not refreshed"],
    ] {
        setup.proxy.wait_for_log(&parts).await;
    }
    assert_clean(&setup.proxy.log());
}

#[tokio::test]
async fn clients_cannot_forge_log_lines() {
    let mut setup = Setup::with(|proxy| {
        proxy.env("RUST_LOG", "trace");
    })
    .await;
    setup.warm_up().await;
    let start = "\n2026-01-01T00:00:00Z ERROR forged \u{1b}[31m\u{9b}31m\r\0\u{2028}\u{202e}";
    let name = format!("{start}{}", "y".repeat(1 << 20));
    let body = json!({ "model": name }).to_string();
    let response = post_with(setup.address(), CHAT, &HEADERS[..1], body).await;
    assert_eq!(response.status(), 200);
    setup
        .proxy
        .wait_for_log(&["routing to the fallback model"])
        .await;
    let log = setup.proxy.log();
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01")));
    let bad = ['\u{1b}', '\u{9b}', '\r', '\0', '\u{2028}', '\u{202e}'];
    assert!(!log.contains(bad), "{log}");
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(4096), "{longest:?}");
}
