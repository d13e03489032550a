//! How the proxy fetches and refreshes its catalog.

use serde_json::Value;

use super::{CHAT, Setup, VENICE, models, proxy, until_json};
use test_support::{
    MODELS,
    client::{get, post},
    process::Process,
    registry_server::{RegistryServer, Reply},
    upstream::Upstream,
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;

#[tokio::test]
async fn the_catalog_is_fetched_once_at_startup() {
    let setup = Setup::new().await;
    setup.warm_up().await;
    for _ in 0..20 {
        assert_eq!(post(setup.address(), CHAT, BODY).await.status(), 200);
    }
    let requests = setup.registry.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("if-none-match"), None);
}

#[tokio::test]
async fn loopback_registries_are_fetched_without_the_http_proxy() {
    let setup = Setup::with(|proxy| {
        proxy.env("HTTP_PROXY", "http://127.0.0.1:1");
    })
    .await;
    setup.warm_up().await;
    assert_eq!(setup.registry.requests().len(), 1);
}

#[tokio::test]
async fn unchanged_catalogs_are_revalidated() {
    let setup = Setup::with(|proxy| {
        proxy.env("MODELS_TTL_SECONDS", "0.1");
    })
    .await;
    let health = until_json(&setup, "/health/models", |health| {
        health["cache_stats"]["refreshes_unchanged"].as_u64() > Some(1)
    })
    .await;
    assert_eq!(health["cache_stats"]["refreshes_changed"], 1);
    let etag = setup.registry.last_request();
    assert_eq!(etag.header("if-none-match"), Some("\"models-1\""));
}

#[tokio::test]
async fn requests_get_503_until_the_first_catalog() {
    let registry = RegistryServer::start(Reply::status(500)).await;
    let upstream = Upstream::start().await;
    let mut command = proxy();
    command.env("UPSTREAM_URL", upstream.url());
    command.env("ACTIVE_MODELS_URL", registry.url());
    let proxy = Process::start(&mut command).await;
    let setup = Setup {
        registry,
        upstream,
        proxy,
    };
    for response in [
        post(setup.address(), CHAT, BODY).await,
        get(setup.address(), "/v1/models").await,
    ] {
        assert_eq!(
            response.error(),
            (503, "model_registry_unavailable".to_owned())
        );
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
    }
    let health = get(setup.address(), "/health").await;
    assert_eq!(health.status(), 503);
    assert_eq!(health.json()["status"], "unhealthy");
    let details = get(setup.address(), "/health/models").await;
    assert_eq!(details.status(), 503);
    assert_eq!(
        details.json()["test_results"]["venice-uncensored"]["status"],
        "not_found"
    );
    assert_eq!(details.json()["available_models"], Value::Array(vec![]));
    assert!(
        details.json()["cache_stats"]["last_error"]
            .as_str()
            .unwrap()
            .contains("500")
    );
    // Other requests need no catalog.
    assert_eq!(get(setup.address(), "/v1/files").await.status(), 200);

    setup.registry.reply(models());
    until_json(&setup, "/health", |health| health["status"] == "healthy").await;
    assert_eq!(post(setup.address(), CHAT, BODY).await.status(), 200);
}

#[tokio::test]
async fn health_checks_do_not_wait_for_a_silent_registry() {
    let registry = RegistryServer::start(Reply::silent()).await;
    let mut command = proxy();
    command.env("ACTIVE_MODELS_URL", registry.url());
    command.env("MODELS_FETCH_TIMEOUT_SECONDS", "300");
    let proxy = Process::start(&mut command).await;
    let health = get(proxy.address(), "/health").await;
    assert_eq!(health.status(), 503);
}

#[tokio::test]
async fn new_models_are_found_by_a_refresh() {
    let setup = Setup::with(|proxy| {
        proxy.env("MODELS_MISS_REFRESH_SECONDS", "0");
    })
    .await;
    setup.warm_up().await;
    let published = MODELS
        .replace("\"retired\"", "\"brand-new\"")
        .replace("true", "false");
    setup
        .registry
        .reply(Reply::new(200, published).etag("\"models-2\""));
    let response = post(setup.address(), CHAT, r#"{"model":"brand-new"}"#).await;
    assert_eq!(response.header("x-model-name"), Some("brand-new"));
    assert_eq!(response.header("x-model-fallback"), None);
}

#[tokio::test]
async fn requests_do_not_wait_for_a_silent_registry() {
    let setup = Setup::with(|proxy| {
        proxy.env("MODELS_TTL_SECONDS", "0.2");
        proxy.env("MODELS_FETCH_TIMEOUT_SECONDS", "300");
    })
    .await;
    setup.warm_up().await;
    setup.registry.reply(Reply::silent());
    // The fetch takes longer than requests may wait.
    until_json(&setup, "/health", |health| {
        health["model_service"]["cache_info"]["seconds_until_expiry"] == 0.0
    })
    .await;
    for _ in 0..10 {
        let response = post(setup.address(), CHAT, BODY).await;
        assert_eq!(response.header("x-model-id"), Some(VENICE));
    }
}
