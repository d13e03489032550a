//! The catalogs served so far, and hence those the proxy may and must have.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::catalogs::{document, hash};

/// The settings of the proxy.
pub(crate) const TTL: Duration = Duration::from_secs(2);
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const MISS_REFRESH: Duration = Duration::from_secs(1);
/// The delay of the registry while it is slow.
pub(crate) const SLOW: Duration = Duration::from_millis(1_200);
/// The time until the proxy must have a catalog. The last fetch of an outage may begin just before
/// its end, and time out; the next one follows a backoff of at most one TTL, and may be slow. The
/// rest is for a busy machine.
pub(crate) const ALLOWED: Duration = Duration::from_secs(9);
const _: () = assert!(
    ALLOWED.as_millis() > 3_000 + (TTL.as_millis() + FETCH_TIMEOUT.as_millis() + SLOW.as_millis())
);

/// The registry's states, one after the other.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    states: Vec<State>,
    /// The catalogs that were served, by hash.
    served: HashMap<String, u64>,
}

/// The registry's behaviour from an instant on.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) since: Instant,
    pub(crate) name: &'static str,
    /// The catalog that it serves. `None` while it fails.
    pub(crate) catalog: Option<u64>,
}

impl History {
    pub(crate) fn begin(&self, name: &'static str, catalog: Option<u64>) {
        let mut inner = self.inner();
        if let Some(catalog) = catalog {
            inner.served.insert(hash(&document(catalog)), catalog);
        }
        let since = Instant::now();
        inner.states.push(State {
            since,
            name,
            catalog,
        });
    }

    pub(crate) fn states(&self) -> Vec<State> {
        self.inner().states.clone()
    }

    /// Returns whether this catalog was served so far.
    pub(crate) fn has_served(&self, catalog: u64) -> bool {
        self.inner()
            .served
            .values()
            .any(|&served| served == catalog)
    }

    pub(crate) fn catalog_of(&self, hash: &str) -> Option<u64> {
        self.inner().served.get(hash).copied()
    }

    pub(crate) fn catalogs_served(&self) -> usize {
        self.inner().served.len()
    }

    /// Returns the oldest catalog by which a request may be routed at this instant: the oldest of
    /// those that were served without a gap for the time that is [`ALLOWED`].
    pub(crate) fn must_be_known(&self, at: Instant) -> Option<u64> {
        let served = self.served_until(at)?;
        served.into_iter().min().flatten()
    }

    /// Returns whether the registry has failed for all that time.
    pub(crate) fn must_be_degraded(&self, at: Instant) -> bool {
        let served = self.served_until(at);
        served.is_some_and(|served| served.iter().all(Option::is_none))
    }

    /// Returns the catalogs served in that time. `None` if the history is shorter.
    fn served_until(&self, at: Instant) -> Option<Vec<Option<u64>>> {
        let inner = self.inner();
        let from = at.checked_sub(ALLOWED)?;
        let mut served = Vec::new();
        for state in inner.states.iter().rev() {
            if state.since <= at {
                served.push(state.catalog);
            }
            if state.since <= from {
                return Some(served);
            }
        }
        None
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
