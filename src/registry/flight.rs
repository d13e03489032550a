//! One fetch at a time, in a task of its own.

use std::sync::{Arc, MutexGuard, Weak};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::Refreshed;
use super::error::{FetchFailure, RegistryError};
use super::freshness::overdue_at;
use super::policy::RegistryPolicy;
use super::refresh::Shared;
use super::snapshot::{News, Snapshot};
use super::stats::{Counters, hex};
use crate::telemetry;

/// How a flight ended.
pub(super) type Outcome = Result<Refreshed, RegistryError>;

/// The place for the one fetch under way, and the log of those before it.
#[derive(Default)]
pub(super) struct Runway {
    flight: Option<Flight>,
    /// When a request whose name was not in the list last started a flight.
    pub(super) last_miss: Option<Instant>,
    pub(super) counters: Counters,
}

/// A fetch under way. Dropping it ends its task.
struct Flight {
    /// How many flights there were up to this one.
    number: u64,
    ticket: Ticket,
    /// Set as soon as the task is spawned.
    task: Option<AbortHandle>,
}

/// What one needs to wait for a flight.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) started: Instant,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

impl Runway {
    /// When the flight under way was started. One that is overdue does not count: its task is
    /// frozen, or on a runtime that nobody drives.
    pub(super) fn under_way(&self, policy: &RegistryPolicy, now: Instant) -> Option<Instant> {
        let started = self.flight.as_ref()?.ticket.started;
        (now < overdue_at(policy, started)).then_some(started)
    }

    /// Ends the flight under way.
    pub(super) fn clear(&mut self) {
        self.flight = None;
    }

    fn numbered(&mut self, number: u64) -> Option<&mut Flight> {
        self.flight
            .as_mut()
            .filter(|flight| flight.number == number)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Shared {
    /// Joins the flight under way or starts one.
    pub(super) fn join(
        self: &Arc<Self>,
        mut runway: MutexGuard<'_, Runway>,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> Ticket {
        if let Some(flight) = &runway.flight
            && now < overdue_at(&self.policy, flight.ticket.started)
        {
            return flight.ticket.clone();
        }
        let (sender, outcome) = watch::channel(None);
        let ticket = Ticket {
            started: now,
            outcome,
        };
        runway.counters.fetches += 1;
        let number = runway.counters.fetches;
        let overdue = runway.flight.replace(Flight {
            number,
            ticket: ticket.clone(),
            task: None,
        });
        // Ending a task and starting one on a runtime that is shutting down both may drop a
        // `Landing` on the spot, which takes the lock.
        drop(runway);
        drop(overdue);
        let landing = Landing {
            shared: Arc::downgrade(self),
            number,
            started: now,
            outcome: sender,
            end: None,
        };
        self.launch(landing, Arc::clone(snapshot));
        ticket
    }

    /// Starts the task of a flight.
    fn launch(&self, landing: Landing, snapshot: Arc<Snapshot>) {
        let number = landing.number;
        let Ok(runtime) = Handle::try_current() else {
            return landing.end(Instant::now(), Err(FetchFailure::NoRuntime));
        };
        let source = Arc::clone(&self.source);
        let limit = self.policy.fetch_timeout;
        // The task holds no handle of the registry: dropping the last one ends the task.
        let task = runtime.spawn(async move {
            let fetched = timeout(limit, source.fetch(snapshot.etag.as_deref())).await;
            // Reading a large document takes time of its own, which is no age of the list.
            let arrived = Instant::now();
            let result = match fetched {
                Err(_) => Err(FetchFailure::Timeout(limit)),
                Ok(Err(error)) => Err(FetchFailure::Source(error)),
                Ok(Ok(answer)) => snapshot.read(answer),
            };
            landing.end(arrived, result);
        });
        let mut runway = self.lock();
        if let Some(flight) = runway.numbered(number) {
            flight.task = Some(task.abort_handle());
        }
    }

    /// Ends a flight: the next snapshot, a free runway, and the log.
    fn land(
        &self,
        number: u64,
        started: Instant,
        arrived: Instant,
        result: Result<News, FetchFailure>,
    ) -> Outcome {
        let chance = fastrand::f64();
        let mut runway = self.lock();
        let snapshot = self.snapshot.load_full();
        // Another flight may have taken the place of this one. And if the process was suspended, it
        // says nothing about the source that a fetch failed, and nothing about today what it
        // brought.
        let current = runway.numbered(number).is_some();
        let void = !current || arrived >= overdue_at(&self.policy, started);
        let (next, outcome) = match result {
            Ok(news) if !void => {
                let refreshed = news.kind();
                runway.counters.count(refreshed);
                let next = snapshot.after(news, &self.policy, arrived, chance);
                (Arc::new(next), Ok(refreshed))
            }
            Err(failure) if !void => {
                runway.counters.failed += 1;
                let error = self.error(failure);
                let next = snapshot.after_failure(error.clone(), &self.policy, arrived, chance);
                (Arc::new(next), Err(error))
            }
            _ => {
                runway.counters.failed += 1;
                (snapshot, Err(self.error(FetchFailure::Overdue)))
            }
        };
        self.snapshot.store(Arc::clone(&next));
        let landed = runway.flight.take_if(|flight| flight.number == number);
        drop(runway);
        drop(landed);
        self.report(&outcome, &next, arrived);
        outcome
    }

    fn report(&self, outcome: &Outcome, snapshot: &Snapshot, now: Instant) {
        let registry = self.location();
        telemetry::refreshed(match outcome {
            Ok(Refreshed::Changed) => "changed",
            Ok(Refreshed::Unchanged) => "unchanged",
            Err(_) => "failed",
        });
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
}

/// Lands the flight when it is dropped, however its task ends.
struct Landing {
    shared: Weak<Shared>,
    number: u64,
    started: Instant,
    outcome: watch::Sender<Option<Outcome>>,
    end: Option<(Instant, Result<News, FetchFailure>)>,
}

impl Landing {
    fn end(mut self, arrived: Instant, result: Result<News, FetchFailure>) {
        self.end = Some((arrived, result));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let (arrived, result) = self.end.take().unwrap_or_else(|| {
            let failure = if std::thread::panicking() {
                FetchFailure::Panicked
            } else {
                FetchFailure::CutOff
            };
            (Instant::now(), Err(failure))
        });
        let outcome = shared.land(self.number, self.started, arrived, result);
        self.outcome.send_replace(Some(outcome));
    }
}
