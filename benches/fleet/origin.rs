//! The origin of the catalog: its responses, and a log of its requests.

use std::{
    f64::consts::TAU,
    iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::time::{Instant, sleep};
use tower_model_routing::registry::{FetchFuture, Fetched, RegistrySource, SourceError};

/// The time of a fetch from the CDN, in seconds: log-normal, with a 99th percentile of 0.77 s.
const LATENCY_MEDIAN: f64 = 0.240;
const LATENCY_SIGMA: f64 = 0.5;

/// A handle to the origin of all instances.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Mutex<State>>);

struct State {
    started: Instant,
    random: Rng,
    is_down: bool,
    /// How many models were published since the start.
    published: usize,
    /// When it last went down, came up, or published.
    changed_at: Instant,
    /// The time from then until each instance had the newest model.
    found_newest: Vec<Duration>,
    /// How many instances had a failure, and no success since.
    failing: usize,
    /// The time from the last change to the last success after a failure.
    recovered_after: Option<Duration>,
    /// The requests by second since the start.
    requests: Vec<u32>,
    /// Without jitter: the seed of the thread's generator after each fetch, so that all registries
    /// draw the same jitter.
    jitter_seed: Option<u64>,
}

impl Origin {
    pub(crate) fn new(seed: u64, jitter: bool) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            started: now,
            random: Rng::with_seed(seed),
            is_down: false,
            published: 0,
            changed_at: now,
            found_newest: Vec::new(),
            failing: 0,
            recovered_after: None,
            requests: Vec::new(),
            jitter_seed: (!jitter).then(middle_seed),
        })))
    }

    /// Returns the source of one instance.
    pub(crate) fn link(&self) -> Link {
        Link {
            origin: self.clone(),
            confirmed_at: Arc::default(),
            is_failing: Arc::default(),
        }
    }

    /// Lets every request fail, or succeed again.
    pub(crate) fn set_down(&self, is_down: bool) {
        let mut state = self.lock();
        state.is_down = is_down;
        state.changed_at = Instant::now();
        state.recovered_after = None;
    }

    /// Returns the name of the model that was published last.
    pub(crate) fn newest(&self) -> String {
        name(self.lock().published)
    }

    /// Publishes another model.
    pub(crate) fn publish(&self) {
        let mut state = self.lock();
        state.published += 1;
        state.changed_at = Instant::now();
        state.found_newest.clear();
    }

    /// Returns the time from the last change until all instances succeeded again. `None` if one
    /// still fails, or if none did.
    pub(crate) fn recovered_after(&self) -> Option<Duration> {
        let state = self.lock();
        state.recovered_after.filter(|_| state.failing == 0)
    }

    /// Returns the time until each instance had the newest model.
    pub(crate) fn found_newest(&self) -> Vec<Duration> {
        self.lock().found_newest.clone()
    }

    /// Returns the requests by second.
    pub(crate) fn requests(&self, from: Duration, to: Duration) -> Vec<u32> {
        let state = self.lock();
        (from.as_secs()..to.as_secs())
            .map(|second| state.requests.get(second as usize).copied().unwrap_or(0))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_request(&mut self) {
        let second = self.started.elapsed().as_secs() as usize;
        if self.requests.len() <= second {
            self.requests.resize(second + 1, 0);
        }
        self.requests[second] += 1;
    }

    fn latency(&mut self) -> Duration {
        // The Box-Muller transform; the argument of the logarithm is never zero.
        let radius = (-2.0 * (1.0 - self.random.f64()).ln()).sqrt();
        let deviate = radius * (TAU * self.random.f64()).cos();
        Duration::from_secs_f64(LATENCY_MEDIAN * (LATENCY_SIGMA * deviate).exp())
    }

    fn document(&self) -> String {
        let fallback = "mistral-31-24b".to_owned();
        let models: Vec<_> = iter::once(fallback)
            .chain((0..=self.published).map(name))
            .enumerate()
            .map(|(id, name)| format!(r#"{{"Id":"0x{id:064x}","Name":"{name}"}}"#))
            .collect();
        format!(r#"{{"models":[{}]}}"#, models.join(","))
    }
}

/// The source of one registry.
#[derive(Clone)]
pub(crate) struct Link {
    origin: Origin,
    /// When its catalog was last fetched or revalidated, in milliseconds since the start.
    confirmed_at: Arc<AtomicU64>,
    /// Whether the last fetch failed.
    is_failing: Arc<AtomicBool>,
}

impl Link {
    /// Returns the age of the instance's catalog.
    pub(crate) fn age(&self, since_start: Duration) -> Duration {
        since_start.saturating_sub(Duration::from_millis(self.confirmed_at.load(Relaxed)))
    }
}

impl RegistrySource for Link {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(async move {
            // The worst case: the response has what is published when the request is sent.
            let (latency, result, published) = {
                let mut state = self.origin.lock();
                state.count_request();
                let current = format!("\"{}\"", state.published);
                let result = if state.is_down {
                    Err(SourceError::new("the origin is down"))
                } else if etag == Some(&current) {
                    Ok(Fetched::NotModified)
                } else {
                    Ok(Fetched::document(state.document()).with_etag(current))
                };
                (state.latency(), result, state.published)
            };
            sleep(latency).await;
            let mut state = self.origin.lock();
            let now = state.started.elapsed();
            let after = state.changed_at.elapsed();
            let was_failing = self.is_failing.swap(result.is_err(), Relaxed);
            match &result {
                Ok(fetched) => {
                    self.confirmed_at.store(now.as_millis() as u64, Relaxed);
                    if was_failing {
                        state.failing -= 1;
                        state.recovered_after = Some(after);
                    }
                    if published == state.published && matches!(fetched, Fetched::Document { .. }) {
                        state.found_newest.push(after);
                    }
                }
                Err(_) => state.failing += usize::from(!was_failing),
            }
            if let Some(seed) = state.jitter_seed {
                fastrand::seed(seed);
            }
            result
        })
    }

    fn location(&self) -> String {
        "the simulated origin".to_owned()
    }
}

/// Returns a seed whose first draw is about the middle of `0.0..1.0`, which is no jitter.
fn middle_seed() -> u64 {
    let off = |seed: &u64| (Rng::with_seed(*seed).f64() - 0.5).abs();
    (0..10_000)
        .min_by(|a, b| off(a).total_cmp(&off(b)))
        .unwrap_or(0)
}

/// Returns the name of the model with this number.
fn name(number: usize) -> String {
    format!("model-{number}")
}
