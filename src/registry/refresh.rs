//! Looks up the catalog for requests, which start, join and wait for refreshes.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::time::Instant;

use super::{
    catalog::Catalog,
    error::{FetchFailure, Unavailable},
    freshness::{CatalogAction, MissAction, overdue_at},
    state::{Inner, RefreshResult, Waiter},
    sync::{now, timeout_at},
};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The result of a request's lookup of the catalog.
pub(crate) enum CatalogLookup {
    /// The catalog.
    Ready(Arc<Catalog>),
    /// The catalog after a refresh, or its error.
    Wait(BoxFuture<Result<Arc<Catalog>, Unavailable>>),
    /// There is no catalog, and no fetch is due.
    Unavailable(Unavailable),
}

impl Inner {
    /// Looks up the catalog for a request. While the catalog is fresh, or in a backoff, this is one
    /// atomic load and one read of the clock.
    pub(super) fn look_up(self: &Arc<Self>) -> CatalogLookup {
        let now = now();
        if let Some(catalog) = self.snapshot.load().catalog_without_check(now) {
            return CatalogLookup::Ready(Arc::clone(catalog));
        }
        self.check_and_look_up(now)
    }

    fn check_and_look_up(self: &Arc<Self>, now: Instant) -> CatalogLookup {
        let state = self.lock();
        // Loaded again under the lock, as a refresh may have ended since.
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

    /// Returns a newer catalog for a request whose name is not in the one it has, or `None` if a
    /// refresh is not due.
    pub(super) fn revalidate_for_miss(self: &Arc<Self>) -> Option<BoxFuture<Arc<Catalog>>> {
        let now = now();
        let mut state = self.lock();
        let snapshot = self.snapshot.load_full();
        let catalog = Arc::clone(snapshot.catalog.as_ref()?);
        let started = state.in_flight_since(&self.policy, now);
        let freshness = &snapshot.freshness;
        let until = match freshness.assess_miss(&self.policy, state.last_miss, started, now) {
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

    /// Joins or starts a refresh at any age of the catalog, and waits for it.
    pub(super) async fn refresh(self: &Arc<Self>) -> RefreshResult {
        let waiter = {
            let state = self.lock();
            self.join(state, &self.snapshot.load_full(), now())
        };
        let until = overdue_at(&self.policy, waiter.started);
        self.wait_until(waiter, until).await
    }

    /// Waits for the refresh, at most until `until`, and returns the newest catalog.
    async fn wait_for_newer(
        self: Arc<Self>,
        waiter: Waiter,
        until: Instant,
        catalog: Arc<Catalog>,
    ) -> Arc<Catalog> {
        let _ = self.wait_until(waiter, until).await;
        self.catalog().unwrap_or(catalog)
    }

    /// Waits for the end of the refresh, and returns its catalog.
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

    /// Returns the result of the refresh, or an error if it has not ended at `until`.
    async fn wait_until(&self, mut waiter: Waiter, until: Instant) -> RefreshResult {
        let result = waiter.result.borrow().clone();
        if let Some(result) = result {
            // A timer would panic without a runtime.
            return result;
        }
        let result = timeout_at(until, waiter.result.wait_for(Option::is_some)).await;
        match result.as_ref().map(|result| result.as_deref()) {
            Ok(Ok(Some(result))) => result.clone(),
            Ok(_) => Err(self.error(FetchFailure::CutOff)),
            Err(_) => Err(self.error(FetchFailure::Overdue)),
        }
    }
}

#[cfg(all(test, shuttle))]
mod model;
#[cfg(all(test, not(shuttle)))]
mod tests;
