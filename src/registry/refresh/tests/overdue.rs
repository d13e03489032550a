//! Fetches that have not ended in time because their task was suspended.
//!
//! No task runs between the end of an [`advance`] and the next `await`.

use tokio::{task::yield_now, time::advance};

use super::*;

/// The default timeout of a fetch and five seconds more.
const OVERDUE: Duration = Duration::from_secs(15);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns a warm registry whose refresh was suspended for an hour and then ends so.
async fn with_suspended_refresh(outcome: Outcome) -> (Arc<FakeSource>, Registry) {
    let (source, registry) = warm().await;
    sleep(290 * SECOND).await;
    source.returns(outcome);
    assert_eq!(ready(&registry), "a");
    yield_now().await;
    advance(3600 * SECOND).await;
    source.returns(Outcome::Document("c"));
    (source, registry)
}

#[tokio::test(start_paused = true)]
async fn overdue_fetch_is_replaced() {
    for outcome in [Outcome::Document("b"), Outcome::Fail] {
        let (source, registry) = with_suspended_refresh(outcome).await;
        assert_eq!(served(&registry).await, ("c".to_owned(), FETCH));
        assert_eq!(registry.stats().health(), RegistryHealth::Healthy);
        assert_eq!(source.fetches(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn overdue_fetch_counts_as_failed_and_changes_nothing() {
    for outcome in [Outcome::Document("b"), Outcome::Fail] {
        let (_source, registry) = with_suspended_refresh(outcome).await;
        while registry.stats().refreshes_failed == 0 {
            yield_now().await;
        }
        let stats = registry.stats();
        assert_eq!((stats.refreshes_changed, stats.refreshes_failed), (1, 1));
        assert_eq!(stats.age, Some(3890 * SECOND));
        assert!(stats.last_error.is_none(), "the source may be fine by now");
        assert_eq!(served(&registry).await, ("c".to_owned(), FETCH));
    }
}

#[tokio::test(start_paused = true)]
async fn response_counts_until_overdue() {
    for (time, name) in [(OVERDUE - MILLISECOND, "b"), (OVERDUE, "a")] {
        let (source, registry) = warm().await;
        source.returns(Outcome::Document("b"));
        sleep(290 * SECOND).await;
        assert_eq!(ready(&registry), "a");
        yield_now().await;
        advance(time).await;
        let ended = |registry: &Registry| {
            let stats = registry.stats();
            stats.refreshes_changed + stats.refreshes_failed
        };
        while ended(&registry) == 1 {
            yield_now().await;
        }
        assert_eq!(super::name(&registry.snapshot().unwrap()), name);
    }
}

#[tokio::test(start_paused = true)]
async fn first_fetch_is_joined_until_overdue() {
    for (time, fetches) in [(OVERDUE - MILLISECOND, 1), (OVERDUE, 2)] {
        let source = FakeSource::new(Outcome::Document("a"));
        let registry = cold(&source);
        drop(registry.look_up());
        advance(time).await;
        drop(registry.look_up());
        assert_eq!(registry.stats().fetches, fetches, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_catalog_is_used_until_its_refresh_is_overdue() {
    for (time, used) in [(OVERDUE - MILLISECOND, true), (OVERDUE, false)] {
        let (_source, registry) = warm().await;
        sleep(290 * SECOND).await;
        assert_eq!(ready(&registry), "a");
        advance(time).await;
        let is_ready = matches!(registry.look_up(), CatalogLookup::Ready(_));
        assert_eq!(is_ready, used, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn caller_of_an_overdue_fetch_gets_the_newer_catalog() {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    let CatalogLookup::Wait(waiting) = registry.look_up() else {
        panic!("the registry is not cold");
    };
    advance(OVERDUE).await;
    assert_eq!(served(&registry).await.0, "a");
    assert_eq!(name(&waiting.await.unwrap()), "a");
    let stats = registry.stats();
    assert_eq!((stats.fetches, stats.refreshes_failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn fetch_on_a_stopped_runtime_blocks_nothing() {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    let stopped = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    {
        let _inside = stopped.enter();
        drop(registry.look_up());
    }
    let (result, waited) = request(&registry).await;
    let error = result.unwrap_err();
    assert!((14 * SECOND..16 * SECOND).contains(&waited), "{waited:?}");
    assert!(error.report().to_string().contains("suspended"));
    assert_eq!(served(&registry).await.0, "a");
    // The end of the late fetch changes nothing.
    stopped.shutdown_background();
    assert_eq!(ready(&registry), "a");
    let stats = registry.stats();
    assert_eq!((stats.fetches, source.fetches()), (2, 1));
    assert_eq!(stats.health(), RegistryHealth::Healthy);
}
