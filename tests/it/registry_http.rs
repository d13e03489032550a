//! `ReqwestSource` against real sockets.

use std::time::{Duration, Instant};

use tower_model_routing::registry::{Fetched, Refreshed, Registry, RegistrySource, ReqwestSource};

use crate::support::{
    gateway::{registry, registry_with_timeout},
    server::{RegistryServer, ScriptedResponse, start_untrusted_https_server},
};

fn one() -> ScriptedResponse {
    ScriptedResponse::catalog("one", "0x1")
}

fn two() -> ScriptedResponse {
    ScriptedResponse::catalog("two", "0x2")
}

fn status(status: u16) -> ScriptedResponse {
    ScriptedResponse::new(status, "")
}

fn registry_at(url: &str) -> Registry {
    registry(ReqwestSource::new(url).unwrap())
}

fn hasty_registry_at(url: &str, timeout: Duration) -> Registry {
    registry_with_timeout(ReqwestSource::new(url).unwrap(), timeout)
}

fn has(registry: &Registry, name: &str) -> bool {
    let catalog = registry.snapshot();
    catalog.is_some_and(|catalog| catalog.find(name).is_some())
}

/// Fetches from a server that sends only this response. Returns the error's report.
async fn first_fetch_error(response: ScriptedResponse) -> String {
    let server = RegistryServer::start(response).await;
    let error = registry_at(&server.url()).refresh().await.unwrap_err();
    error.report().to_string()
}

#[tokio::test]
async fn revalidates_with_the_last_etag() {
    for etag in ["\"1\"", "W/\"1\""] {
        let server = RegistryServer::start(one().etag(etag)).await;
        let registry = registry_at(&server.url());
        assert!(server.requests().is_empty());
        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
        assert!(has(&registry, "one"));
        let first = server.last_request();
        assert_eq!(first.method(), "GET");
        assert_eq!(first.target(), RegistryServer::PATH);
        assert_eq!(first.header("accept"), Some("application/json"));
        assert_eq!(first.header("if-none-match"), None);
        let agent = concat!("tower-model-routing/", env!("CARGO_PKG_VERSION"));
        assert_eq!(first.header("user-agent"), Some(agent));

        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
        assert_eq!(server.last_request().header("if-none-match"), Some(etag));

        server.set_response(two().etag("\"2\""));
        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
        assert!(!has(&registry, "one"));
        let stats = registry.stats();
        assert_eq!(stats.etag.as_deref(), Some("\"2\""));
        assert_eq!((stats.fetches, stats.refreshes_failed), (3, 0));
    }
}

#[tokio::test]
async fn fetches_outside_of_a_registry() {
    let server = RegistryServer::start(one()).await;
    let source = ReqwestSource::new(&server.url()).unwrap();
    source.fetch(None).await.unwrap();

    let headers = [("x-custom", "yes")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
    let client = reqwest::Client::builder()
        .no_proxy()
        .default_headers(headers.into_iter().collect())
        .build();
    let source = ReqwestSource::with_client(&server.url(), client.unwrap()).unwrap();
    source.fetch(None).await.unwrap();
    assert_eq!(server.last_request().header("x-custom"), Some("yes"));
}

#[tokio::test]
async fn failed_fetch_keeps_catalog_and_etag() {
    let no_catalog = "not a usable catalog";
    let truncated = ["the response ended early", ""];
    let document = |document| ScriptedResponse::new(200, document);
    let html = "<!DOCTYPE html>\n<html><body>Sign in</body></html>";
    let unusable = [
        "",
        "null",
        r#"{"models":[]}"#,
        r#"{"models":[{"Name":"no id"}]}"#,
        r#"{"data":[{"Id":"0x1","Name":"one"}]}"#,
        r#"[{"Id":"0x1","Name":"one"}]"#,
    ];
    let failures = [
        (one().status(500), ["HTTP status 500", "the server failed"]),
        (one().status(503), ["HTTP status 503", "the server failed"]),
        (one().status(404), ["HTTP status 404", "check the path"]),
        (
            one().status(401),
            ["HTTP status 401", "check the credentials"],
        ),
        (
            one().status(403),
            ["HTTP status 403", "check the credentials"],
        ),
        (one().status(429), ["HTTP status 429", "TTL"]),
        (one().status(206), ["HTTP status 206", "only 200"]),
        (one().status(203), ["HTTP status 203", "only 200"]),
        (one().status(300), ["HTTP status 300", "no usable Location"]),
        (status(204), ["HTTP status 204", "only 200"]),
        (document(html), [no_catalog, "HTML"]),
        (
            one().header("content-encoding", "gzip"),
            ["content encoding", "gzip"],
        ),
        (one().truncated(), truncated),
        (one().reset(), truncated),
        (
            ScriptedResponse::redirect(302, "ftp://h/models.json"),
            ["a redirect was not followed", "neither http nor https"],
        ),
    ];
    let unusable = unusable.map(|body| (document(body), [no_catalog, ""]));
    for (response, expected) in failures.into_iter().chain(unusable) {
        let server = RegistryServer::start(one().etag("\"1\"")).await;
        let registry = registry_at(&server.url());
        registry.refresh().await.unwrap();
        server.set_response(response);
        let error = registry.refresh().await.unwrap_err().report().to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error}");
        }
        assert!(!error.contains("DOCTYPE"), "{error}");
        assert!(has(&registry, "one"));
        assert_eq!(registry.stats().etag.as_deref(), Some("\"1\""));
        server.set_response(two());
        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
        assert!(has(&registry, "two"));
    }
}

#[tokio::test]
async fn unsolicited_304_is_a_failed_fetch() {
    let error = first_fetch_error(status(304)).await;
    assert!(error.contains("304"), "{error}");
}

#[tokio::test]
async fn refused_connection_keeps_catalog() {
    let server = RegistryServer::start(one()).await;
    let registry = registry_at(&server.url());
    registry.refresh().await.unwrap();
    drop(server);
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("no connection"), "{error}");
    assert!(has(&registry, "one"));
}

#[tokio::test]
async fn slow_fetch_times_out() {
    let server = RegistryServer::start(ScriptedResponse::silent()).await;
    let registry = hasty_registry_at(&server.url(), Duration::from_millis(100));
    let before = Instant::now();
    assert!(registry.refresh().await.unwrap_err().is_timeout());
    assert!(before.elapsed() < Duration::from_secs(5));

    server.set_response(one().delay(Duration::from_secs(60)));
    assert!(registry.refresh().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn caps_the_document_at_8_mib() {
    let too_long = ((8 << 20) + 1).to_string();
    for response in [
        ScriptedResponse::endless(vec![b' '; 1 << 20]),
        // The declared length suffices: reading this body would fail as truncated.
        one().header("content-length", too_long),
    ] {
        let error = first_fetch_error(response).await;
        assert!(error.contains("larger than 8388608 bytes"), "{error}");
    }
    let longest = ScriptedResponse::new(200, vec![b' '; 8 << 20]);
    let server = RegistryServer::start(longest).await;
    let source = ReqwestSource::new(&server.url()).unwrap();
    match source.fetch(None).await.unwrap() {
        Fetched::Document { body, .. } => assert_eq!(body.len(), 8 << 20),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn max_catalog_bytes_bounds_what_is_read() {
    let server = RegistryServer::start(one()).await;
    let fetch = async |max_bytes| {
        let source = ReqwestSource::new(&server.url()).unwrap();
        let registry = Registry::builder(source).max_catalog_bytes(max_bytes);
        registry.build().unwrap().refresh().await
    };
    let len = match ReqwestSource::new(&server.url()).unwrap().fetch(None).await {
        Ok(Fetched::Document { body, .. }) => body.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(fetch(len).await.unwrap(), Refreshed::Changed);
    let error = fetch(len - 1).await.unwrap_err().report().to_string();
    assert!(error.contains("max_catalog_bytes"), "{error}");
}

#[tokio::test]
async fn follows_three_redirects() {
    let server = RegistryServer::start(one().etag("\"1\"")).await;
    let registry = registry_at(&server.url_of("/start?key=secret"));
    for _ in 0..2 {
        for (status, location) in [(301, "/a"), (302, "b"), (308, &*server.url())] {
            server.push(ScriptedResponse::redirect(status, location));
        }
        registry.refresh().await.unwrap();
        assert_eq!(server.last_request().target(), RegistryServer::PATH);
        assert_eq!(server.last_request().header("referer"), None);
    }
    assert_eq!(server.last_request().header("if-none-match"), Some("\"1\""));
    assert_eq!(registry.stats().refreshes_unchanged, 1);

    // A loop is a fourth redirect.
    server.set_response(ScriptedResponse::redirect(302, RegistryServer::PATH));
    let before = server.requests().len();
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("more than 3 redirects"), "{error}");
    assert_eq!(server.requests().len(), before + 4);
}

#[tokio::test]
async fn error_names_the_redirected_location_without_its_query() {
    let server = RegistryServer::start(status(404)).await;
    server.push(ScriptedResponse::redirect(302, "/moved?key=secret"));
    let registry = registry_at(&server.url());
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("/moved after a redirect"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn sends_url_credentials_but_does_not_show_them() {
    let server = RegistryServer::start(one()).await;
    let address = server.address();
    let url = format!("http://user:secret@{address}/models?key=secret#secret");
    let registry = registry_at(&url);
    registry.refresh().await.unwrap();
    // "user:secret" in base 64.
    let expected = Some("Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(server.last_request().header("authorization"), expected);
    assert_eq!(server.last_request().target(), "/models?key=secret");

    let location = format!("http://{address}/models");
    assert_eq!(registry.location(), location);
    server.set_response(status(500));
    let error = registry.refresh().await.unwrap_err().to_string();
    assert!(error.contains(&location), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn construction_needs_no_runtime() {
    let registry = registry_at("https://models.example/active_models.json?key=secret");
    let location = "https://models.example/active_models.json";
    assert_eq!(registry.location(), location);
}

#[tokio::test]
async fn rejects_an_untrusted_certificate() {
    let url = format!("https://{}/", start_untrusted_https_server());
    let error = registry_at(&url).refresh().await.unwrap_err();
    let error = error.report().to_string();
    assert!(error.contains("certificate"), "{error}");
}
