//! What the registry has been serving, and so what the proxy may and must know.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::lists::{document, hash};

/// How the proxy is told to keep its list.
pub(crate) const TTL: Duration = Duration::from_secs(2);
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const MISS_REFRESH: Duration = Duration::from_secs(1);
/// How long the registry takes when it is slow.
pub(crate) const SLOW: Duration = Duration::from_millis(1_200);
/// After a bad time the last fetch may have begun just before its end, and time
/// out; the next one comes after a backoff of one TTL at most, and may be slow.
/// Besides, the machine may be busy.
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
    /// The lists that have been served, by hash.
    served: HashMap<String, u64>,
}

/// What the registry does from a moment on.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) since: Instant,
    pub(crate) name: &'static str,
    /// The list that is to be had; none while it fails.
    pub(crate) list: Option<u64>,
}

impl History {
    pub(crate) fn begin(&self, name: &'static str, list: Option<u64>) {
        let mut inner = self.inner();
        if let Some(list) = list {
            inner.served.insert(hash(&document(list)), list);
        }
        let since = Instant::now();
        inner.states.push(State { since, name, list });
    }

    pub(crate) fn states(&self) -> Vec<State> {
        self.inner().states.clone()
    }

    /// Whether this list has been served so far.
    pub(crate) fn has_served(&self, list: u64) -> bool {
        self.inner().served.values().any(|&served| served == list)
    }

    pub(crate) fn list_of(&self, hash: &str) -> Option<u64> {
        self.inner().served.get(hash).copied()
    }

    pub(crate) fn lists_served(&self) -> usize {
        self.inner().served.len()
    }

    /// The list that whoever asks at this moment must at least get: the oldest of
    /// those that have been served all the time allowed before.
    pub(crate) fn must_be_known(&self, at: Instant) -> Option<u64> {
        let served = self.served_until(at)?;
        served.into_iter().min().flatten()
    }

    /// Whether the registry has failed for all that time.
    pub(crate) fn must_be_degraded(&self, at: Instant) -> bool {
        let served = self.served_until(at);
        served.is_some_and(|served| served.iter().all(Option::is_none))
    }

    /// What has been served in the time allowed; nothing if that began before.
    fn served_until(&self, at: Instant) -> Option<Vec<Option<u64>>> {
        let inner = self.inner();
        let from = at.checked_sub(ALLOWED)?;
        let mut served = Vec::new();
        for state in inner.states.iter().rev() {
            if state.since <= at {
                served.push(state.list);
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
