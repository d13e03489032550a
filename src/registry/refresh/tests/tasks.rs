//! The tasks of fetches, and the runtimes they run on.

use futures_util::FutureExt;
use tokio::{runtime::Runtime, time::timeout};

use super::*;
use crate::registry::snapshot::Update;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn last_handle_aborts_the_fetch() {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    let other = registry.clone();
    drop(registry.look_up());
    sleep(FETCH / 4).await;
    drop(registry);
    sleep(FETCH / 4).await;
    assert_eq!((source.fetches(), source.dropped()), (1, 0));
    drop(other);
    tokio::task::yield_now().await;
    assert_eq!((source.fetches(), source.dropped()), (1, 1));
    assert_eq!(Arc::strong_count(&source), 1);
}

#[test]
fn refresh_fails_without_a_runtime() {
    let source = FakeSource::new(Outcome::Document("b"));
    let registry = cold(&source);
    let error = registry.catalog().now_or_never().unwrap().unwrap_err();
    assert!(error.report().to_string().contains("no Tokio runtime"));

    let policy = RegistryPolicy {
        ttl: Duration::from_nanos(1),
        ..RegistryPolicy::default()
    };
    let expired = Registry::from_parts(source.clone(), policy, Some(parsed("a")));
    std::thread::sleep(Duration::from_millis(1));
    let catalog = expired.catalog().now_or_never().unwrap().unwrap();
    assert_eq!(name(&catalog), "a");
    assert_eq!(ready(&expired), "a");
    expired.refresh().now_or_never().unwrap().unwrap_err();
    assert_eq!(source.fetches(), 0);
}

#[test]
fn registry_outlives_the_runtime_of_its_fetch() {
    let source = FakeSource::new(Outcome::Document("a"));
    source.takes(3600 * SECOND);
    let registry = cold(&source);
    let first = runtime();
    let waiter = {
        let _inside = first.enter();
        match registry.look_up() {
            CatalogLookup::Wait(waiter) => waiter,
            _ => panic!("the registry is not cold"),
        }
    };
    first.block_on(tokio::task::yield_now());
    drop(first);
    assert_eq!((source.fetches(), source.dropped()), (1, 1));

    let second = runtime();
    let error = second.block_on(waiter).unwrap_err();
    assert!(error.report().to_string().contains("cut off"));
    source.takes(Duration::ZERO);
    second.block_on(registry.refresh()).unwrap();
    assert_eq!(ready(&registry), "a");
}

#[test]
fn runtime_shutdown_does_not_deadlock() {
    struct LookUpOnDrop(Registry);

    impl Drop for LookUpOnDrop {
        fn drop(&mut self) {
            drop(self.0.look_up());
        }
    }

    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    let runtime = runtime();
    let guard = LookUpOnDrop(registry.clone());
    runtime.spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    assert!(last_error(&registry).contains("runtime"));
}

#[test]
fn refresh_that_ends_while_a_caller_waits_for_the_lock_is_seen() {
    let source = FakeSource::new(Outcome::Document("b"));
    let registry = seeded(&source, "a");
    let lock = registry.inner.lock();
    let caller = std::thread::spawn({
        let registry = registry.clone();
        move || ready(&registry)
    });
    // The caller has most likely read the old snapshot by then. If not, the test proves less.
    std::thread::sleep(Duration::from_millis(20));
    let old = registry.inner.snapshot.load_full();
    let update = Update::Changed {
        catalog: parsed("b"),
        etag: None,
    };
    let new = old.after(update, &registry.inner.policy, Instant::now(), 0.0);
    registry.inner.snapshot.store(Arc::new(new));
    drop(lock);
    assert_eq!(caller.join().unwrap(), "b");
    assert_eq!(registry.stats().fetches, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_threads() {
    let source = FakeSource::new(Outcome::Document("a"));
    source.takes(Duration::ZERO);
    let registry = with_ttl(&source, Duration::from_micros(50));
    let callers = (0..8).map(|caller| {
        let (registry, source) = (registry.clone(), source.clone());
        tokio::spawn(async move {
            for round in 0..2000 {
                match caller {
                    0 if round % 50 == 0 => source.returns(Outcome::Document("a")),
                    1 if round % 70 == 0 => source.returns(Outcome::Document("b")),
                    2 => drop(registry.look_up()),
                    3 => drop(registry.refresh().await),
                    _ => drop(registry.catalog().await.unwrap()),
                }
            }
        })
    });
    let all = join_all(callers.collect::<Vec<_>>());
    let all = timeout(60 * SECOND, all).await.expect("a caller hangs");
    all.into_iter().for_each(Result::unwrap);
    let stats = registry.stats();
    // The source panics if two fetches are in flight.
    assert_eq!(stats.refreshes_failed, 0);
    let ended = stats.refreshes_changed + stats.refreshes_unchanged;
    assert!(stats.fetches - ended <= 1, "{stats:?}");
}
