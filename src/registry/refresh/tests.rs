mod overdue;

use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::{sleep, timeout};

use super::*;
use crate::registry::{
    FetchFuture, Fetched, Refreshed, Registry, RegistryHealth, SourceError, Unavailable, hex,
    snapshot::Update,
};

const SECOND: Duration = Duration::from_secs(1);
const FETCH: Duration = Duration::from_millis(240);

/// What the fake source does with the next fetches.
#[derive(Clone)]
enum Answer {
    Catalog(&'static str),
    Tagged(&'static str, &'static str),
    Bytes(&'static [u8]),
    Parsed(Arc<Catalog>, &'static str),
    NotModified,
    Fail,
    Panic,
}

struct Fake {
    state: Mutex<FakeState>,
    running: AtomicUsize,
    dropped: AtomicUsize,
}

struct FakeState {
    takes: Duration,
    answer: Answer,
    /// When each fetch began, and the ETag it brought.
    calls: Vec<(Instant, Option<String>)>,
}

impl Fake {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(FakeState {
                takes: FETCH,
                answer,
                calls: Vec::new(),
            }),
            running: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
        })
    }

    fn answers(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    fn takes(&self, takes: Duration) {
        self.state.lock().unwrap().takes = takes;
    }

    fn calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    fn call_times(&self) -> Vec<Instant> {
        let state = self.state.lock().unwrap();
        state.calls.iter().map(|(at, _)| *at).collect()
    }

    fn last_etag(&self) -> Option<String> {
        self.state.lock().unwrap().calls.last().unwrap().1.clone()
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

impl RegistrySource for Fake {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        let (takes, answer) = {
            let mut state = self.state.lock().unwrap();
            state.calls.push((Instant::now(), etag.map(str::to_owned)));
            (state.takes, state.answer.clone())
        };
        let running = self.running.fetch_add(1, Ordering::SeqCst);
        assert_eq!(running, 0, "two fetches at the same time");
        let guard = CountDrop {
            fake: self,
            ended: false,
        };
        Box::pin(async move {
            let mut guard = guard;
            if !takes.is_zero() {
                sleep(takes).await;
            }
            guard.ended = true;
            match answer {
                Answer::Catalog(name) => Ok(Fetched::document(document(name))),
                Answer::Tagged(name, etag) => Ok(Fetched::document(document(name)).with_etag(etag)),
                Answer::Bytes(bytes) => Ok(Fetched::document(bytes)),
                Answer::Parsed(catalog, etag) => Ok(Fetched::catalog(catalog).with_etag(etag)),
                Answer::NotModified => Ok(Fetched::NotModified),
                Answer::Fail => {
                    let cause = std::io::Error::other("the cable is cut");
                    Err(SourceError::new("no answer").with_source(cause))
                }
                Answer::Panic => panic!("a source that panics"),
            }
        })
    }

    fn location(&self) -> String {
        "fake://models".to_owned()
    }
}

struct CountDrop<'a> {
    fake: &'a Fake,
    ended: bool,
}

impl Drop for CountDrop<'_> {
    fn drop(&mut self) {
        self.fake.running.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.fake.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn document(name: &str) -> Vec<u8> {
    format!(r#"{{"models":[{{"Id":"0x1","Name":"{name}"}}]}}"#).into_bytes()
}

fn registry(fake: &Arc<Fake>) -> Registry {
    with_policy(fake, RegistryPolicy::default())
}

fn with_policy(fake: &Arc<Fake>, policy: RegistryPolicy) -> Registry {
    Registry::from_parts(fake.clone(), policy, None)
}

fn seeded(fake: &Arc<Fake>, catalog: Catalog, policy: RegistryPolicy) -> Registry {
    Registry::from_parts(fake.clone(), policy, Some(Arc::new(catalog)))
}

fn with_ttl(ttl: Duration) -> RegistryPolicy {
    RegistryPolicy {
        ttl,
        ..RegistryPolicy::default()
    }
}

async fn warm(fake: &Arc<Fake>, policy: RegistryPolicy) -> Registry {
    let registry = with_policy(fake, policy);
    registry.catalog().await.unwrap();
    registry
}

/// The one name in the catalog.
fn name(catalog: &Catalog) -> String {
    catalog.entries().next().unwrap().name().to_owned()
}

/// What a request gets, and how long it waits for it.
async fn request(registry: &Registry) -> (Result<String, Unavailable>, Duration) {
    let before = Instant::now();
    let result = registry.catalog().await.map(|catalog| name(&catalog));
    (result, before.elapsed())
}

/// What a request gets that must not wait.
#[track_caller]
fn at_once(registry: &Registry) -> String {
    match registry.acquire() {
        CatalogLookup::Ready(catalog) => name(&catalog),
        CatalogLookup::Wait(_) => panic!("the request waits"),
        CatalogLookup::Unavailable(error) => panic!("{error}"),
    }
}

fn last_error(registry: &Registry) -> String {
    registry.stats().last_error.unwrap().report().to_string()
}

// Cold.

#[tokio::test(start_paused = true)]
async fn callers_of_a_cold_registry_share_one_fetch() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    let results = join_all((0..64).map(|_| request(&registry))).await;
    for (result, waited) in results {
        assert_eq!(result.unwrap(), "a");
        assert_eq!(waited, FETCH);
    }
    assert_eq!(fake.calls(), 1);
    assert_eq!(registry.stats().refreshes_changed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_nothing_with_it() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    let leader = tokio::spawn({
        let registry = registry.clone();
        async move { registry.catalog().await }
    });
    sleep(FETCH / 4).await;
    let follower = tokio::spawn({
        let registry = registry.clone();
        async move { registry.catalog().await }
    });
    sleep(FETCH / 4).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert_eq!(name(&follower.await.unwrap().unwrap()), "a");
    assert_eq!((fake.calls(), fake.dropped()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_fetch_goes_on_when_every_caller_has_gone() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    drop(registry.acquire());
    sleep(FETCH * 2).await;
    assert_eq!(at_once(&registry), "a");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cold_registry_that_fails_is_unavailable_at_once_until_the_backoff_ends() {
    let fake = Fake::new(Answer::Fail);
    let registry = registry(&fake);
    let results = join_all((0..8).map(|_| request(&registry))).await;
    let ended = Instant::now();
    for (result, waited) in results {
        let error = result.unwrap_err();
        assert_eq!(waited, FETCH);
        assert!(error.retry_after() > SECOND / 3 && error.retry_after() <= SECOND);
    }
    assert_eq!(fake.calls(), 1);

    let (result, waited) = request(&registry).await;
    let error = result.unwrap_err();
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(error.cause().unwrap().location(), "fake://models");
    let retry_after = error.retry_after();
    assert_eq!(fake.calls(), 1);

    fake.answers(Answer::Catalog("a"));
    sleep(retry_after).await;
    assert_eq!(request(&registry).await.0.unwrap(), "a");
    assert!(fake.call_times()[1] >= ended + retry_after);
    assert_eq!(registry.stats().health(), RegistryHealth::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_given_up() {
    let fake = Fake::new(Answer::Catalog("a"));
    fake.takes(Duration::from_secs(3600));
    let registry = registry(&fake);
    let (result, waited) = request(&registry).await;
    assert_eq!(waited, 10 * SECOND);
    assert!(result.unwrap_err().cause().unwrap().is_timeout());
    assert_eq!(fake.dropped(), 1);
    assert!(last_error(&registry).contains("10s"));
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_its_causes() {
    let fake = Fake::new(Answer::Fail);
    let error = registry(&fake).refresh().await.unwrap_err();
    assert_eq!(
        error.report().to_string(),
        "the catalog could not be fetched from fake://models: no answer: the cable is cut"
    );
    let root = error.source().unwrap().source().unwrap();
    assert!(root.is::<std::io::Error>());
}

// Warm.

#[tokio::test(start_paused = true)]
async fn a_fresh_catalog_is_used_without_the_lock() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    let lock = registry.inner.lock();
    assert_eq!(at_once(&registry), "a");
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn a_catalog_that_waits_for_its_next_try_is_used_without_the_lock() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    fake.answers(Answer::Fail);
    registry.refresh().await.unwrap_err();
    let lock = registry.inner.lock();
    assert_eq!(at_once(&registry), "a");
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn under_steady_traffic_nobody_waits() {
    let milliseconds = Duration::from_millis;
    for (ttl, fetch, pause) in [
        (SECOND, FETCH, milliseconds(50)),
        // A fetch takes longer than the catalog is good for.
        (SECOND, 3 * SECOND, milliseconds(50)),
        (milliseconds(100), milliseconds(90), milliseconds(5)),
        (300 * SECOND, FETCH, 10 * SECOND),
    ] {
        let fake = Fake::new(Answer::Catalog("a"));
        fake.takes(fetch);
        let registry = warm(&fake, with_ttl(ttl)).await;
        let end = Instant::now() + 20 * ttl;
        while Instant::now() < end {
            sleep(pause).await;
            at_once(&registry);
            let age = registry.stats().age.unwrap();
            assert!(age <= ttl + fetch, "{age:?}");
        }
        let refreshes = fake.calls() as u32 - 1;
        let most = (20 * ttl)
            .div_duration_f64(ttl.mul_f64(0.72) + fetch)
            .ceil();
        assert!(
            refreshes >= 1 && f64::from(refreshes) <= most,
            "{refreshes}"
        );
        assert_eq!(registry.stats().refreshes_failed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn stale_catalogs_are_refreshed_once_by_many_requests() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(290)).await;
    fake.answers(Answer::Catalog("b"));
    for _ in 0..64 {
        assert_eq!(at_once(&registry), "a");
    }
    sleep(FETCH * 2).await;
    assert_eq!(at_once(&registry), "b");
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_requests_there_are_no_fetches() {
    let fake = Fake::new(Answer::Catalog("a"));
    let _registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_idling_the_ttl_still_holds() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(301)).await;
    fake.answers(Answer::Catalog("b"));
    let results = join_all((0..16).map(|_| request(&registry))).await;
    for (result, waited) in results {
        assert_eq!((result.unwrap().as_str(), waited), ("b", FETCH));
    }
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_slow_source_when_there_is_a_catalog() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(301)).await;
    fake.answers(Answer::Catalog("b"));
    fake.takes(5 * SECOND);
    let late = async {
        sleep(SECOND * 3 / 2).await;
        request(&registry).await
    };
    let (first, second) = tokio::join!(request(&registry), late);
    assert_eq!((first.0.unwrap().as_str(), first.1), ("a", 2 * SECOND));
    assert_eq!((second.0.unwrap().as_str(), second.1), ("a", SECOND / 2));
    assert_eq!(at_once(&registry), "a");
    sleep(4 * SECOND).await;
    assert_eq!(at_once(&registry), "b");
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_catalog_is_used_as_soon_as_its_refresh_fails() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(1000)).await;
    fake.answers(Answer::Fail);
    let (result, waited) = request(&registry).await;
    assert_eq!((result.unwrap().as_str(), waited), ("a", FETCH));
    assert_eq!(at_once(&registry), "a");
    assert_eq!(registry.stats().health(), RegistryHealth::Degraded);
}

// Failing.

#[tokio::test(start_paused = true)]
async fn a_failing_source_is_tried_ever_more_seldom_and_nobody_waits() {
    let fake = Fake::new(Answer::Catalog("a"));
    fake.takes(Duration::ZERO);
    let registry = warm(&fake, RegistryPolicy::default()).await;
    fake.answers(Answer::Fail);
    sleep(Duration::from_secs(301)).await;
    registry.refresh().await.unwrap_err();
    let end = Instant::now() + Duration::from_secs(600);
    while Instant::now() < end {
        assert_eq!(at_once(&registry), "a");
        sleep(Duration::from_millis(20)).await;
    }
    let pauses: Vec<_> = fake.call_times()[1..]
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    for (count, pause) in pauses.iter().enumerate() {
        let full = f64::from(1 << count.min(6)).min(60.0);
        assert!((full / 2.0..=full + 0.05).contains(pause), "{pauses:?}");
    }
    assert!((13..=26).contains(&pauses.len()), "{pauses:?}");
    let stats = registry.stats();
    assert_eq!(stats.refreshes_failed, pauses.len() as u64 + 1);
    assert!(last_error(&registry).ends_with("the cable is cut"));
}

#[tokio::test(start_paused = true)]
async fn healing_is_noticed_within_the_backoff() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    fake.answers(Answer::Fail);
    registry.refresh().await.unwrap_err();
    fake.answers(Answer::Catalog("b"));
    sleep(SECOND).await;
    assert_eq!(at_once(&registry), "a");
    sleep(FETCH * 2).await;
    assert_eq!(at_once(&registry), "b");
    let stats = registry.stats();
    assert_eq!(stats.health(), RegistryHealth::Healthy);
    assert!(stats.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_catalog_older_than_max_stale_is_not_used() {
    let fake = Fake::new(Answer::Catalog("a"));
    let policy = RegistryPolicy {
        max_stale: Some(Duration::from_secs(600)),
        ..RegistryPolicy::default()
    };
    let registry = warm(&fake, policy).await;
    fake.answers(Answer::Fail);
    sleep(Duration::from_secs(599)).await;
    assert_eq!(request(&registry).await.0.unwrap(), "a");
    sleep(SECOND).await;
    let (result, waited) = request(&registry).await;
    assert_eq!(waited, FETCH);
    let retry_after = result.unwrap_err().retry_after();
    assert_eq!(request(&registry).await.1, Duration::ZERO);
    assert_eq!(registry.stats().health(), RegistryHealth::Unhealthy);
    assert_eq!(name(&registry.snapshot().unwrap()), "a");

    fake.answers(Answer::Catalog("a"));
    sleep(retry_after).await;
    assert_eq!(request(&registry).await.0.unwrap(), "a");
    assert_eq!(registry.stats().refreshes_unchanged, 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_one_that_failed() {
    let fake = Fake::new(Answer::Panic);
    let registry = registry(&fake);
    let (result, waited) = request(&registry).await;
    assert!(result.is_err());
    assert_eq!(waited, FETCH);
    assert!(last_error(&registry).contains("the fetch panicked"));
    fake.answers(Answer::Catalog("a"));
    registry.refresh().await.unwrap();
    assert_eq!(at_once(&registry), "a");
}

// Misses.

/// What a request waits for whose name is not in the catalog.
async fn miss(registry: &Registry) -> Option<(String, Duration)> {
    let before = Instant::now();
    let catalog = registry.revalidate_for_miss()?.await;
    Some((name(&catalog), before.elapsed()))
}

#[tokio::test(start_paused = true)]
async fn a_miss_gets_a_catalog_published_a_moment_ago() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    fake.answers(Answer::Catalog("b"));
    sleep(Duration::from_secs(9)).await;
    assert_eq!(miss(&registry).await, None);
    sleep(SECOND).await;
    let misses = join_all((0..16).map(|_| miss(&registry))).await;
    assert!(misses.iter().all(|m| *m == Some(("b".to_owned(), FETCH))));
    assert_eq!(fake.calls(), 2);
    assert_eq!(miss(&registry).await, None);
}

#[tokio::test(start_paused = true)]
async fn misses_wait_neither_long_nor_often_for_a_slow_source() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(60)).await;
    fake.takes(5 * SECOND);
    assert_eq!(miss(&registry).await, Some(("a".to_owned(), 2 * SECOND)));
    assert_eq!(miss(&registry).await, None);
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn misses_leave_a_failing_source_alone() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(60)).await;
    fake.answers(Answer::Fail);
    assert_eq!(miss(&registry).await, Some(("a".to_owned(), FETCH)));
    assert_eq!(miss(&registry).await, None);
    sleep(2 * SECOND).await;
    // The backoff is over, but the last miss was not long ago.
    assert_eq!(miss(&registry).await, None);
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_miss_joins_a_refresh_that_someone_else_started() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    sleep(Duration::from_secs(290)).await;
    fake.answers(Answer::Catalog("b"));
    assert_eq!(at_once(&registry), "a");
    assert_eq!(miss(&registry).await, Some(("b".to_owned(), FETCH)));
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cold_registry_has_no_misses() {
    let fake = Fake::new(Answer::Catalog("a"));
    assert_eq!(miss(&registry(&fake)).await, None);
    assert_eq!(fake.calls(), 0);
}

// A catalog given at start.

#[tokio::test(start_paused = true)]
async fn a_catalog_given_at_start_is_used_at_once_and_refreshed() {
    let fake = Fake::new(Answer::Catalog("b"));
    let initial = Catalog::parse(&document("a")).unwrap();
    let registry = seeded(&fake, initial, RegistryPolicy::default());
    assert_eq!(fake.calls(), 0);
    for _ in 0..8 {
        assert_eq!(at_once(&registry), "a");
    }
    // Its age is unknown, so that a miss does not believe it.
    assert_eq!(miss(&registry).await, Some(("b".to_owned(), FETCH)));
    assert_eq!(at_once(&registry), "b");
    assert_eq!(fake.calls(), 1);
    assert_eq!(fake.last_etag(), None);
}

#[tokio::test(start_paused = true)]
async fn a_catalog_given_at_start_outlives_a_source_that_is_down() {
    let fake = Fake::new(Answer::Fail);
    let initial = Catalog::parse(&document("a")).unwrap();
    let registry = seeded(&fake, initial, RegistryPolicy::default());
    assert_eq!(at_once(&registry), "a");
    sleep(FETCH * 2).await;
    assert_eq!(at_once(&registry), "a");
    assert_eq!(registry.stats().health(), RegistryHealth::Degraded);
}

// What an answer means.

#[tokio::test(start_paused = true)]
async fn an_etag_is_sent_back_as_it_came_and_304_extends_the_ttl() {
    let fake = Fake::new(Answer::Tagged("a", "W/\"1\""));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    assert_eq!(fake.last_etag(), None);
    sleep(Duration::from_secs(100)).await;
    fake.answers(Answer::NotModified);
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
    assert_eq!(fake.last_etag().as_deref(), Some("W/\"1\""));
    let stats = registry.stats();
    assert_eq!(stats.etag.as_deref(), Some("W/\"1\""));
    assert_eq!(stats.age, Some(Duration::ZERO));
    assert_eq!(stats.expires_in, Some(300 * SECOND));
    assert_eq!(stats.refreshes_unchanged, 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_document_extends_the_ttl_and_brings_its_new_etag() {
    let fake = Fake::new(Answer::Tagged("a", "\"1\""));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    let before = registry.snapshot().unwrap();
    fake.answers(Answer::Tagged("a", "\"2\""));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
    assert!(Arc::ptr_eq(&before, &registry.snapshot().unwrap()));
    assert_eq!(registry.stats().etag.as_deref(), Some("\"2\""));
    fake.answers(Answer::Catalog("a"));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
    assert_eq!(registry.stats().etag, None);
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
    assert_eq!(fake.last_etag(), None);
}

#[tokio::test(start_paused = true)]
async fn another_document_takes_the_place_of_the_catalog() {
    let fake = Fake::new(Answer::Tagged("a", "\"1\""));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    let hash = registry.stats().sha256;
    fake.answers(Answer::Tagged("b", "\"2\""));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
    assert_eq!(at_once(&registry), "b");
    let stats = registry.stats();
    assert_eq!(stats.etag.as_deref(), Some("\"2\""));
    assert_ne!(stats.sha256, hash);
    assert_eq!((stats.fetches, stats.refreshes_changed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_parsed_catalog_is_used_as_it_is_and_its_hash_tells_whether_it_is_another() {
    let fake = Fake::new(Answer::Tagged("a", "\"1\""));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    let before = registry.snapshot().unwrap();
    let parsed = |name| Arc::new(Catalog::parse(&document(name)).unwrap());
    fake.answers(Answer::Parsed(parsed("a"), "\"2\""));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
    assert!(Arc::ptr_eq(&before, &registry.snapshot().unwrap()));
    assert_eq!(registry.stats().etag.as_deref(), Some("\"2\""));

    let another = parsed("b");
    fake.answers(Answer::Parsed(Arc::clone(&another), "\"3\""));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
    assert!(Arc::ptr_eq(&another, &registry.snapshot().unwrap()));
    fake.answers(Answer::NotModified);
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
    assert_eq!(fake.last_etag().as_deref(), Some("\"3\""));
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_304_is_a_failure() {
    let fake = Fake::new(Answer::NotModified);
    let registry = registry(&fake);
    registry.refresh().await.unwrap_err();
    assert!(registry.snapshot().is_none());
    fake.answers(Answer::Catalog("a"));
    registry.refresh().await.unwrap();
    // There is a catalog, but it came without an ETag.
    fake.answers(Answer::NotModified);
    registry.refresh().await.unwrap_err();
    assert_eq!(registry.stats().refreshes_failed, 2);
}

#[tokio::test(start_paused = true)]
async fn etags_that_cannot_be_sent_are_ignored() {
    let long: &'static str = Box::leak(format!("\"{}\"", "x".repeat(1023)).into_boxed_str());
    for etag in ["", "\"a\nb\"", long] {
        let fake = Fake::new(Answer::Tagged("a", etag));
        let registry = warm(&fake, RegistryPolicy::default()).await;
        assert_eq!(registry.stats().etag, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_catalog_changes_nothing() {
    let fake = Fake::new(Answer::Tagged("a", "\"1\""));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    for bytes in [
        &b""[..],
        b"<!DOCTYPE html><html>",
        br#"{"models":[]}"#,
        br#"{"data":[]}"#,
        br#"[{"Id":"0x1","Name":"a"}]"#,
        br#"{"models":[{"Id":"0x1","Na"#,
    ] {
        fake.answers(Answer::Bytes(bytes));
        sleep(SECOND).await;
        let error = registry.refresh().await.unwrap_err();
        assert!(error.is_invalid_catalog());
        assert_eq!(name(&registry.snapshot().unwrap()), "a");
        assert_eq!(registry.stats().etag.as_deref(), Some("\"1\""));
    }
    assert!(registry.stats().age > Some(6 * SECOND));
    fake.answers(Answer::Bytes(b"<!DOCTYPE html><html>"));
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("HTML"), "{error}");
    assert!(!error.contains("DOCTYPE"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_forced_refresh_joins_the_one_under_way_and_ignores_the_backoff() {
    let fake = Fake::new(Answer::Fail);
    let registry = registry(&fake);
    let (a, b) = tokio::join!(registry.refresh(), registry.refresh());
    assert!(a.is_err() && b.is_err());
    assert_eq!(fake.calls(), 1);
    fake.answers(Answer::Catalog("a"));
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn stats_show_the_catalog_and_its_expiry() {
    let fake = Fake::new(Answer::Tagged("a", "\"1\""));
    let registry = registry(&fake);
    let cold = registry.stats();
    assert_eq!((cold.models, cold.ids), (0, 0));
    assert_eq!((cold.sha256, cold.etag), (None, None));
    assert_eq!(
        (cold.age, cold.expires_in, cold.expires_at),
        (None, None, None)
    );
    assert_eq!((cold.ttl, cold.fetches), (300 * SECOND, 0));

    registry.refresh().await.unwrap();
    sleep(400 * SECOND).await;
    let stats = registry.stats();
    assert_eq!((stats.models, stats.ids), (1, 1));
    assert_eq!(stats.expires_in, Some(Duration::ZERO));
    assert_eq!(stats.age, Some(400 * SECOND));
    let elapsed = stats.expires_at.unwrap().elapsed().unwrap();
    assert!(
        (99 * SECOND..110 * SECOND).contains(&elapsed),
        "{elapsed:?}"
    );
}

// The log.

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// A catalog with one name twice.
const TWICE: &[u8] = br#"{"models":[{"Id":"0x1","Name":"a"},{"Id":"0x2","Name":"a"}]}"#;

#[tokio::test(start_paused = true)]
async fn refreshes_are_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // A place in the code that another test logs from for the first time just
    // now may miss this subscriber: pass by all of them once, and ask them
    // again.
    let fake = Fake::new(Answer::Fail);
    let registry = registry(&fake);
    for answer in [
        Answer::Fail,
        Answer::Catalog("a"),
        Answer::Catalog("a"),
        Answer::Bytes(TWICE),
    ] {
        fake.answers(answer);
        let _ = registry.refresh().await;
    }
    tracing::callsite::rebuild_interest_cache();
    log.take();

    let fake = Fake::new(Answer::Catalog("a"));
    let registry = warm(&fake, RegistryPolicy::default()).await;
    let hash = &hex(&registry.stats().sha256.unwrap())[..12];
    let text = log.take();
    assert!(
        text.contains("INFO") && text.contains("catalog changed"),
        "{text}"
    );
    assert!(text.contains("models=1") && text.contains(hash), "{text}");
    assert!(text.contains("registry=\"fake://models\""), "{text}");
    assert!(!text.contains("WARN"), "{text}");

    registry.refresh().await.unwrap();
    let text = log.take();
    assert!(
        text.contains("DEBUG") && text.contains("catalog unchanged"),
        "{text}"
    );

    fake.answers(Answer::Fail);
    for failures in ["failures=1", "failures=2"] {
        registry.refresh().await.unwrap_err();
        let text = log.take();
        assert!(text.contains("WARN") && text.contains(failures), "{text}");
        assert!(
            text.contains("the cable is cut") && text.contains("retry_in="),
            "{text}"
        );
    }

    fake.answers(Answer::Bytes(TWICE));
    registry.refresh().await.unwrap();
    let text = log.take();
    assert!(
        text.contains("WARN") && text.contains("ambiguous_names=1"),
        "{text}"
    );
    assert_eq!(registry.stats().ambiguous_names, 1);
}

// Tasks and runtimes.

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_drops_the_fetch() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    let other = registry.clone();
    drop(registry.acquire());
    sleep(FETCH / 4).await;
    drop(registry);
    sleep(FETCH / 4).await;
    assert_eq!((fake.calls(), fake.dropped()), (1, 0));
    drop(other);
    tokio::task::yield_now().await;
    assert_eq!((fake.calls(), fake.dropped()), (1, 1));
    assert_eq!(Arc::strong_count(&fake), 1);
}

#[test]
fn without_a_runtime_a_refresh_fails_and_the_catalog_is_used() {
    let fake = Fake::new(Answer::Catalog("b"));
    let cold = registry(&fake);
    let error = cold.catalog().now_or_never().unwrap().unwrap_err();
    assert!(
        error
            .cause()
            .unwrap()
            .report()
            .to_string()
            .contains("no Tokio runtime")
    );

    let initial = Catalog::parse(&document("a")).unwrap();
    let policy = with_ttl(Duration::from_nanos(1));
    let given = seeded(&fake, initial, policy);
    std::thread::sleep(Duration::from_millis(1));
    let catalog = given.catalog().now_or_never().unwrap().unwrap();
    assert_eq!(name(&catalog), "a");
    assert_eq!(at_once(&given), "a");
    given.refresh().now_or_never().unwrap().unwrap_err();
    assert_eq!(fake.calls(), 0);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_runtime_that_is_shut_down_leaves_the_registry_usable() {
    let fake = Fake::new(Answer::Catalog("a"));
    fake.takes(Duration::from_secs(3600));
    let registry = registry(&fake);
    let first = runtime();
    let waiter = {
        let _inside = first.enter();
        match registry.acquire() {
            CatalogLookup::Wait(waiter) => waiter,
            _ => panic!("the registry is not cold"),
        }
    };
    first.block_on(tokio::task::yield_now());
    drop(first);
    assert_eq!((fake.calls(), fake.dropped()), (1, 1));

    let second = runtime();
    let error = second.block_on(waiter).unwrap_err();
    assert!(
        error
            .cause()
            .unwrap()
            .report()
            .to_string()
            .contains("cut off")
    );
    fake.takes(Duration::ZERO);
    second.block_on(registry.refresh()).unwrap();
    assert_eq!(at_once(&registry), "a");
}

#[test]
fn a_runtime_that_is_shutting_down_is_no_deadlock() {
    struct AskOnDrop(Registry);

    impl Drop for AskOnDrop {
        fn drop(&mut self) {
            drop(self.0.acquire());
        }
    }

    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    let runtime = runtime();
    let ask = AskOnDrop(registry.clone());
    runtime.spawn(async move {
        let _ask = ask;
        std::future::pending::<()>().await;
    });
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    assert!(last_error(&registry).contains("runtime"));
}

/// A warm registry whose refresh, which is to end so, was frozen for an hour.
async fn with_frozen_refresh(fake: &Arc<Fake>, end: Answer) -> Registry {
    let registry = warm(fake, RegistryPolicy::default()).await;
    sleep(290 * SECOND).await;
    fake.answers(end);
    assert_eq!(at_once(&registry), "a");
    tokio::task::yield_now().await;
    tokio::time::advance(3600 * SECOND).await;
    registry
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_was_frozen_with_the_process_counts_for_nothing() {
    for frozen in [Answer::Catalog("b"), Answer::Fail] {
        let fake = Fake::new(Answer::Catalog("a"));
        let registry = with_frozen_refresh(&fake, frozen).await;
        fake.answers(Answer::Catalog("c"));
        let (result, waited) = request(&registry).await;
        assert_eq!((result.unwrap().as_str(), waited), ("c", FETCH));
        assert_eq!(registry.stats().health(), RegistryHealth::Healthy);
        assert_eq!(fake.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_on_a_runtime_that_nobody_drives_blocks_nothing() {
    let fake = Fake::new(Answer::Catalog("a"));
    let registry = registry(&fake);
    let stopped = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    {
        let _inside = stopped.enter();
        drop(registry.acquire());
    }
    let (result, waited) = request(&registry).await;
    let error = result.unwrap_err();
    assert!((14 * SECOND..16 * SECOND).contains(&waited), "{waited:?}");
    assert!(
        error
            .cause()
            .unwrap()
            .report()
            .to_string()
            .contains("suspended")
    );
    assert_eq!(request(&registry).await.0.unwrap(), "a");
    // The late one does not get in the way of the one that took its place.
    stopped.shutdown_background();
    assert_eq!(at_once(&registry), "a");
    let stats = registry.stats();
    assert_eq!((stats.fetches, fake.calls()), (2, 1));
    assert_eq!(stats.health(), RegistryHealth::Healthy);
}

#[test]
fn a_catalog_that_came_while_a_caller_waited_for_the_lock_is_seen() {
    let fake = Fake::new(Answer::Catalog("b"));
    let initial = Catalog::parse(&document("a")).unwrap();
    let registry = seeded(&fake, initial, RegistryPolicy::default());
    let lock = registry.inner.lock();
    let caller = std::thread::spawn({
        let registry = registry.clone();
        move || at_once(&registry)
    });
    // Most likely the caller has found the old catalog by then. If not, the
    // test proves less.
    std::thread::sleep(Duration::from_millis(20));
    let old = registry.inner.snapshot.load_full();
    let catalog = Arc::new(Catalog::parse(&document("b")).unwrap());
    let update = Update::Changed {
        catalog,
        etag: None,
    };
    let new = old.after(update, &registry.inner.policy, Instant::now(), 0.0);
    registry.inner.snapshot.store(Arc::new(new));
    drop(lock);
    assert_eq!(caller.join().unwrap(), "b");
    assert_eq!(registry.stats().fetches, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wakeup_is_lost_between_threads() {
    let fake = Fake::new(Answer::Catalog("a"));
    fake.takes(Duration::ZERO);
    let registry = with_policy(&fake, with_ttl(Duration::from_micros(50)));
    let callers = (0..8).map(|caller| {
        let (registry, fake) = (registry.clone(), fake.clone());
        tokio::spawn(async move {
            for round in 0..2000 {
                match caller {
                    0 if round % 50 == 0 => fake.answers(Answer::Catalog("a")),
                    1 if round % 70 == 0 => fake.answers(Answer::Catalog("b")),
                    2 => drop(registry.acquire()),
                    3 => drop(registry.refresh().await),
                    _ => drop(registry.catalog().await.unwrap()),
                }
            }
        })
    });
    let all = join_all(callers.collect::<Vec<_>>());
    let all = timeout(Duration::from_secs(60), all).await.expect("stuck");
    all.into_iter().for_each(Result::unwrap);
    let stats = registry.stats();
    // A second fetch at the same time would have panicked.
    assert_eq!(stats.refreshes_failed, 0);
    let ended = stats.refreshes_changed + stats.refreshes_unchanged + stats.refreshes_failed;
    assert!(stats.fetches - ended <= 1, "{stats:?}");
}
