//! Requests whose name is not in the catalog.

use super::*;

#[tokio::test(start_paused = true)]
async fn misses_share_one_refresh() {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    assert_eq!(miss(&registry).await, None, "there is no catalog yet");
    assert_eq!(source.fetches(), 0);

    registry.refresh().await.unwrap();
    source.returns(Outcome::Document("b"));
    sleep(9 * SECOND).await;
    assert_eq!(miss(&registry).await, None, "the catalog is recent");
    sleep(SECOND).await;
    let misses = join_all((0..16).map(|_| miss(&registry))).await;
    assert!(misses.iter().all(|found| *found == Some((b(), FETCH))));
    assert_eq!(source.fetches(), 2);
    assert_eq!(miss(&registry).await, None, "the catalog is recent");
}

#[tokio::test(start_paused = true)]
async fn miss_waits_at_most_max_refresh_wait() {
    let (source, registry) = warm().await;
    sleep(60 * SECOND).await;
    source.takes(5 * SECOND);
    assert_eq!(miss(&registry).await, Some((a(), 2 * SECOND)));
    assert_eq!(miss(&registry).await, None);
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn misses_respect_the_backoff_and_miss_refresh() {
    let (source, registry) = warm().await;
    sleep(60 * SECOND).await;
    source.returns(Outcome::Fail);
    assert_eq!(miss(&registry).await, Some((a(), FETCH)));
    assert_eq!(miss(&registry).await, None);
    sleep(2 * SECOND).await;
    // The backoff is over, but not `miss_refresh`.
    assert_eq!(miss(&registry).await, None);
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn miss_joins_the_refresh_in_flight() {
    let (source, registry) = warm().await;
    sleep(290 * SECOND).await;
    source.returns(Outcome::Document("b"));
    assert_eq!(ready(&registry), "a");
    assert_eq!(miss(&registry).await, Some((b(), FETCH)));
    assert_eq!(source.fetches(), 2);
}
