//! CORS headers.

use super::{CHAT, Setup};
use test_support::{
    client::{Response, get, post_with, send},
    upstream::Step,
};

const ORIGIN: &str = "https://app.example.com";
const PREFLIGHT: &str = "access-control-request-method: POST\r\n\
                         access-control-request-headers: authorization,content-type\r\n";

async fn with_origin(origin: &str) -> Setup {
    let setup = Setup::with(|proxy| {
        proxy.args(["--cors-origin", origin]);
    })
    .await;
    setup.warm_up().await;
    setup
}

async fn options(setup: &Setup, path: &str) -> Response {
    let request =
        format!("OPTIONS {path} HTTP/1.1\r\nhost: test\r\norigin: {ORIGIN}\r\n{PREFLIGHT}\r\n");
    send(setup.address(), request).await
}

#[tokio::test]
async fn preflights_get_a_response_for_all_paths() {
    for origin in ["*", ORIGIN] {
        let setup = with_origin(origin).await;
        for path in [CHAT, "/v1/models", "/health"] {
            let response = options(&setup, path).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.header("access-control-allow-origin"), Some(origin));
            assert_eq!(
                response.header("access-control-allow-methods"),
                Some("POST")
            );
            assert_eq!(
                response.header("access-control-allow-headers"),
                Some("authorization,content-type")
            );
            assert!(response.header("x-request-id").is_some());
        }
        assert!(!setup.upstream.has_request().await);
    }
}

#[tokio::test]
async fn all_responses_have_the_headers_once() {
    let setup = with_origin(ORIGIN).await;
    let own = "content-type: text/event-stream\r\naccess-control-allow-origin: https://other\r\n\
               access-control-allow-credentials: true\r\naccess-control-expose-headers: x\r\n";
    setup
        .upstream
        .script(vec![Step::response(200, own, "data: {}\n\n")]);
    let headers = [("content-type", "application/json"), ("origin", ORIGIN)];
    let chat = async |body: &str| post_with(setup.address(), CHAT, &headers, body).await;
    for (response, status) in [
        (chat(r#"{"model":"code"}"#).await, 200),
        (chat("no JSON").await, 400),
        (get(setup.address(), "/v1/models/no-such-model").await, 404),
        (get(setup.address(), "/health").await, 200),
    ] {
        assert_eq!(response.status(), status);
        assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN));
        assert_eq!(response.header("access-control-allow-credentials"), None);
        let exposed = response.header("access-control-expose-headers").unwrap();
        for name in ["*", "x-model-id", "x-model-name", "x-request-id"] {
            assert!(exposed.split(',').any(|it| it == name), "{exposed}");
        }
    }
}

#[tokio::test]
async fn preflights_go_upstream_by_default() {
    let setup = Setup::new().await;
    let own = "access-control-allow-origin: https://other\r\n";
    setup.upstream.script(vec![Step::response(200, own, "")]);
    let response = options(&setup, CHAT).await;
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://other"));
    assert_eq!(setup.upstream.request().await.method(), "OPTIONS");
}
