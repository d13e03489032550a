//! Keys, query strings and bodies reach no log of the proxy, at any level of
//! any crate; nor can a client forge a line of it.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::{CHAT, Setup, forward::h2_client, until_page};
use test_support::{
    client::{get, post_chunked, post_with},
    registry_server::Reply,
    upstream::Act,
};

const SECRET: &str = "s3cret";

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

fn assert_clean(log: &str) {
    if let Some(line) = log.lines().find(|line| line.contains(SECRET)) {
        panic!("a secret is in the log: {line}");
    }
}

/// A setup that logs everything, with secrets in the registry's URL.
async fn tracing_setup() -> Setup {
    let registry = test_support::registry_server::RegistryServer::start(super::models()).await;
    let address = registry.address();
    let url = format!("http://user:s3cret-password@{address}/list?sig=s3cret-query");
    let mut setup = Setup::with(|proxy| {
        proxy
            .env("RUST_LOG", "trace")
            .env("ACTIVE_MODELS_URL", &url)
            .env("MODELS_TTL_SECONDS", "0.01");
    })
    .await;
    setup.registry = registry;
    setup
}

#[tokio::test]
async fn secrets_reach_no_log_at_trace_level() {
    let mut setup = tracing_setup().await;
    setup.warm_up().await;
    let answer_head = "content-type: application/json\r\nset-cookie: s3cret-set-cookie\r\n";
    setup.upstream.script(vec![Act::answer(
        200,
        answer_head,
        r#"{"model":"x","choices":"s3cret-answer"}"#,
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
        let answer = post_with(setup.address(), &path, &HEADERS, body).await;
        assert_eq!(answer.status(), status, "{body}");
    }
    let late = [
        BODY.trim_end_matches('}').as_bytes(),
        b",\"model\":\"s3cret\"}",
    ];
    let answer = post_chunked(setup.address(), &path, &HEADERS, &late).await;
    assert_eq!(answer.status(), 400);

    // Over HTTP/2, whose crate logs its frames.
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

    // Whatever the upstream does.
    setup
        .upstream
        .script(vec![Act::send("s3cret, but no HTTP\r\n\r\n"), Act::Close]);
    let answer = post_with(setup.address(), &path, &HEADERS, BODY).await;
    assert_eq!(answer.status(), 502);
    for expected in ["TRACE h2::", "TRACE hyper_util::", "reqwest::connect"] {
        setup.proxy.logged(&[expected]).await;
    }
    setup.proxy.logged(&["the upstream failed"]).await;
    assert_clean(&setup.proxy.log());
}

#[tokio::test]
async fn a_registry_that_fails_puts_no_secret_into_log_or_health() {
    for reply in [
        Reply::new(500, "s3cret-document"),
        Reply::new(200, r#"{"models":"s3cret-document"}"#),
        Reply::redirect(302, "http://user:s3cret@127.0.0.1:1/?s3cret"),
        Reply::redirect(302, "/elsewhere?s3cret"),
    ] {
        // Another proxy for each, as a failure is followed by a pause.
        let mut setup = tracing_setup().await;
        setup.warm_up().await;
        setup.registry.reply(reply.clone());
        let health = until_page(&setup, "/health", |health| health["status"] == "degraded").await;
        let path = format!("{CHAT}?key=s3cret-uri");
        let answer = post_with(setup.address(), &path, &HEADERS, BODY).await;
        assert_eq!(answer.status(), 200, "{reply:?}");
        assert!(!health.to_string().contains(SECRET), "{health}");
        for path in ["/health/models", "/metrics"] {
            assert!(!get(setup.address(), path).await.text().contains(SECRET));
        }
        setup.proxy.logged(&["WARN", "catalog not refreshed"]).await;
        assert_clean(&setup.proxy.log());
    }
}

#[tokio::test]
async fn no_client_forges_a_line_of_the_log() {
    let mut setup = Setup::with(|proxy| {
        proxy.env("RUST_LOG", "trace");
    })
    .await;
    setup.warm_up().await;
    let start = "\n2026-01-01T00:00:00Z ERROR forged \u{1b}[31m\u{9b}31m\r\0\u{2028}\u{202e}";
    let name = format!("{start}{}", "y".repeat(1 << 20));
    let body = json!({ "model": name }).to_string();
    let answer = post_with(setup.address(), CHAT, &HEADERS[..1], body).await;
    assert_eq!(answer.status(), 200);
    setup.proxy.logged(&["routing to the fallback model"]).await;
    let log = setup.proxy.log();
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01")));
    let bad = ['\u{1b}', '\u{9b}', '\r', '\0', '\u{2028}', '\u{202e}'];
    assert!(!log.contains(bad), "{log}");
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(4096), "{longest:?}");
}
