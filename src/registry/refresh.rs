//! Who gets a list at once, who waits for one, and who starts the fetch.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout_at};

use super::Acquired;
use super::catalog::Catalog;
use super::error::{FetchFailure, RegistryError, Unavailable};
use super::flight::{Outcome, Runway, Ticket};
use super::freshness::{MissStep, Step, overdue_at};
use super::policy::RegistryPolicy;
use super::snapshot::Snapshot;
use super::source::RegistrySource;
use super::stats::RegistryStats;

/// What all handles of one registry share.
pub(super) struct Shared {
    pub(super) source: Arc<dyn RegistrySource>,
    location: Arc<str>,
    pub(super) policy: RegistryPolicy,
    /// Written under the lock of `runway` only, read without.
    pub(super) snapshot: ArcSwap<Snapshot>,
    runway: Mutex<Runway>,
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
        let started = runway.under_way(&self.policy, now);
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
                let ticket = self.join(runway, &snapshot, now);
                let latest = Arc::clone(self).latest(ticket, until, Arc::clone(catalog));
                Acquired::Wait(Box::pin(async move { Ok(latest.await) }))
            }
            (Step::Unavailable(retry_after), _) => {
                Acquired::Unavailable(Unavailable::new(retry_after, snapshot.error.clone()))
            }
            (Step::Fetch, _) | (_, None) => {
                let ticket = self.join(runway, &snapshot, now);
                Acquired::Wait(Box::pin(Arc::clone(self).first(ticket)))
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
        let started = runway.under_way(&self.policy, now);
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
        let ticket = self.join(runway, &snapshot, now);
        Some(Box::pin(Arc::clone(self).latest(ticket, until, catalog)))
    }

    /// Joins the flight under way or starts one, whatever the age of the list, and waits for it.
    pub(super) async fn refresh(self: &Arc<Self>) -> Outcome {
        let ticket = {
            let runway = self.lock();
            self.join(runway, &self.snapshot.load_full(), Instant::now())
        };
        let until = overdue_at(&self.policy, ticket.started);
        self.landed(ticket, until).await
    }

    /// Waits for the flight, at most until then, and returns the newest list there is.
    async fn latest(
        self: Arc<Self>,
        ticket: Ticket,
        until: Instant,
        catalog: Arc<Catalog>,
    ) -> Arc<Catalog> {
        let _ = self.landed(ticket, until).await;
        self.catalog().unwrap_or(catalog)
    }

    /// Waits for the flight to its end, and returns the list it brought.
    async fn first(self: Arc<Self>, ticket: Ticket) -> Result<Arc<Catalog>, Unavailable> {
        let until = overdue_at(&self.policy, ticket.started);
        let landed = self.landed(ticket, until).await;
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

    async fn landed(&self, mut ticket: Ticket, until: Instant) -> Outcome {
        let landed = ticket.outcome.borrow().clone();
        if let Some(outcome) = landed {
            // Without a timer: it would panic where there is no runtime.
            return outcome;
        }
        let landed = timeout_at(until, ticket.outcome.wait_for(Option::is_some)).await;
        match landed.as_ref().map(|landed| landed.as_deref()) {
            Ok(Ok(Some(outcome))) => outcome.clone(),
            Ok(_) => Err(self.error(FetchFailure::CutOff)),
            Err(_) => Err(self.error(FetchFailure::Overdue)),
        }
    }

    pub(super) fn error(&self, failure: FetchFailure) -> RegistryError {
        RegistryError::new(Arc::clone(&self.location), failure)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Runway> {
        // Nothing that can panic in the middle of a change runs under this lock.
        self.runway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let runway = self.runway.get_mut();
        runway.unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests;
