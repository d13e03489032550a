//! The state that all handles of a registry share.

use std::sync::{Arc, PoisonError};

use tokio::{sync::watch, time::Instant};

use super::{
    catalog::Catalog,
    error::{FetchFailure, RegistryError},
    freshness::overdue_at,
    policy::RegistryPolicy,
    snapshot::{Refreshed, Snapshot},
    source::RegistrySource,
    stats::{Counters, RegistryStats},
    sync::{AbortHandle, ArcSwap, Mutex, MutexGuard, now},
};

/// The state that all handles of a registry share.
pub(super) struct Inner {
    /// `None` if the catalog is fixed.
    pub(super) source: Option<Arc<dyn RegistrySource>>,
    location: Arc<str>,
    pub(super) policy: RegistryPolicy,
    /// Written only under the lock of `state`, read without it.
    pub(super) snapshot: ArcSwap<Snapshot>,
    state: Mutex<RefreshState>,
}

impl Inner {
    pub(super) fn new(
        source: Arc<dyn RegistrySource>,
        policy: RegistryPolicy,
        initial: Option<Arc<Catalog>>,
    ) -> Self {
        let snapshot = match initial {
            Some(catalog) => Snapshot::seeded(catalog, &policy, now()),
            None => Snapshot::cold(),
        };
        let location = source.location();
        Self::from_parts(Some(source), location, policy, snapshot)
    }

    /// Returns the state of a registry without a source.
    pub(super) fn fixed(policy: RegistryPolicy, catalog: Arc<Catalog>) -> Self {
        let snapshot = Snapshot::validated(catalog, &policy, now());
        Self::from_parts(None, "a fixed catalog".to_owned(), policy, snapshot)
    }

    fn from_parts(
        source: Option<Arc<dyn RegistrySource>>,
        location: String,
        policy: RegistryPolicy,
        snapshot: Snapshot,
    ) -> Self {
        Self {
            source,
            location: location.into(),
            policy,
            snapshot: ArcSwap::from_pointee(snapshot),
            state: Mutex::default(),
        }
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.snapshot.load().catalog.clone()
    }

    pub(super) fn stats(&self) -> RegistryStats {
        let state = self.lock();
        let counters = state.counters.clone();
        let snapshot = self.snapshot.load_full();
        drop(state);
        RegistryStats::new(&snapshot, &counters, &self.policy, now())
    }

    pub(super) fn error(&self, failure: FetchFailure) -> RegistryError {
        RegistryError::new(Arc::clone(&self.location), failure)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RefreshState> {
        // No code that can panic between two changes runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a refresh.
pub(super) type RefreshResult = Result<Refreshed, RegistryError>;

/// The fetch in flight, and the counters of those before it.
#[derive(Default)]
pub(super) struct RefreshState {
    pub(super) in_flight: Option<InFlight>,
    /// The last start of a fetch by a request whose name is not in the catalog.
    pub(super) last_miss: Option<Instant>,
    pub(super) counters: Counters,
}

/// A fetch in flight. Dropping it, alone or with the registry, aborts its task.
pub(super) struct InFlight {
    /// The number of fetches up to this one.
    pub(super) id: u64,
    pub(super) waiter: Waiter,
    /// Set as soon as the task is spawned.
    pub(super) task: Option<AbortHandle>,
}

/// The receiver of the result of a fetch.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) started: Instant,
    pub(super) result: watch::Receiver<Option<RefreshResult>>,
}

impl RefreshState {
    /// Returns the start of the fetch in flight. One that is overdue does not count, as its task is
    /// suspended or its runtime stopped.
    pub(super) fn in_flight_since(&self, policy: &RegistryPolicy, now: Instant) -> Option<Instant> {
        let started = self.in_flight.as_ref()?.waiter.started;
        (now < overdue_at(policy, started)).then_some(started)
    }

    pub(super) fn with_id(&mut self, id: u64) -> Option<&mut InFlight> {
        self.in_flight
            .as_mut()
            .filter(|in_flight| in_flight.id == id)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
