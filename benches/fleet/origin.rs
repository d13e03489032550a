//! Where the list is published: what it answers, and who asked when.

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
use tower_model_routing::{FetchFuture, Fetched, RegistrySource, SourceError};

/// How long a fetch from the CDN takes: log-normal, half of them longer than
/// this, one in a hundred longer than 0.77 s.
const LATENCY_MEDIAN: f64 = 0.240;
const LATENCY_SIGMA: f64 = 0.5;

/// What all instances fetch the list from. Clones are one origin.
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
    /// How long after that each instance got the newest model.
    got_newest: Vec<Duration>,
    /// How many instances had a failure and no success since.
    failing: usize,
    /// How long after the last change one of them had its success.
    recovered_after: Option<Duration>,
    /// The requests in each second since the start.
    requests: Vec<u32>,
    /// Without jitter: what the thread's generator, from which registries draw
    /// theirs, is seeded with after each fetch, so that all draw the same.
    lot: Option<u64>,
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
            got_newest: Vec::new(),
            failing: 0,
            recovered_after: None,
            requests: Vec::new(),
            lot: (!jitter).then(middle_lot),
        })))
    }

    /// One instance's way to it.
    pub(crate) fn link(&self) -> Link {
        Link {
            origin: self.clone(),
            confirmed_at: Arc::default(),
            is_failing: Arc::default(),
        }
    }

    /// From now on every request fails, or succeeds again.
    pub(crate) fn set_down(&self, is_down: bool) {
        let mut state = self.lock();
        state.is_down = is_down;
        state.changed_at = Instant::now();
        state.recovered_after = None;
    }

    /// The name of the model that was published last.
    pub(crate) fn newest(&self) -> String {
        name(self.lock().published)
    }

    /// Adds a model to the list.
    pub(crate) fn publish(&self) {
        let mut state = self.lock();
        state.published += 1;
        state.changed_at = Instant::now();
        state.got_newest.clear();
    }

    /// How long it took from the last change on until all instances that had
    /// failures succeeded again. `None` if one still fails, or if none did.
    pub(crate) fn recovered_after(&self) -> Option<Duration> {
        let state = self.lock();
        state.recovered_after.filter(|_| state.failing == 0)
    }

    /// How long after it was published each instance got the newest model.
    pub(crate) fn got_newest(&self) -> Vec<Duration> {
        self.lock().got_newest.clone()
    }

    /// How many requests there were in each of these seconds.
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
        // Box and Muller's way to a normal deviate; the logarithm is of what
        // is never zero.
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

/// What one registry fetches from.
#[derive(Clone)]
pub(crate) struct Link {
    origin: Origin,
    /// When its list was last fetched or confirmed, in milliseconds since the
    /// start.
    confirmed_at: Arc<AtomicU64>,
    /// Whether its last fetch failed.
    is_failing: Arc<AtomicBool>,
}

impl Link {
    /// The age of the list that this instance has.
    pub(crate) fn age(&self, since_start: Duration) -> Duration {
        since_start.saturating_sub(Duration::from_millis(self.confirmed_at.load(Relaxed)))
    }
}

impl RegistrySource for Link {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(async move {
            // The answer is what is published when the request is made: the
            // worst case.
            let (latency, answer, published) = {
                let mut state = self.origin.lock();
                state.count_request();
                let current = format!("\"{}\"", state.published);
                let answer = if state.is_down {
                    Err(SourceError::new("the origin is down"))
                } else if etag == Some(&current) {
                    Ok(Fetched::NotModified)
                } else {
                    Ok(Fetched::document(state.document()).with_etag(current))
                };
                (state.latency(), answer, state.published)
            };
            sleep(latency).await;
            let mut state = self.origin.lock();
            let now = state.started.elapsed();
            let after = state.changed_at.elapsed();
            let was_failing = self.is_failing.swap(answer.is_err(), Relaxed);
            match &answer {
                Ok(fetched) => {
                    self.confirmed_at.store(now.as_millis() as u64, Relaxed);
                    if was_failing {
                        state.failing -= 1;
                        state.recovered_after = Some(after);
                    }
                    if published == state.published && matches!(fetched, Fetched::Document { .. }) {
                        state.got_newest.push(after);
                    }
                }
                Err(_) => state.failing += usize::from(!was_failing),
            }
            if let Some(lot) = state.lot {
                fastrand::seed(lot);
            }
            answer
        })
    }

    fn location(&self) -> String {
        "the simulated origin".to_owned()
    }
}

/// A seed whose first draw is the middle of `0.0..1.0`, as near as matters: who
/// draws that is moved to neither side.
fn middle_lot() -> u64 {
    let off = |seed: &u64| (Rng::with_seed(*seed).f64() - 0.5).abs();
    (0..10_000)
        .min_by(|a, b| off(a).total_cmp(&off(b)))
        .unwrap_or(0)
}

/// The name of the model that was published as this one.
fn name(number: usize) -> String {
    format!("model-{number}")
}
