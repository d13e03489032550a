//! The states of the catalog, as requests observe them.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use tower_model_routing::registry::Catalog;

use crate::support::{
    gateway::{CHAT, Gateway},
    source::{MODELS, Outcome, ScriptedSource, models_and},
};

const NEW: &str = r#"{"model":"brand-new"}"#;
const KNOWN: &str = r#"{"model":"flux"}"#;
const FALLBACK: &str = "0x0a";
const UNAVAILABLE: &str = "model_registry_unavailable";

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

async fn warm() -> Gateway {
    Gateway::warm(|config| config).await
}

/// Returns the catalog with one more model, `name`.
fn catalog_with(name: &str) -> Outcome {
    Outcome::Catalog(models_and(name, "0xfe"))
}

/// Sends a request. Returns the rejection's code or the ID it was routed to, and the time it took.
async fn send(gateway: &Gateway, json: &'static str) -> (String, Duration) {
    let start = Instant::now();
    let (code, body) = gateway.post(CHAT, json).await;
    let outcome = match body {
        Some(body) => body.split('"').nth(3).unwrap().to_owned(),
        None => code.to_owned(),
    };
    (outcome, start.elapsed())
}

/// Checks the outcome of a request and the time it takes.
async fn expect(gateway: &Gateway, json: &'static str, outcome: &str, seconds: f64) {
    let (found, time) = send(gateway, json).await;
    assert_eq!(found, outcome);
    let timer_error = Duration::from_millis(5);
    let range = secs(seconds)..=secs(seconds) + timer_error;
    assert!(range.contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn cold_requests_share_one_fetch() {
    let gateway = Gateway::new();
    gateway.source.set_delay(secs(3.0));
    let cancelled = tokio::time::timeout(secs(1.0), send(&gateway, KNOWN));
    let (cancelled, a, b) = tokio::join!(cancelled, send(&gateway, KNOWN), send(&gateway, KNOWN));
    assert!(cancelled.is_err());
    assert_eq!(a, ("0x10".into(), secs(3.0)));
    assert_eq!(a, b);
    assert_eq!(gateway.source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn cold_failure_is_503_until_the_backoff_ends() {
    let gateway = Gateway::with_source(ScriptedSource::new(Outcome::Failure), |config| config);
    gateway.source.set_delay(secs(3.0));
    expect(&gateway, KNOWN, UNAVAILABLE, 3.0).await;
    expect(&gateway, KNOWN, UNAVAILABLE, 0.0).await;
    assert_eq!(gateway.source.fetches(), 1);

    gateway.source.set_outcome(Outcome::Catalog(MODELS.into()));
    advance(secs(1.5)).await;
    assert_eq!(send(&gateway, KNOWN).await.0, "0x10");
}

#[tokio::test(start_paused = true)]
async fn cold_fetch_timeout_is_503() {
    let gateway = Gateway::with_source(ScriptedSource::new(Outcome::Pending), |config| config);
    expect(&gateway, KNOWN, UNAVAILABLE, 10.0).await;
}

#[tokio::test(start_paused = true)]
async fn fresh_catalog_is_not_refreshed() {
    let gateway = warm().await;
    gateway.source.set_outcome(Outcome::Failure);
    advance(secs(200.0)).await;
    expect(&gateway, KNOWN, "0x10", 0.0).await;
    sleep(secs(0.001)).await;
    assert_eq!(gateway.source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn stale_catalog_is_used_and_refreshed_once() {
    let gateway = warm().await;
    gateway.source.set_outcome(catalog_with("flux"));
    gateway.source.set_delay(secs(1.0));
    advance(secs(280.0)).await;
    for _ in 0..3 {
        expect(&gateway, KNOWN, "0x10", 0.0).await;
    }
    sleep(secs(1.5)).await;
    expect(&gateway, KNOWN, "0xfe", 0.0).await;
    assert_eq!(gateway.source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn expired_catalog_is_refreshed_first() {
    let gateway = warm().await;
    gateway.source.set_outcome(catalog_with("flux"));
    gateway.source.set_delay(secs(1.0));
    advance(secs(301.0)).await;
    expect(&gateway, KNOWN, "0xfe", 1.0).await;
}

#[tokio::test(start_paused = true)]
async fn expired_catalog_is_used_after_max_refresh_wait() {
    let gateway = warm().await;
    gateway.source.set_outcome(Outcome::Pending);
    advance(secs(301.0)).await;
    expect(&gateway, KNOWN, "0x10", 2.0).await;
}

#[tokio::test(start_paused = true)]
async fn catalog_is_used_while_refreshes_fail() {
    let gateway = warm().await;
    gateway.source.set_outcome(Outcome::Failure);
    advance(secs(301.0)).await;
    assert_eq!(send(&gateway, KNOWN).await.0, "0x10");
    gateway.source.set_outcome(Outcome::Pending);
    for _ in 0..5 {
        sleep(secs(20.0)).await;
        expect(&gateway, KNOWN, "0x10", 0.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn max_stale_ends_the_use_of_a_failing_catalog() {
    let gateway = Gateway::with(|config| config.max_stale(Some(secs(400.0))));
    assert_eq!(send(&gateway, KNOWN).await.0, "0x10");
    gateway.source.set_outcome(Outcome::Failure);
    advance(secs(390.0)).await;
    assert_eq!(send(&gateway, KNOWN).await.0, "0x10");
    advance(secs(20.0)).await;
    assert_eq!(send(&gateway, KNOWN).await.0, UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn unknown_model_refreshes_the_catalog_first() {
    let gateway = warm().await;
    gateway.source.set_outcome(catalog_with("brand-new"));
    gateway.source.set_delay(secs(1.0));
    // Younger than `miss_refresh`.
    advance(secs(5.0)).await;
    expect(&gateway, NEW, FALLBACK, 0.0).await;
    advance(secs(6.0)).await;
    // A known model does not wait for the refresh.
    tokio::join!(
        expect(&gateway, NEW, "0xfe", 1.0),
        expect(&gateway, KNOWN, "0x10", 0.0)
    );
    assert_eq!(gateway.source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn repeated_miss_is_not_refreshed_within_miss_refresh() {
    let gateway = warm().await;
    gateway.source.set_delay(secs(1.0));
    advance(secs(11.0)).await;
    expect(&gateway, NEW, FALLBACK, 1.0).await;
    expect(&gateway, NEW, FALLBACK, 0.0).await;
    assert_eq!(gateway.source.fetches(), 2);
    gateway.source.set_outcome(Outcome::Pending);
    advance(secs(11.0)).await;
    expect(&gateway, NEW, FALLBACK, 2.0).await;
}

#[tokio::test(start_paused = true)]
async fn many_unknown_models_fetch_once_per_miss_refresh() {
    let gateway = warm().await;
    gateway.source.set_delay(secs(0.1));
    // 20 different names every half second for 100 s.
    for second in 0..200 {
        let names = (0..20).map(|name| format!(r#"{{"model":"unknown-{second}-{name}"}}"#));
        let requests = names.map(|body| async { gateway.post(CHAT, body).await.0 });
        let codes = futures_util::future::join_all(requests).await;
        assert!(codes.iter().all(|code| *code == "ok"));
        sleep(secs(0.4)).await;
    }
    let fetches = gateway.source.fetches();
    assert!((2..=11).contains(&fetches), "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn missing_fallback_refreshes_the_catalog_too() {
    let without = MODELS.replace("mistral-31-24b", "something-else");
    let source = ScriptedSource::new(Outcome::Catalog(without));
    let gateway = Gateway::with_source(source, |config| config);
    assert_eq!(send(&gateway, "{}").await.0, "fallback_model_unavailable");
    gateway.source.set_outcome(Outcome::Catalog(MODELS.into()));
    advance(secs(11.0)).await;
    assert_eq!(send(&gateway, "{}").await.0, FALLBACK);
}

#[tokio::test(start_paused = true)]
async fn initial_catalog_is_used_and_refreshed() {
    let gateway = Gateway::with(|config| {
        let catalog = Catalog::parse(models_and("flux", "0xfe").as_bytes()).unwrap();
        config.initial_catalog(catalog)
    });
    gateway.source.set_delay(secs(1.0));
    expect(&gateway, KNOWN, "0xfe", 0.0).await;
    sleep(secs(1.5)).await;
    expect(&gateway, KNOWN, "0x10", 0.0).await;
}

#[test]
fn construction_needs_no_runtime_and_no_fetch() {
    let gateway = Gateway::new();
    assert_eq!(gateway.source.fetches(), 0);
    assert!(gateway.layer.registry().snapshot().is_none());
}
