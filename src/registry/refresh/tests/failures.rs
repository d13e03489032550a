//! Refreshes that fail.

use std::error::Error;

use super::*;

#[tokio::test(start_paused = true)]
async fn cold_failure_is_unavailable_until_the_backoff_ends() {
    let source = FakeSource::new(Outcome::Fail);
    let registry = cold(&source);
    for (result, waited) in join_all((0..8).map(|_| request(&registry))).await {
        let retry_after = result.unwrap_err().retry_after();
        assert_eq!(waited, FETCH);
        assert!(retry_after > SECOND / 3 && retry_after <= SECOND);
    }
    let failed_at = Instant::now();

    let (result, waited) = request(&registry).await;
    let error = result.unwrap_err();
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(error.cause().unwrap().location(), "fake://models");
    assert_eq!(source.fetches(), 1);

    source.returns(Outcome::Document("a"));
    sleep(error.retry_after()).await;
    assert_eq!(served(&registry).await.0, "a");
    assert!(source.fetch_times()[1] >= failed_at + error.retry_after());
    assert_eq!(registry.stats().health(), RegistryHealth::Healthy);
}

#[tokio::test(start_paused = true)]
async fn fetch_times_out() {
    let source = FakeSource::new(Outcome::Document("a"));
    source.takes(3600 * SECOND);
    let registry = cold(&source);
    let (result, waited) = request(&registry).await;
    assert_eq!(waited, 10 * SECOND);
    assert!(result.unwrap_err().cause().unwrap().is_timeout());
    assert_eq!(source.dropped(), 1);
    assert!(last_error(&registry).contains("10s"));
}

#[tokio::test(start_paused = true)]
async fn error_keeps_its_causes() {
    let source = FakeSource::new(Outcome::Fail);
    let error = cold(&source).refresh().await.unwrap_err();
    assert_eq!(
        error.report().to_string(),
        "the catalog could not be fetched from fake://models: no response: the cable is cut"
    );
    let root = error.source().unwrap().source().unwrap();
    assert!(root.is::<std::io::Error>());
}

#[tokio::test(start_paused = true)]
async fn panicking_source_is_a_failure() {
    let source = FakeSource::new(Outcome::Panic);
    let registry = cold(&source);
    let (result, waited) = request(&registry).await;
    assert!(result.is_err());
    assert_eq!(waited, FETCH);
    assert!(last_error(&registry).contains("the fetch panicked"));
    source.returns(Outcome::Document("a"));
    registry.refresh().await.unwrap();
    assert_eq!(ready(&registry), "a");
}

#[tokio::test(start_paused = true)]
async fn expired_catalog_is_used_once_its_refresh_fails() {
    let (source, registry) = warm().await;
    sleep(1000 * SECOND).await;
    source.returns(Outcome::Fail);
    assert_eq!(served(&registry).await, (a(), FETCH));
    assert_eq!(ready(&registry), "a");
    assert_eq!(registry.stats().health(), RegistryHealth::Degraded);
}

#[tokio::test(start_paused = true)]
async fn initial_catalog_outlives_failures() {
    let source = FakeSource::new(Outcome::Fail);
    let registry = seeded(&source, "a");
    assert_eq!(ready(&registry), "a");
    sleep(FETCH * 2).await;
    assert_eq!(ready(&registry), "a");
    assert_eq!(registry.stats().health(), RegistryHealth::Degraded);
}

#[tokio::test(start_paused = true)]
async fn failing_source_is_retried_with_backoff_until_it_recovers() {
    let (source, registry) = warm().await;
    source.takes(Duration::ZERO);
    source.returns(Outcome::Fail);
    sleep(301 * SECOND).await;
    registry.refresh().await.unwrap_err();
    let end = Instant::now() + 600 * SECOND;
    while Instant::now() < end {
        assert_eq!(ready(&registry), "a");
        sleep(Duration::from_millis(20)).await;
    }
    let times = source.fetch_times();
    let pauses: Vec<_> = times[1..].windows(2).map(|two| two[1] - two[0]).collect();
    for (count, pause) in pauses.iter().enumerate() {
        let full = (SECOND * (1 << count.min(6))).min(60 * SECOND);
        let latest = full + Duration::from_millis(50);
        assert!((full / 2..=latest).contains(pause), "{pauses:?}");
    }
    assert!((13..=26).contains(&pauses.len()), "{pauses:?}");
    let failed = pauses.len() as u64 + 1;
    assert_eq!(registry.stats().refreshes_failed, failed);
    assert!(last_error(&registry).ends_with("the cable is cut"));

    source.returns(Outcome::Document("b"));
    sleep(60 * SECOND).await;
    assert_eq!(ready(&registry), "a");
    sleep(FETCH).await;
    assert_eq!(ready(&registry), "b");
    let stats = registry.stats();
    assert_eq!(stats.health(), RegistryHealth::Healthy);
    assert!(stats.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn catalog_older_than_max_stale_is_not_used() {
    let source = FakeSource::new(Outcome::Document("a"));
    let builder = Registry::builder(source.clone()).max_stale(600 * SECOND);
    let registry = builder.build().unwrap();
    registry.refresh().await.unwrap();
    source.returns(Outcome::Fail);
    sleep(599 * SECOND).await;
    assert_eq!(served(&registry).await.0, "a");
    sleep(SECOND).await;
    let (result, waited) = request(&registry).await;
    assert_eq!(waited, FETCH);
    let retry_after = result.unwrap_err().retry_after();
    assert_eq!(request(&registry).await.1, Duration::ZERO);
    assert_eq!(registry.stats().health(), RegistryHealth::Unhealthy);
    assert_eq!(name(&registry.snapshot().unwrap()), "a");

    source.returns(Outcome::Document("a"));
    sleep(retry_after).await;
    assert_eq!(served(&registry).await.0, "a");
    assert_eq!(registry.stats().refreshes_unchanged, 1);
}

#[tokio::test(start_paused = true)]
async fn forced_refresh_joins_the_one_in_flight_and_skips_the_backoff() {
    let source = FakeSource::new(Outcome::Fail);
    let registry = cold(&source);
    let (first, second) = tokio::join!(registry.refresh(), registry.refresh());
    assert!(first.is_err() && second.is_err());
    assert_eq!(source.fetches(), 1);
    source.returns(Outcome::Document("a"));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
    assert_eq!(source.fetches(), 2);
}
