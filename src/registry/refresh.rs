//! One fetch at a time, in a task of its own, and everybody who waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::catalog::Catalog;
use super::error::{FetchFailure, RegistryError, Unavailable};
use super::freshness::{MissStep, Step};
use super::policy::RegistryPolicy;
use super::snapshot::{News, Snapshot};
use super::source::RegistrySource;
use super::stats::{Counters, RegistryStats, hex};
use super::{Acquired, Refreshed};

/// How a flight ended.
type Outcome = Result<Refreshed, RegistryError>;

/// What all handles of one registry share.
pub(super) struct Shared {
    source: Arc<dyn RegistrySource>,
    location: Arc<str>,
    policy: RegistryPolicy,
    /// Written under the lock of `runway` only, read without.
    snapshot: ArcSwap<Snapshot>,
    runway: Mutex<Runway>,
}

/// The place for the one fetch under way, and the log of those before it.
#[derive(Default)]
struct Runway {
    flight: Option<Flight>,
    last_miss: Option<Instant>,
    counters: Counters,
}

/// A fetch under way.
struct Flight {
    /// How many flights there were up to this one.
    number: u64,
    started: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
    /// Set as soon as the task is spawned.
    task: Option<AbortHandle>,
}

impl Shared {
    pub(super) fn new(
        source: Arc<dyn RegistrySource>,
        policy: RegistryPolicy,
        initial: Option<Catalog>,
    ) -> Self {
        let snapshot = match initial {
            Some(catalog) => Snapshot::given(catalog, &policy, Instant::now()),
            None => Snapshot::cold(),
        };
        Self {
            location: source.location().into(),
            source,
            policy,
            snapshot: ArcSwap::from_pointee(snapshot),
            runway: Mutex::default(),
        }
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn policy(&self) -> &RegistryPolicy {
        &self.policy
    }

    pub(super) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.snapshot.load().catalog.clone()
    }

    pub(super) fn stats(&self) -> RegistryStats {
        let runway = self.lock();
        let counters = runway.counters.clone();
        let snapshot = self.snapshot.load_full();
        drop(runway);
        RegistryStats::new(&snapshot, &counters, &self.policy, Instant::now())
    }

    /// What a request gets. One atomic load and one look at the clock while the list is fresh, and
    /// while a failed refresh is not due for its next try.
    pub(super) fn acquire(self: &Arc<Self>) -> Acquired {
        let now = Instant::now();
        if let Some(catalog) = self.snapshot.load().settled(now) {
            return Acquired::Ready(Arc::clone(catalog));
        }
        self.acquire_unsettled(now)
    }

    fn acquire_unsettled(self: &Arc<Self>, now: Instant) -> Acquired {
        let runway = self.lock();
        // Read again under the lock: a flight may have landed since.
        let snapshot = self.snapshot.load_full();
        let started = runway.flight.as_ref().map(|flight| flight.started);
        match (
            snapshot.times.assess(&self.policy, started, now),
            &snapshot.catalog,
        ) {
            (Step::Use, Some(catalog)) => Acquired::Ready(Arc::clone(catalog)),
            (Step::UseAndRefresh, Some(catalog)) => {
                self.join(runway, &snapshot, now);
                Acquired::Ready(Arc::clone(catalog))
            }
            (Step::RefreshUntil(until), Some(catalog)) => {
                let outcome = self.join(runway, &snapshot, now);
                let latest = Arc::clone(self).latest(outcome, until, Arc::clone(catalog));
                Acquired::Wait(Box::pin(async move { Ok(latest.await) }))
            }
            (Step::Unavailable(retry_after), _) => {
                Acquired::Unavailable(Unavailable::new(retry_after, snapshot.error.clone()))
            }
            (Step::Fetch, _) | (_, None) => {
                let outcome = self.join(runway, &snapshot, now);
                Acquired::Wait(Box::pin(Arc::clone(self).first(outcome)))
            }
        }
    }

    /// What a request gets whose name is not in the list. `None`: what it has.
    pub(super) fn revalidate_for_miss(
        self: &Arc<Self>,
    ) -> Option<Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>> {
        let now = Instant::now();
        let mut runway = self.lock();
        let snapshot = self.snapshot.load_full();
        let catalog = Arc::clone(snapshot.catalog.as_ref()?);
        let started = runway.flight.as_ref().map(|flight| flight.started);
        let until = match snapshot
            .times
            .assess_miss(&self.policy, runway.last_miss, started, now)
        {
            MissStep::Use => return None,
            MissStep::Join(until) => until,
            MissStep::Start(until) => {
                runway.last_miss = Some(now);
                until
            }
        };
        let outcome = self.join(runway, &snapshot, now);
        Some(Box::pin(Arc::clone(self).latest(outcome, until, catalog)))
    }

    /// Joins the flight under way or starts one, whatever the age of the list, and waits for it.
    pub(super) async fn refresh(self: &Arc<Self>) -> Outcome {
        let outcome = {
            let runway = self.lock();
            self.join(runway, &self.snapshot.load_full(), Instant::now())
        };
        self.landed(outcome).await
    }

    /// Waits for the flight, at most until then, and returns the newest list there is.
    async fn latest(
        self: Arc<Self>,
        outcome: watch::Receiver<Option<Outcome>>,
        until: Instant,
        catalog: Arc<Catalog>,
    ) -> Arc<Catalog> {
        // The check spares the timer, which panics where there is no runtime.
        let under_way = outcome.borrow().is_none();
        if under_way {
            let _ = timeout_at(until, self.landed(outcome)).await;
        }
        self.catalog().unwrap_or(catalog)
    }

    /// Waits for the flight to its end, and returns the list it brought.
    async fn first(
        self: Arc<Self>,
        outcome: watch::Receiver<Option<Outcome>>,
    ) -> Result<Arc<Catalog>, Unavailable> {
        let landed = self.landed(outcome).await;
        let now = Instant::now();
        let snapshot = self.snapshot.load();
        match &snapshot.catalog {
            Some(catalog) if landed.is_ok() || snapshot.times.usable(now) => {
                Ok(Arc::clone(catalog))
            }
            _ => Err(Unavailable::new(
                snapshot.times.backoff_left(now),
                landed.err(),
            )),
        }
    }

    async fn landed(&self, mut outcome: watch::Receiver<Option<Outcome>>) -> Outcome {
        let landed = outcome.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(self.error(FetchFailure::CutOff)),
        }
    }

    /// Joins the flight under way or starts one, and returns where its outcome will be.
    fn join(
        self: &Arc<Self>,
        mut runway: MutexGuard<'_, Runway>,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> watch::Receiver<Option<Outcome>> {
        if let Some(flight) = &runway.flight {
            return flight.outcome.clone();
        }
        let (sender, receiver) = watch::channel(None);
        runway.counters.fetches += 1;
        let number = runway.counters.fetches;
        runway.flight = Some(Flight {
            number,
            started: now,
            outcome: receiver.clone(),
            task: None,
        });
        // A runtime that is shutting down drops the task on the spot, and that takes the lock.
        drop(runway);
        self.launch(number, Arc::clone(snapshot), sender);
        receiver
    }

    /// Starts the task of a flight.
    fn launch(
        self: &Arc<Self>,
        number: u64,
        snapshot: Arc<Snapshot>,
        outcome: watch::Sender<Option<Outcome>>,
    ) {
        let landing = Landing {
            shared: Arc::downgrade(self),
            outcome,
            result: None,
        };
        let Ok(runtime) = Handle::try_current() else {
            return landing.end(Err(FetchFailure::NoRuntime));
        };
        let source = Arc::clone(&self.source);
        let limit = self.policy.fetch_timeout;
        // The task holds no handle of the registry: dropping the last one ends the task.
        let task = runtime.spawn(async move {
            let fetched = timeout(limit, source.fetch(snapshot.etag.as_deref())).await;
            landing.end(match fetched {
                Err(_) => Err(FetchFailure::Timeout(limit)),
                Ok(Err(error)) => Err(FetchFailure::Source(error)),
                Ok(Ok(answer)) => snapshot.read(answer),
            });
        });
        let mut runway = self.lock();
        if let Some(flight) = runway.flight.as_mut().filter(|f| f.number == number) {
            flight.task = Some(task.abort_handle());
        }
    }

    /// Ends a flight: the next snapshot, a free runway, and the log.
    fn land(&self, result: Result<News, FetchFailure>) -> Outcome {
        let (now, chance) = (Instant::now(), fastrand::f64());
        let mut runway = self.lock();
        let snapshot = self.snapshot.load_full();
        let (next, outcome) = match result {
            Ok(news) => {
                let refreshed = match news {
                    News::Changed { .. } => {
                        runway.counters.changed += 1;
                        Refreshed::Changed
                    }
                    News::Unchanged { .. } => {
                        runway.counters.unchanged += 1;
                        Refreshed::Unchanged
                    }
                };
                let next = snapshot.after(news, &self.policy, now, chance);
                (next, Ok(refreshed))
            }
            Err(failure) => {
                runway.counters.failed += 1;
                let error = self.error(failure);
                let next = snapshot.after_failure(error.clone(), &self.policy, now, chance);
                (next, Err(error))
            }
        };
        let next = Arc::new(next);
        self.snapshot.store(Arc::clone(&next));
        runway.flight = None;
        drop(runway);
        self.report(&outcome, &next, now);
        outcome
    }

    fn report(&self, outcome: &Outcome, snapshot: &Snapshot, now: Instant) {
        let registry = &*self.location;
        match (outcome, &snapshot.catalog) {
            (Ok(Refreshed::Changed), Some(catalog)) => {
                let hash = hex(&catalog.sha256()[..6]);
                tracing::info!(registry, models = catalog.len(), hash, "model list changed");
                if catalog.ambiguous_names() > 0 {
                    tracing::warn!(
                        registry,
                        ambiguous_names = catalog.ambiguous_names(),
                        "several models share a name: the newest one of each is used"
                    );
                }
            }
            (Ok(_), _) => tracing::debug!(registry, "model list unchanged"),
            (Err(error), catalog) => tracing::warn!(
                registry,
                error = %error.report(),
                failures = snapshot.times.failures(),
                retry_in = ?snapshot.times.backoff_left(now),
                "model list not refreshed: {}",
                if catalog.is_some() { "keeping the last one" } else { "there is none yet" },
            ),
        }
    }

    fn error(&self, failure: FetchFailure) -> RegistryError {
        RegistryError::new(Arc::clone(&self.location), failure)
    }

    fn lock(&self) -> MutexGuard<'_, Runway> {
        // Nothing that can panic in the middle of a change runs under this lock.
        self.runway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let runway = self
            .runway
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = runway.flight.take().and_then(|flight| flight.task) {
            task.abort();
        }
    }
}

/// Lands the flight when it is dropped, however its task ends.
struct Landing {
    shared: Weak<Shared>,
    outcome: watch::Sender<Option<Outcome>>,
    result: Option<Result<News, FetchFailure>>,
}

impl Landing {
    fn end(mut self, result: Result<News, FetchFailure>) {
        self.result = Some(result);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let result = self.result.take().unwrap_or_else(|| {
            Err(if std::thread::panicking() {
                FetchFailure::Panicked
            } else {
                FetchFailure::CutOff
            })
        });
        self.outcome.send_replace(Some(shared.land(result)));
    }
}

#[cfg(test)]
mod tests;
