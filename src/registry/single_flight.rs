//! Runs at most one fetch at a time, in a task of its own.

use std::sync::{Arc, Weak};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use super::{
    catalog::hex,
    error::{FetchFailure, SourceError},
    freshness::overdue_at,
    snapshot::{Refreshed, Snapshot, Update},
    source::{Fetched, RegistrySource},
    state::{InFlight, Inner, RefreshResult, RefreshState, Waiter},
    sync::{Handle, MutexGuard, now, timeout},
};

/// The counter of refreshes, by result.
#[cfg(feature = "metrics")]
pub(crate) const REFRESHES: &str = "model_registry_refreshes_total";

/// The longest document that is parsed on a thread of the runtime.
const MAX_INLINE_BYTES: usize = 64 << 10;

impl Inner {
    /// Joins or starts a fetch.
    pub(super) fn join(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, RefreshState>,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> Waiter {
        if let Some(in_flight) = &state.in_flight
            && now < overdue_at(&self.policy, in_flight.waiter.started)
        {
            return in_flight.waiter.clone();
        }
        let Some(source) = self.source.clone() else {
            // A fixed catalog stays as it is.
            let (_, result) = watch::channel(Some(Ok(Refreshed::Unchanged)));
            return Waiter {
                started: now,
                result,
            };
        };
        let (sender, result) = watch::channel(None);
        let waiter = Waiter {
            started: now,
            result,
        };
        state.counters.fetches += 1;
        let id = state.counters.fetches;
        let overdue = state.in_flight.replace(InFlight {
            id,
            waiter: waiter.clone(),
            task: None,
        });
        // Aborting a task, and spawning one on a runtime that is shutting down, may drop a
        // `CompletionGuard` at once, which takes the lock.
        drop(state);
        drop(overdue);
        let guard = CompletionGuard {
            inner: Arc::downgrade(self),
            id,
            started: now,
            sender,
            fetched: None,
        };
        self.spawn(source, guard, Arc::clone(snapshot));
        waiter
    }

    /// Spawns the task of a fetch.
    fn spawn(
        &self,
        source: Arc<dyn RegistrySource>,
        guard: CompletionGuard,
        snapshot: Arc<Snapshot>,
    ) {
        let id = guard.id;
        let Ok(runtime) = Handle::try_current() else {
            return guard.complete(now(), Err(FetchFailure::NoRuntime));
        };
        let limit = self.policy.fetch_timeout;
        let max_bytes = self.policy.max_catalog_bytes;
        // The task holds no handle of the registry, so that dropping the last one aborts it.
        let task = runtime.spawn(async move {
            let fetch = source.fetch_up_to(snapshot.etag.as_deref(), max_bytes);
            let fetched = timeout(limit, fetch).await;
            // Parsing a large document takes time that makes the catalog no fresher.
            let arrived = now();
            let result = match fetched {
                Err(_) => Err(FetchFailure::Timeout(limit)),
                Ok(Err(error)) => Err(FetchFailure::Source(error)),
                Ok(Ok(fetched)) => update(snapshot, fetched, max_bytes).await,
            };
            guard.complete(arrived, result);
        });
        let mut state = self.lock();
        match state.with_id(id) {
            Some(in_flight) => in_flight.task = Some(task.abort_handle()),
            // It has ended, or another has replaced it, which found no task to abort.
            None => {
                drop(state);
                task.abort_handle().abort();
            }
        }
    }

    /// Completes a fetch: publishes the next snapshot, clears the fetch in flight, and logs.
    fn complete(
        &self,
        id: u64,
        started: Instant,
        arrived: Instant,
        fetched: Result<Update, FetchFailure>,
    ) -> RefreshResult {
        let chance = fastrand::f64();
        let mut state = self.lock();
        let snapshot = self.snapshot.load_full();
        // Another fetch may have replaced this one. And if the process was suspended, neither a
        // failure nor a response is evidence of the source as it is now.
        let current = state.with_id(id).is_some();
        let discarded = !current || arrived >= overdue_at(&self.policy, started);
        let (next, result) = match fetched {
            Ok(update) if !discarded => {
                let refreshed = update.kind();
                state.counters.count(refreshed);
                let next = snapshot.after(update, &self.policy, arrived, chance);
                (Arc::new(next), Ok(refreshed))
            }
            Err(failure) if !discarded => {
                state.counters.failed += 1;
                let error = self.error(failure);
                let next = snapshot.after_failure(error.clone(), &self.policy, arrived, chance);
                (Arc::new(next), Err(error))
            }
            _ => {
                state.counters.failed += 1;
                (snapshot, Err(self.error(FetchFailure::Overdue)))
            }
        };
        self.snapshot.store(Arc::clone(&next));
        let ended = state.in_flight.take_if(|in_flight| in_flight.id == id);
        drop(state);
        drop(ended);
        self.log(&result, &next, arrived);
        result
    }

    fn log(&self, result: &RefreshResult, snapshot: &Snapshot, now: Instant) {
        let registry = self.location();
        #[cfg(feature = "metrics")]
        {
            let result = result.as_ref().map_or("failed", |r| r.as_str());
            metrics::counter!(REFRESHES, "result" => result).increment(1);
        }
        match (result, &snapshot.catalog) {
            (Ok(refreshed @ Refreshed::Changed), Some(catalog)) => {
                let hash = hex(&catalog.sha256()[..6]);
                tracing::info!(
                    registry,
                    models = catalog.len(),
                    hash,
                    "catalog {refreshed}"
                );
                if catalog.ambiguous_names() > 0 {
                    tracing::warn!(
                        registry,
                        ambiguous_names = catalog.ambiguous_names(),
                        "several models have the same name: the newest one is used"
                    );
                }
            }
            (Ok(refreshed), _) => tracing::debug!(registry, "catalog {refreshed}"),
            (Err(error), catalog) => tracing::warn!(
                registry,
                // A string, which subscribers escape, unlike a `Display`.
                error = error.report().to_string(),
                failures = snapshot.freshness.failures(),
                retry_in = ?snapshot.freshness.backoff_remaining(now),
                "catalog not refreshed: {}",
                if catalog.is_some() { "the last one stays in use" } else { "there is none yet" },
            ),
        }
    }
}

/// Returns what a fetch with the snapshot's ETag changes. A long document is hashed and parsed on a
/// blocking thread.
async fn update(
    snapshot: Arc<Snapshot>,
    fetched: Fetched,
    max_bytes: usize,
) -> Result<Update, FetchFailure> {
    match &fetched {
        Fetched::Document { body, .. } if body.len() > max_bytes => {
            Err(FetchFailure::Source(SourceError::too_large(max_bytes)))
        }
        Fetched::Document { body, .. } if body.len() > MAX_INLINE_BYTES => {
            let update = spawn_blocking(move || snapshot.update(fetched)).await;
            update.unwrap_or_else(|error| {
                Err(match error.is_panic() {
                    true => FetchFailure::Panicked,
                    false => FetchFailure::CutOff,
                })
            })
        }
        _ => snapshot.update(fetched),
    }
}

/// A guard that completes the fetch on drop, so that every end of its task does.
struct CompletionGuard {
    inner: Weak<Inner>,
    id: u64,
    started: Instant,
    sender: watch::Sender<Option<RefreshResult>>,
    fetched: Option<(Instant, Result<Update, FetchFailure>)>,
}

impl CompletionGuard {
    fn complete(mut self, arrived: Instant, fetched: Result<Update, FetchFailure>) {
        self.fetched = Some((arrived, fetched));
    }
}

impl Drop for CompletionGuard {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        let (arrived, fetched) = self.fetched.take().unwrap_or_else(|| {
            let failure = if std::thread::panicking() {
                FetchFailure::Panicked
            } else {
                FetchFailure::CutOff
            };
            (now(), Err(failure))
        });
        let result = inner.complete(self.id, self.started, arrived, fetched);
        self.sender.send_replace(Some(result));
    }
}
