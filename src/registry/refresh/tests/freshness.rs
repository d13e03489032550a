//! Requests with a cold, fresh, stale, expired or initial catalog.

use super::*;

#[tokio::test(start_paused = true)]
async fn cold_callers_share_one_fetch() {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    for result in join_all((0..64).map(|_| served(&registry))).await {
        assert_eq!(result, (a(), FETCH));
    }
    assert_eq!(source.fetches(), 1);
    assert_eq!(registry.stats().refreshes_changed, 1);
}

#[tokio::test(start_paused = true)]
async fn fetch_outlives_its_callers() {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    let first = tokio::spawn({
        let registry = registry.clone();
        async move { registry.catalog().await }
    });
    sleep(FETCH / 4).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    sleep(FETCH / 4).await;
    assert_eq!(served(&registry).await, (a(), FETCH / 2));
    assert_eq!((source.fetches(), source.dropped()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn fresh_or_backing_off_takes_no_lock() {
    let (source, registry) = warm().await;
    for outcome in [Outcome::Document("a"), Outcome::Fail] {
        source.returns(outcome);
        let _ = registry.refresh().await;
        let lock = registry.inner.lock();
        assert_eq!(ready(&registry), "a");
        drop(lock);
    }
}

#[tokio::test(start_paused = true)]
async fn steady_traffic_never_waits() {
    let milliseconds = Duration::from_millis;
    for (ttl, fetch, pause) in [
        (SECOND, FETCH, milliseconds(50)),
        // A fetch takes longer than the TTL.
        (SECOND, 3 * SECOND, milliseconds(50)),
        (milliseconds(100), milliseconds(90), milliseconds(5)),
        (300 * SECOND, FETCH, 10 * SECOND),
    ] {
        let source = FakeSource::new(Outcome::Document("a"));
        source.takes(fetch);
        let registry = with_ttl(&source, ttl);
        registry.refresh().await.unwrap();
        let end = Instant::now() + 20 * ttl;
        while Instant::now() < end {
            sleep(pause).await;
            ready(&registry);
            let age = registry.stats().age.unwrap();
            assert!(age <= ttl + fetch, "{age:?}");
        }
        let refreshes = source.fetches() - 1;
        let period = ttl.mul_f64(0.72) + fetch;
        let most = (20 * ttl).div_duration_f64(period).ceil() as usize;
        assert!((1..=most).contains(&refreshes), "{refreshes}");
        assert_eq!(registry.stats().refreshes_failed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn stale_catalog_is_refreshed_once() {
    let (source, registry) = warm().await;
    sleep(290 * SECOND).await;
    source.returns(Outcome::Document("b"));
    for _ in 0..64 {
        assert_eq!(ready(&registry), "a");
    }
    sleep(FETCH * 2).await;
    assert_eq!(ready(&registry), "b");
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn idle_registry_fetches_nothing_and_keeps_the_ttl() {
    let (source, registry) = warm().await;
    sleep(86_400 * SECOND).await;
    assert_eq!(source.fetches(), 1);
    source.returns(Outcome::Document("b"));
    for result in join_all((0..16).map(|_| served(&registry))).await {
        assert_eq!(result, (b(), FETCH));
    }
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn expired_catalog_waits_at_most_max_refresh_wait() {
    let (source, registry) = warm().await;
    sleep(301 * SECOND).await;
    source.returns(Outcome::Document("b"));
    source.takes(5 * SECOND);
    let late = async {
        sleep(SECOND * 3 / 2).await;
        served(&registry).await
    };
    let (first, second) = tokio::join!(served(&registry), late);
    assert_eq!(first, (a(), 2 * SECOND));
    assert_eq!(second, (a(), SECOND / 2));
    assert_eq!(ready(&registry), "a");
    sleep(4 * SECOND).await;
    assert_eq!(ready(&registry), "b");
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn initial_catalog_is_used_and_refreshed() {
    let source = FakeSource::new(Outcome::Document("b"));
    let registry = seeded(&source, "a");
    assert_eq!(source.fetches(), 0);
    for _ in 0..8 {
        assert_eq!(ready(&registry), "a");
    }
    // A miss joins the refresh, as the age of the initial catalog is unknown.
    assert_eq!(miss(&registry).await, Some((b(), FETCH)));
    assert_eq!(ready(&registry), "b");
    assert_eq!((source.fetches(), source.last_sent_etag()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn stats_show_the_catalog_and_its_expiry() {
    let source = FakeSource::new(Outcome::Tagged("a", "\"1\""));
    let registry = cold(&source);
    let stats = registry.stats();
    assert_eq!((stats.models, stats.ids, stats.ttl), (0, 0, 300 * SECOND));
    assert_eq!((stats.sha256, stats.etag, stats.age), (None, None, None));
    assert_eq!((stats.expires_in, stats.expires_at), (None, None));

    registry.refresh().await.unwrap();
    sleep(400 * SECOND).await;
    let stats = registry.stats();
    assert_eq!((stats.models, stats.ids), (1, 1));
    assert_eq!(stats.sha256, Some(*parsed("a").sha256()));
    assert_eq!(stats.age, Some(400 * SECOND));
    assert_eq!(stats.expires_in, Some(Duration::ZERO));
    let elapsed = stats.expires_at.unwrap().elapsed().unwrap();
    assert!(
        (99 * SECOND..110 * SECOND).contains(&elapsed),
        "{elapsed:?}"
    );
}
