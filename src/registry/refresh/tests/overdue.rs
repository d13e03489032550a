//! Fetches that have not ended when they should have, as their task was frozen
//! with the process. No task runs between the end of an [`advance`] and the
//! next `await`.

use tokio::{task::yield_now, time::advance};

use super::*;

/// After the default limit of a fetch, and five seconds more.
const OVERDUE: Duration = Duration::from_secs(15);
const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_fetch_that_ends_too_late_is_a_failure_and_changes_nothing() {
    for frozen in [Answer::Catalog("b"), Answer::Fail] {
        let fake = Fake::new(Answer::Catalog("a"));
        let registry = with_frozen_refresh(&fake, frozen).await;
        while registry.stats().refreshes_failed == 0 {
            yield_now().await;
        }
        let stats = registry.stats();
        assert_eq!((stats.refreshes_changed, stats.refreshes_failed), (1, 1));
        assert_eq!(stats.age, Some(3890 * SECOND));
        // It says nothing about the source as it is now.
        assert!(stats.last_error.is_none());
        fake.answers(Answer::Catalog("c"));
        let (result, waited) = request(&registry).await;
        assert_eq!((result.unwrap().as_str(), waited), ("c", FETCH));
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_fetch_is_joined_until_it_is_overdue_and_no_longer() {
    for (time, fetches) in [(OVERDUE - MILLISECOND, 1), (OVERDUE, 2)] {
        let fake = Fake::new(Answer::Catalog("a"));
        let registry = registry(&fake);
        drop(registry.acquire());
        advance(time).await;
        drop(registry.acquire());
        assert_eq!(registry.stats().fetches, fetches, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_excuses_an_expired_catalog_until_it_is_overdue_and_no_longer() {
    for (time, excuses) in [(OVERDUE - MILLISECOND, true), (OVERDUE, false)] {
        let fake = Fake::new(Answer::Catalog("a"));
        let registry = warm(&fake, RegistryPolicy::default()).await;
        sleep(290 * SECOND).await;
        assert_eq!(at_once(&registry), "a");
        advance(time).await;
        let is_ready = matches!(registry.acquire(), CatalogLookup::Ready(_));
        assert_eq!(is_ready, excuses, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_fetch_is_overdue_gets_what_another_has_brought() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    let CatalogLookup::Wait(waiting) = registry.acquire() else {
        panic!("there is no catalog yet");
    };
    advance(OVERDUE).await;
    assert_eq!(request(&registry).await.0.unwrap(), "a");
    assert_eq!(name(&waiting.await.unwrap()), "a");
    let stats = registry.stats();
    assert_eq!((stats.fetches, stats.refreshes_failed), (2, 1));
}
