//! Model checks of the refreshes. Shuttle runs each test many times, and schedules the tasks at
//! random at each lock, swap and await. It reports a lost wake-up as a deadlock, and prints the
//! schedule of a failure for `shuttle::replay`.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    task::Poll,
    time::Duration,
};

use futures_util::poll;
use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler},
};

use super::*;
use crate::registry::{
    FetchFuture, Fetched, Registry, RegistryPolicy, RegistrySource, SourceError,
    sync::{abort_tasks, advance, reset, take_tasks},
};

const SECOND: Duration = Duration::from_secs(1);
/// The age from which on a fetch in flight may be replaced.
const OVERDUE: Duration = Duration::from_secs(15);

/// Runs a test `SHUTTLE_EXECUTIONS` times (100,000 by default), half of them under each scheduler.
fn check(test: impl Fn() + Send + Sync + 'static) {
    let executions = match std::env::var("SHUTTLE_EXECUTIONS") {
        Ok(count) => count.parse().expect("SHUTTLE_EXECUTIONS is a number"),
        Err(_) => 100_000,
    };
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    let test = Arc::new(move || {
        reset();
        fastrand::seed(random(u64::MAX));
        test();
    });
    let half = executions / 2;
    let random = RandomScheduler::new(executions - half);
    Runner::new(random, config.clone()).run({
        let test = Arc::clone(&test);
        move || test()
    });
    // Three preemptions, each at an adversarial point.
    Runner::new(PctScheduler::new(3, half), config).run(move || test());
}

/// Returns a number below `end` that Shuttle chooses.
fn random(end: u64) -> u64 {
    thread_rng().gen_range(0..end)
}

fn one_in(count: u64) -> bool {
    random(count) == 0
}

/// A source whose fetches end as Shuttle chooses. The name of the one model in each document is the
/// number of its fetch.
#[derive(Default)]
struct Source {
    fetches: AtomicUsize,
    running: AtomicUsize,
    /// The number of the last document.
    sent: AtomicUsize,
    /// Whether fetches may never end.
    hangs: AtomicBool,
    /// The instant from which on a fetch may be overdue, and a second one may start.
    overdue_from: Option<Instant>,
    /// The newest number that a caller has seen.
    seen: AtomicUsize,
}

impl RegistrySource for Source {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        let number = self.fetches.fetch_add(1, SeqCst) + 1;
        let running = Running::begin(self);
        Box::pin(async move {
            let _running = running;
            for _ in 0..random(3) {
                yield_now().await;
            }
            match random(5) {
                0 => Err(SourceError::new("down")),
                1 if etag.is_some() => Ok(Fetched::NotModified),
                2 | 3 if self.hangs.load(SeqCst) => pending().await,
                _ => {
                    self.sent.store(number, SeqCst);
                    Ok(document(number).with_etag(number.to_string()))
                }
            }
        })
    }

    fn location(&self) -> String {
        "model://".to_owned()
    }
}

fn document(number: usize) -> Fetched {
    Fetched::document(format!(
        r#"{{"models":[{{"Id":"0x1","Name":"{number}"}}]}}"#
    ))
}

struct Running<'a>(&'a Source);

impl<'a> Running<'a> {
    fn begin(source: &'a Source) -> Self {
        let others = source.running.fetch_add(1, SeqCst);
        assert!(
            others == 0 || source.overdue_from.is_some_and(|from| now() >= from),
            "two fetches in flight"
        );
        Self(source)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

/// One user of the registry.
struct Caller {
    registry: Registry,
    source: Arc<Source>,
}

impl Caller {
    fn new(registry: &Registry, source: &Arc<Source>) -> Self {
        Self {
            registry: registry.clone(),
            source: Arc::clone(source),
        }
    }

    /// Does one of the things that callers do.
    async fn act(&self) {
        let before = self.source.seen.load(SeqCst);
        let catalog = match random(7) {
            0 => self.registry.catalog().await.ok(),
            1 => poll_and_drop(self.registry.catalog())
                .await
                .and_then(Result::ok),
            2 => match self.registry.revalidate_for_miss() {
                Some(newer) => Some(newer.await),
                None => None,
            },
            3 => match self.registry.revalidate_for_miss() {
                Some(newer) => poll_and_drop(newer).await,
                None => None,
            },
            4 => self.refresh().await,
            5 => {
                poll_and_drop(self.registry.refresh()).await;
                self.registry.snapshot()
            }
            _ => {
                let _ = self.registry.stats();
                self.look_up()
            }
        };
        if let Some(catalog) = catalog {
            self.see(&catalog, before);
        }
    }

    /// Returns what a request gets without waiting.
    fn look_up(&self) -> Option<Arc<Catalog>> {
        match self.registry.look_up() {
            CatalogLookup::Ready(catalog) => Some(catalog),
            CatalogLookup::Wait(_) | CatalogLookup::Unavailable(_) => None,
        }
    }

    /// Returns the catalog of a refresh, or a newer one.
    async fn refresh(&self) -> Option<Arc<Catalog>> {
        self.registry.refresh().await.ok()?;
        Some(self.registry.snapshot().expect("a refresh succeeded"))
    }

    /// Checks that no caller gets an older catalog than another caller had before.
    fn see(&self, catalog: &Catalog, before: usize) {
        let number = number(catalog);
        assert!(number >= before, "catalog {number} after {before}");
        self.source.seen.fetch_max(number, SeqCst);
    }
}

fn number(catalog: &Catalog) -> usize {
    let entry = catalog.entries().next().expect("there is one model");
    entry.name().parse().expect("its name is a number")
}

/// Polls a few times, then drops the future.
async fn poll_and_drop<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..random(4) {
        if let Poll::Ready(output) = poll!(future.as_mut()) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// Returns a registry that may have an initial catalog.
fn registry(source: &Arc<Source>) -> Registry {
    let initial = one_in(2).then(|| match document(0) {
        Fetched::Document { body, .. } => Catalog::parse(&body).unwrap(),
        _ => unreachable!("it is a document"),
    });
    let mut policy = RegistryPolicy::default();
    if one_in(4) {
        policy.max_stale = Some(400 * SECOND);
    }
    Registry::from_parts(source.clone(), policy, initial.map(Arc::new))
}

fn spawn_callers(registry: &Registry, source: &Arc<Source>, acts: u64) -> Vec<JoinHandle<()>> {
    let callers = (0..3).map(|_| {
        let caller = Caller::new(registry, source);
        spawn(async move {
            for _ in 0..acts {
                caller.act().await;
            }
        })
    });
    callers.collect()
}

/// Waits for tasks to end or to be aborted.
fn join(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        let _ = block_on(task);
    }
}

/// Checks that nothing is left of a registry after its last handle is dropped. No time passes.
fn assert_nothing_left(source: &Arc<Source>) {
    join(take_tasks());
    assert_eq!(source.running.load(SeqCst), 0);
    assert_eq!(Arc::strong_count(source), 1, "something holds the source");
}

fn pass_some_time() {
    let seconds = [0, 1, 11, 70, 250, 301, 401, 4_000];
    advance(seconds[random(8) as usize] * SECOND);
}

// No time passes while callers wait, so that no timer hides a lost wake-up.
#[test]
fn one_fetch_wakes_all_callers_and_the_newest_catalog_wins() {
    check(|| {
        let source = Arc::new(Source::default());
        let registry = registry(&source);
        for _ in 0..2 {
            let callers = spawn_callers(&registry, &source, 2);
            let runtime = one_in(4).then(|| spawn(async { abort_tasks() }));
            join(callers);
            join(runtime.into_iter().collect());
            join(take_tasks());
            let newest = registry.snapshot().map_or(0, |catalog| number(&catalog));
            assert_eq!(newest, source.sent.load(SeqCst));
            pass_some_time();
        }
        drop(registry);
        assert_nothing_left(&source);
    });
}

#[test]
fn late_fetch_never_replaces_a_newer_one() {
    check(|| {
        let source = Arc::new(Source {
            hangs: AtomicBool::new(true),
            overdue_from: Some(now() + OVERDUE),
            ..Source::default()
        });
        let registry = registry(&source);
        for _ in 0..2 {
            let callers = spawn_callers(&registry, &source, 2);
            let busy = Arc::new(AtomicBool::new(true));
            let clock = spawn({
                let busy = Arc::clone(&busy);
                async move {
                    while busy.load(SeqCst) {
                        advance(SECOND * (1 + random(6) as u32));
                        yield_now().await;
                    }
                }
            });
            join(callers);
            busy.store(false, SeqCst);
            join(vec![clock]);
            pass_some_time();
        }

        if one_in(2) {
            // Fetches once more, while late ones may still end.
            source.hangs.store(false, SeqCst);
            advance(OVERDUE);
            match block_on(registry.refresh()) {
                Ok(_) => {
                    let newest = registry.snapshot();
                    join(take_tasks());
                    assert_eq!(
                        registry.snapshot().map(|catalog| number(&catalog)),
                        newest.map(|catalog| number(&catalog))
                    );
                }
                Err(error) => assert!(error.report().to_string().ends_with("down"), "{error:?}"),
            }
        }
        drop(registry);
        assert_nothing_left(&source);
    });
}

#[test]
fn no_task_outlives_the_registry() {
    check(|| {
        let source = Arc::new(Source::default());
        source.hangs.store(true, SeqCst);
        let registry = registry(&source);
        let callers = (0..3).map(|_| {
            let caller = Caller::new(&registry, &source);
            spawn(async move {
                match random(3) {
                    0 => drop(poll_and_drop(caller.registry.catalog()).await),
                    1 => drop(poll_and_drop(caller.registry.refresh()).await),
                    _ => drop(caller.look_up()),
                }
            })
        });
        let callers = callers.collect();
        drop(registry);
        join(callers);
        assert_nothing_left(&source);
    });
}

#[test]
fn fresh_catalog_is_read_without_the_lock() {
    check(|| {
        let source = Arc::new(Source::default());
        let registry = registry(&source);
        while block_on(registry.refresh()).is_err() {}
        let refreshes: Vec<_> = (0..2)
            .map(|_| {
                let caller = Caller::new(&registry, &source);
                spawn(async move { drop(caller.refresh().await) })
            })
            .collect();
        yield_to_others();
        let lock = registry.inner.lock();
        join(spawn_readers(&registry, &source));
        drop(lock);
        join(refreshes);
        drop(registry);
        assert_nothing_left(&source);
    });
}

#[test]
fn stale_catalog_is_read_without_waiting() {
    check(|| {
        let source = Arc::new(Source::default());
        let registry = registry(&source);
        while block_on(registry.refresh()).is_err() {}
        let fetches = registry.stats().fetches;
        advance(299 * SECOND);
        source.hangs.store(true, SeqCst);
        join(spawn_readers(&registry, &source));
        assert_eq!(registry.stats().fetches, fetches + 1);
        drop(registry);
        assert_nothing_left(&source);
    });
}

/// Spawns readers that must get a catalog without waiting.
fn spawn_readers(registry: &Registry, source: &Arc<Source>) -> Vec<JoinHandle<()>> {
    let readers = (0..2).map(|_| {
        let caller = Caller::new(registry, source);
        spawn(async move {
            for _ in 0..2 {
                let before = caller.source.seen.load(SeqCst);
                let catalog = caller.look_up().expect("there is a catalog to use");
                caller.see(&catalog, before);
            }
        })
    });
    readers.collect()
}

fn yield_to_others() {
    for _ in 0..random(4) {
        shuttle::thread::yield_now();
    }
}
