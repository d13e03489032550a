//! The rows of the freshness table, as a request sees them.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use tower_model_routing::Catalog;

use crate::support::{
    gateway::{CHAT, Gateway},
    source::{Answer, MODELS, Source, models_and},
};

const NEW: &str = r#"{"model":"brand-new"}"#;
const OLD: &str = r#"{"model":"flux"}"#;
const FALLBACK: &str = "0x0a";

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A gateway, its list fetched a moment ago.
async fn warm() -> Gateway {
    let gateway = Gateway::new();
    gateway.layer.registry().refresh().await.unwrap();
    gateway
}

/// Sends a request; the code or the ID it was routed to, and how long it took.
async fn ask(gateway: &Gateway, json: &'static str) -> (String, Duration) {
    let start = Instant::now();
    let (code, body) = gateway.post(CHAT, json).await;
    let outcome = match body {
        Some(body) => body.split('"').nth(3).unwrap().to_owned(),
        None => code.to_owned(),
    };
    (outcome, start.elapsed())
}

/// Lets spawned tasks run.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn cold_requests_wait_and_share_one_fetch() {
    let gateway = Gateway::new();
    gateway.source.takes(secs(3.0));
    let (a, b) = tokio::join!(ask(&gateway, OLD), ask(&gateway, OLD));
    assert_eq!(a, ("0x10".into(), secs(3.0)));
    assert_eq!(a, b);
    assert_eq!(gateway.source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cold_failure_is_a_503_and_at_once_until_the_backoff_ends() {
    let gateway = Gateway::of(Source::new(Answer::Fails), |config| config);
    gateway.source.takes(secs(3.0));
    let unavailable = String::from("model_registry_unavailable");
    assert_eq!(ask(&gateway, OLD).await, (unavailable.clone(), secs(3.0)));
    assert_eq!(ask(&gateway, OLD).await, (unavailable, secs(0.0)));
    assert_eq!(gateway.source.fetches(), 1);

    gateway.source.answers(Answer::List(MODELS.into()));
    advance(secs(1.5)).await;
    assert_eq!(ask(&gateway, OLD).await.0, "0x10");
}

#[tokio::test(start_paused = true)]
async fn a_cold_source_that_hangs_is_a_503_after_its_timeout() {
    let gateway = Gateway::of(Source::new(Answer::Hangs), |config| config);
    let (outcome, waited) = ask(&gateway, OLD).await;
    assert_eq!(outcome, "model_registry_unavailable");
    assert_eq!(waited.as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_list_is_used_at_once() {
    let gateway = warm().await;
    gateway.source.answers(Answer::Fails);
    advance(secs(200.0)).await;
    assert_eq!(ask(&gateway, OLD).await, ("0x10".into(), secs(0.0)));
    settle().await;
    assert_eq!(gateway.source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_list_is_used_at_once_and_refreshed_by_one() {
    let gateway = warm().await;
    gateway
        .source
        .answers(Answer::List(models_and("flux", "0xfe")));
    gateway.source.takes(secs(1.0));
    advance(secs(280.0)).await;
    for _ in 0..3 {
        assert_eq!(ask(&gateway, OLD).await, ("0x10".into(), secs(0.0)));
    }
    sleep(secs(1.5)).await;
    assert_eq!(ask(&gateway, OLD).await, ("0xfe".into(), secs(0.0)));
    assert_eq!(gateway.source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_list_is_refreshed_first() {
    let gateway = warm().await;
    gateway
        .source
        .answers(Answer::List(models_and("flux", "0xfe")));
    gateway.source.takes(secs(1.0));
    advance(secs(301.0)).await;
    assert_eq!(ask(&gateway, OLD).await, ("0xfe".into(), secs(1.0)));
}

#[tokio::test(start_paused = true)]
async fn an_expired_list_is_used_after_the_longest_wait() {
    let gateway = warm().await;
    gateway.source.answers(Answer::Hangs);
    advance(secs(301.0)).await;
    let (outcome, waited) = ask(&gateway, OLD).await;
    assert_eq!((outcome.as_str(), waited.as_secs()), ("0x10", 2));
}

#[tokio::test(start_paused = true)]
async fn a_failing_list_is_used_at_once() {
    let gateway = warm().await;
    gateway.source.answers(Answer::Fails);
    advance(secs(301.0)).await;
    assert_eq!(ask(&gateway, OLD).await.0, "0x10");
    gateway.source.answers(Answer::Hangs);
    for _ in 0..5 {
        sleep(secs(20.0)).await;
        assert_eq!(ask(&gateway, OLD).await, ("0x10".into(), secs(0.0)));
    }
}

#[tokio::test(start_paused = true)]
async fn max_stale_turns_failing_into_503() {
    let gateway = Gateway::with(|config| config.max_stale(Some(secs(400.0))));
    assert_eq!(ask(&gateway, OLD).await.0, "0x10");
    gateway.source.answers(Answer::Fails);
    advance(secs(390.0)).await;
    assert_eq!(ask(&gateway, OLD).await.0, "0x10");
    advance(secs(20.0)).await;
    assert_eq!(ask(&gateway, OLD).await.0, "model_registry_unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_miss_refreshes_the_list_first_and_finds_a_new_model() {
    let gateway = warm().await;
    gateway
        .source
        .answers(Answer::List(models_and("brand-new", "0xfe")));
    gateway.source.takes(secs(1.0));
    advance(secs(5.0)).await;
    assert_eq!(
        ask(&gateway, NEW).await,
        (FALLBACK.into(), secs(0.0)),
        "too young"
    );
    advance(secs(6.0)).await;
    // The one that asks for a known name does not wait.
    let (miss, hit) = tokio::join!(ask(&gateway, NEW), ask(&gateway, OLD));
    assert_eq!(miss, ("0xfe".into(), secs(1.0)));
    assert_eq!(hit, ("0x10".into(), secs(0.0)));
    assert_eq!(gateway.source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_miss_that_stays_one_goes_to_the_fallback_and_does_not_ask_again_soon() {
    let gateway = warm().await;
    gateway.source.takes(secs(1.0));
    advance(secs(11.0)).await;
    assert_eq!(ask(&gateway, NEW).await, (FALLBACK.into(), secs(1.0)));
    assert_eq!(ask(&gateway, NEW).await, (FALLBACK.into(), secs(0.0)));
    assert_eq!(gateway.source.fetches(), 2);
    gateway.source.answers(Answer::Hangs);
    advance(secs(11.0)).await;
    let (outcome, waited) = ask(&gateway, NEW).await;
    assert_eq!((outcome.as_str(), waited.as_secs()), (FALLBACK, 2));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_names_fetches_once_per_miss_refresh() {
    let gateway = warm().await;
    gateway.source.takes(secs(0.1));
    // 100 s of 20 different names every half second.
    for second in 0..200 {
        let names = (0..20).map(|name| format!(r#"{{"model":"nobody-{second}-{name}"}}"#));
        let asked = names.map(|body| async { gateway.post(CHAT, body).await.0 });
        let codes = futures_util::future::join_all(asked).await;
        assert!(codes.iter().all(|code| *code == "ok"));
        sleep(secs(0.4)).await;
    }
    let fetches = gateway.source.fetches();
    assert!((2..=11).contains(&fetches), "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_is_missing_is_a_miss_too() {
    let without = MODELS.replace("mistral-31-24b", "something-else");
    let gateway = Gateway::of(Source::new(Answer::List(without)), |config| config);
    assert_eq!(ask(&gateway, "{}").await.0, "fallback_model_unavailable");
    gateway.source.answers(Answer::List(MODELS.into()));
    advance(secs(11.0)).await;
    assert_eq!(ask(&gateway, "{}").await.0, FALLBACK);
}

#[tokio::test(start_paused = true)]
async fn an_initial_catalog_serves_the_first_requests_and_is_refreshed() {
    let gateway = Gateway::with(|config| {
        let catalog = Catalog::parse(models_and("flux", "0xfe").as_bytes()).unwrap();
        config.initial_catalog(catalog)
    });
    gateway.source.takes(secs(1.0));
    assert_eq!(ask(&gateway, OLD).await, ("0xfe".into(), secs(0.0)));
    sleep(secs(1.5)).await;
    assert_eq!(ask(&gateway, OLD).await, ("0x10".into(), secs(0.0)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_leaves_the_refresh_to_the_others() {
    let gateway = Gateway::new();
    gateway.source.takes(secs(3.0));
    let impatient = tokio::time::timeout(secs(1.0), ask(&gateway, OLD));
    let (gone, (outcome, waited)) = tokio::join!(impatient, ask(&gateway, OLD));
    assert!(gone.is_err());
    assert_eq!((outcome.as_str(), waited), ("0x10", secs(3.0)));
    assert_eq!(gateway.source.fetches(), 1);
}

#[test]
fn making_a_layer_needs_no_runtime_and_fetches_nothing() {
    let gateway = Gateway::new();
    assert_eq!(gateway.source.fetches(), 0);
    assert!(gateway.layer.registry().snapshot().is_none());
}
