//! The registry's bad days.

use serde_json::Value;

use super::{CHAT, Setup, VENICE, models, proxy, until_page};
use test_support::{
    MODELS,
    client::{get, post},
    process::Process,
    registry_server::{RegistryServer, Reply},
    upstream::Upstream,
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;

#[tokio::test]
async fn the_list_is_fetched_at_the_start_and_not_for_each_request() {
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
async fn a_list_that_has_not_changed_is_confirmed_by_its_etag() {
    let setup = Setup::with(|proxy| {
        proxy.env("MODELS_TTL_SECONDS", "0.1");
    })
    .await;
    let health = until_page(&setup, "/health/models", |health| {
        health["cache_stats"]["refreshes_unchanged"].as_u64() > Some(1)
    })
    .await;
    assert_eq!(health["cache_stats"]["refreshes_changed"], 1);
    let etag = setup.registry.last_request();
    assert_eq!(etag.header("if-none-match"), Some("\"models-1\""));
}

#[tokio::test]
async fn a_registry_that_is_down_at_the_start_is_a_503_until_it_is_back() {
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
    for answer in [
        post(setup.address(), CHAT, BODY).await,
        get(setup.address(), "/v1/models").await,
    ] {
        assert_eq!(
            answer.error(),
            (503, "model_registry_unavailable".to_owned())
        );
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
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
    // What is not about models needs no list of them.
    assert_eq!(get(setup.address(), "/v1/files").await.status(), 200);

    setup.registry.reply(models());
    until_page(&setup, "/health", |health| health["status"] == "healthy").await;
    assert_eq!(post(setup.address(), CHAT, BODY).await.status(), 200);
}

#[tokio::test]
async fn a_silent_registry_does_not_hold_health_checks_up() {
    let registry = RegistryServer::start(Reply::silent()).await;
    let mut command = proxy();
    command.env("ACTIVE_MODELS_URL", registry.url());
    command.env("MODELS_FETCH_TIMEOUT_SECONDS", "300");
    let proxy = Process::start(&mut command).await;
    // In the face of a fetch that takes five minutes.
    let health = get(proxy.address(), "/health").await;
    assert_eq!(health.status(), 503);
}

#[tokio::test]
async fn a_registry_that_fails_later_degrades_health_and_nothing_else() {
    for failure in [
        Reply::status(500),
        Reply::new(200, "<html>down for maintenance</html>"),
        Reply::new(200, r#"{"models":[]}"#),
        Reply::silent(),
    ] {
        let setup = Setup::with(|proxy| {
            proxy.env("MODELS_TTL_SECONDS", "0.2");
            proxy.env("MODELS_FETCH_TIMEOUT_SECONDS", "0.5");
        })
        .await;
        until_page(&setup, "/health", |health| health["status"] == "healthy").await;
        setup.registry.reply(failure.clone());
        let health = until_page(&setup, "/health", |health| health["status"] == "degraded").await;
        assert!(health["model_service"]["cache_info"]["last_error"].is_string());
        assert_eq!(health["model_service"]["model_count"], 11);
        for _ in 0..5 {
            let answer = post(setup.address(), CHAT, BODY).await;
            assert_eq!(answer.header("x-model-id"), Some(VENICE), "{failure:?}");
            setup.upstream.request().await;
        }
        assert_eq!(get(setup.address(), "/health").await.status(), 200);

        setup.registry.reply(models());
        until_page(&setup, "/health", |health| health["status"] == "healthy").await;
    }
}

#[tokio::test]
async fn a_model_published_a_moment_ago_is_found() {
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
    let answer = post(setup.address(), CHAT, r#"{"model":"brand-new"}"#).await;
    assert_eq!(answer.header("x-model-name"), Some("brand-new"));
    assert_eq!(answer.header("x-model-fallback"), None);
}

#[tokio::test]
async fn nobody_waits_for_a_registry_that_hangs() {
    let setup = Setup::with(|proxy| {
        proxy.env("MODELS_TTL_SECONDS", "0.2");
        proxy.env("MODELS_FETCH_TIMEOUT_SECONDS", "300");
    })
    .await;
    setup.warm_up().await;
    setup.registry.reply(Reply::silent());
    // The fetch takes longer than any of these is willing to.
    until_page(&setup, "/health", |health| {
        health["model_service"]["cache_info"]["seconds_until_expiry"] == 0.0
    })
    .await;
    for _ in 0..10 {
        let answer = post(setup.address(), CHAT, BODY).await;
        assert_eq!(answer.header("x-model-id"), Some(VENICE));
    }
}
