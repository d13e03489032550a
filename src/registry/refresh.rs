//! Who gets a catalog at once, who waits for one, and who starts the fetch.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
};

use tokio::time::Instant;

use super::{
    CatalogLookup,
    catalog::Catalog,
    error::{FetchFailure, RegistryError, Unavailable},
    freshness::{CatalogAction, MissAction, overdue_at},
    policy::RegistryPolicy,
    single_flight::{RefreshResult, RefreshState, Waiter},
    snapshot::Snapshot,
    source::RegistrySource,
    stats::RegistryStats,
    sync::{ArcSwap, Mutex, MutexGuard, now, timeout_at},
};

/// What all handles of one registry share.
pub(super) struct Inner {
    pub(super) source: Arc<dyn RegistrySource>,
    location: Arc<str>,
    pub(super) policy: RegistryPolicy,
    /// Written under the lock of `state` only, read without.
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
        Self {
            location: source.location().into(),
            source,
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

    /// What a request gets. One atomic load and one look at the clock while the
    /// catalog is fresh, and while a failed refresh is not due for its next
    /// try.
    pub(super) fn acquire(self: &Arc<Self>) -> CatalogLookup {
        let now = now();
        if let Some(catalog) = self.snapshot.load().catalog_without_check(now) {
            return CatalogLookup::Ready(Arc::clone(catalog));
        }
        self.acquire_after_check(now)
    }

    fn acquire_after_check(self: &Arc<Self>, now: Instant) -> CatalogLookup {
        let state = self.lock();
        // Read again under the lock: a refresh may have completed since.
        let snapshot = self.snapshot.load_full();
        let started = state.in_flight_since(&self.policy, now);
        match (
            snapshot.freshness.assess(&self.policy, started, now),
            &snapshot.catalog,
        ) {
            (CatalogAction::Use, Some(catalog)) => CatalogLookup::Ready(Arc::clone(catalog)),
            (CatalogAction::UseAndRefresh, Some(catalog)) => {
                self.join(state, &snapshot, now);
                CatalogLookup::Ready(Arc::clone(catalog))
            }
            (CatalogAction::RefreshUntil(until), Some(catalog)) => {
                let waiter = self.join(state, &snapshot, now);
                let newer = Arc::clone(self).wait_for_newer(waiter, until, Arc::clone(catalog));
                CatalogLookup::Wait(Box::pin(async move { Ok(newer.await) }))
            }
            (CatalogAction::Unavailable(retry_after), _) => {
                CatalogLookup::Unavailable(Unavailable::new(retry_after, snapshot.error.clone()))
            }
            (CatalogAction::Fetch, _) | (_, None) => {
                let waiter = self.join(state, &snapshot, now);
                CatalogLookup::Wait(Box::pin(Arc::clone(self).wait_for_first(waiter)))
            }
        }
    }

    /// What a request gets whose name is not in the catalog. `None`: what it
    /// has.
    pub(super) fn revalidate_for_miss(
        self: &Arc<Self>,
    ) -> Option<Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>> {
        let now = now();
        let mut state = self.lock();
        let snapshot = self.snapshot.load_full();
        let catalog = Arc::clone(snapshot.catalog.as_ref()?);
        let started = state.in_flight_since(&self.policy, now);
        let until =
            match snapshot
                .freshness
                .assess_miss(&self.policy, state.last_miss, started, now)
            {
                MissAction::Use => return None,
                MissAction::Join(until) => until,
                MissAction::Start(until) => {
                    state.last_miss = Some(now);
                    until
                }
            };
        let waiter = self.join(state, &snapshot, now);
        Some(Box::pin(
            Arc::clone(self).wait_for_newer(waiter, until, catalog),
        ))
    }

    /// Joins the refresh under way or starts one, whatever the age of the
    /// catalog, and waits for it.
    pub(super) async fn refresh(self: &Arc<Self>) -> RefreshResult {
        let waiter = {
            let state = self.lock();
            self.join(state, &self.snapshot.load_full(), now())
        };
        let until = overdue_at(&self.policy, waiter.started);
        self.wait_until(waiter, until).await
    }

    /// Waits for the refresh, at most until then, and returns the newest
    /// catalog there is.
    async fn wait_for_newer(
        self: Arc<Self>,
        waiter: Waiter,
        until: Instant,
        catalog: Arc<Catalog>,
    ) -> Arc<Catalog> {
        let _ = self.wait_until(waiter, until).await;
        self.catalog().unwrap_or(catalog)
    }

    /// Waits for the refresh to its end, and returns the catalog it brought.
    async fn wait_for_first(self: Arc<Self>, waiter: Waiter) -> Result<Arc<Catalog>, Unavailable> {
        let until = overdue_at(&self.policy, waiter.started);
        let result = self.wait_until(waiter, until).await;
        let now = now();
        let snapshot = self.snapshot.load();
        match &snapshot.catalog {
            Some(catalog) if result.is_ok() || snapshot.freshness.usable(now) => {
                Ok(Arc::clone(catalog))
            }
            _ => Err(Unavailable::new(
                snapshot.freshness.backoff_remaining(now),
                result.err(),
            )),
        }
    }

    /// How the refresh ended, or that it had not ended by then.
    async fn wait_until(&self, mut waiter: Waiter, until: Instant) -> RefreshResult {
        let result = waiter.result.borrow().clone();
        if let Some(result) = result {
            // Without a timer: it would panic where there is no runtime.
            return result;
        }
        let result = timeout_at(until, waiter.result.wait_for(Option::is_some)).await;
        match result.as_ref().map(|result| result.as_deref()) {
            Ok(Ok(Some(result))) => result.clone(),
            Ok(_) => Err(self.error(FetchFailure::CutOff)),
            Err(_) => Err(self.error(FetchFailure::Overdue)),
        }
    }

    pub(super) fn error(&self, failure: FetchFailure) -> RegistryError {
        RegistryError::new(Arc::clone(&self.location), failure)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RefreshState> {
        // Nothing that can panic in the middle of a change runs under this
        // lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, shuttle))]
mod model;
#[cfg(all(test, not(shuttle)))]
mod tests;
