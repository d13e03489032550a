//! Looks at the proxy's process and at its own pages.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower_model_routing::BoxError;

use crate::{
    checks::{Check, Checks},
    client::{Clients, page},
    history::ALLOWED,
    ledger::Ledger,
    lists::{Served, models},
    process,
    upstream::Upstream,
};

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Watch {
    proxy: SocketAddr,
    id: u32,
    ledger: Arc<Ledger>,
    samples: Mutex<Vec<Sample>>,
}

/// What the proxy takes at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) memory: u64,
    pub(crate) files: usize,
    pub(crate) threads: u64,
    pub(crate) tasks: u64,
    pub(crate) held: u64,
    /// The requests that have ended so far.
    pub(crate) ended: u64,
    /// How long half of the plain ones since the last sample took, in seconds,
    /// and all but 1 %.
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

impl Watch {
    pub(crate) fn new(proxy: SocketAddr, id: u32, ledger: Arc<Ledger>) -> Self {
        Self {
            proxy,
            id,
            ledger,
            samples: Mutex::default(),
        }
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a sample each second, and looks at the pages twice, until it is
    /// dropped.
    pub(crate) async fn run(&self, clients: &Clients) -> Result<(), BoxError> {
        let mut ticks = interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.check_health().await?;
            ticks.tick().await;
            self.check_models().await?;
            self.check_health().await?;
            ticks.tick().await;
            let mut sample = self.sample().await?;
            let mut seconds = clients.take_timings();
            seconds.sort_by(f64::total_cmp);
            let at = |share: f64| {
                let index = (seconds.len() as f64 * share) as usize;
                seconds.get(index).copied().unwrap_or_default()
            };
            (sample.median, sample.p99) = (at(0.5), at(0.99));
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.push(sample);
            drop(samples);
            self.ledger.forget();
        }
    }

    pub(crate) async fn sample(&self) -> Result<Sample, BoxError> {
        let metrics = self.metrics().await?;
        Ok(Sample {
            at: Instant::now(),
            memory: process::status(self.id, "VmRSS"),
            files: process::files(self.id),
            threads: process::status(self.id, "Threads"),
            tasks: number(&metrics, "proxy_tasks")?,
            held: number(&metrics, "model_routing_held_bytes")?,
            ended: self.ledger.ended(),
            median: 0.0,
            p99: 0.0,
        })
    }

    /// How many requests were in the layer for longer than half a second, and how
    /// many there were.
    pub(crate) async fn late(&self) -> Result<(u64, u64), BoxError> {
        let metrics = self.metrics().await?;
        let all = number(&metrics, "model_routing_layer_seconds_count")?;
        let bucket = "model_routing_layer_seconds_bucket{le=\"0.5\"}";
        Ok((all - number(&metrics, bucket)?, all))
    }

    async fn metrics(&self) -> Result<String, BoxError> {
        let (_, page) = page(self.proxy, "/metrics").await?;
        Ok(String::from_utf8(page.to_vec())?)
    }

    /// Before there is a list.
    pub(crate) async fn check_cold(&self) -> Result<(), BoxError> {
        let (status, health) = self.json("/health").await?;
        let holds = status == 503 && health["status"] == "unhealthy";
        self.check(Check::Cold, holds, &health);
        let (status, models) = self.json("/v1/models").await?;
        let holds = status == 503 && models["error"]["code"] == "model_registry_unavailable";
        self.check(Check::Cold, holds, &models);
        Ok(())
    }

    /// Waits until the proxy has this list.
    pub(crate) async fn wait_for(&self, list: u64) -> Result<(), BoxError> {
        let start = Instant::now();
        loop {
            let (_, health) = self.json("/health").await?;
            let hash = health["model_service"]["cache_info"]["last_hash"].as_str();
            let found = hash.and_then(|hash| self.ledger.history.list_of(hash));
            if found == Some(list) || start.elapsed() > PATIENCE {
                self.check(Check::Recovery, found == Some(list), &health);
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the proxy takes when nothing is under way any more.
    pub(crate) async fn settled(&self, upstream: &Upstream) -> Result<Sample, BoxError> {
        let start = Instant::now();
        let mut before = self.sample().await?;
        loop {
            sleep(Duration::from_millis(200)).await;
            let now = self.sample().await?;
            let is_still = (now.tasks, now.files) == (before.tasks, before.files);
            if (is_still && upstream.connections() == 0) || start.elapsed() > PATIENCE {
                return Ok(now);
            }
            before = now;
        }
    }

    async fn check_health(&self) -> Result<(), BoxError> {
        let history = &self.ledger.history;
        let (before, newest_seen) = (Instant::now(), self.ledger.newest_seen());
        let (code, health) = self.json("/health").await?;
        let after = Instant::now();
        let stats = &health["model_service"]["cache_info"];
        let status = health["status"].as_str().unwrap_or_default();
        let must_be_known = history.must_be_known(before);
        // Either way it must have been so before the page was made, and still after.
        let was_good = must_be_known.is_some() && history.must_be_known(after).is_some();
        let was_bad = history.must_be_degraded(before) && history.must_be_degraded(after);
        let list = stats["last_hash"].as_str();
        let list = list.and_then(|hash| history.list_of(hash));
        let holds = list.is_some_and(|list| {
            let count = models(list).count();
            list >= newest_seen.max(must_be_known.unwrap_or(0))
                && health["model_service"]["model_count"] == count
                && stats["cached_blockchain_ids"] == count
        });
        let age = stats["age_seconds"].as_f64().unwrap_or(f64::MAX);
        let holds = holds
            && code == 200
            && (status == "degraded") == stats["last_error"].is_string()
            && (status == "healthy") == stats["last_error"].is_null()
            && (!was_good || (status == "healthy" && age <= ALLOWED.as_secs_f64()))
            && (!was_bad || status == "degraded");
        self.ledger.checks.check(Check::Health, holds, || {
            format!(
                "list {list:?} ({newest_seen} seen, {must_be_known:?} must be known, good: \
                 {was_good}, bad: {was_bad}): {health}"
            )
        });
        Ok(())
    }

    async fn check_models(&self) -> Result<(), BoxError> {
        let newest_seen = self.ledger.newest_seen();
        let (_, page) = self.json("/v1/models").await?;
        let mut list = None;
        let mut count = 0;
        let are_listed = page["data"].as_array().into_iter().flatten().all(|entry| {
            let id = entry["blockchainID"].as_str().unwrap_or_default();
            let served = Served::from_id(id.as_bytes());
            count += 1;
            served.is_some_and(|served| {
                served.name() == entry["id"] && *list.get_or_insert(served.list) == served.list
            })
        });
        let is_served = list.is_some_and(|list| {
            list >= newest_seen
                && self.ledger.history.has_served(list)
                && count == models(list).count()
        });
        self.check(Check::Models, are_listed && is_served, &page);
        Ok(())
    }

    /// Waits until the proxy takes no more than it did, if it ever does.
    pub(crate) async fn check_freed(
        &self,
        before: &Sample,
        upstream: &Upstream,
    ) -> Result<Sample, BoxError> {
        let start = Instant::now();
        let now = loop {
            let now = self.sample().await?;
            let is_free = now.held == 0
                && now.tasks <= before.tasks
                && now.files <= before.files
                && upstream.under_way() == 0;
            if is_free || start.elapsed() > PATIENCE {
                break now;
            }
            sleep(Duration::from_millis(100)).await;
        };
        let checks = &self.ledger.checks;
        let check = |check, holds, what: &str| {
            checks.check(check, holds, || format!("{what}: {before:?}, then {now:?}"));
        };
        check(Check::Held, now.held == 0, "held bytes");
        check(Check::Tasks, now.tasks <= before.tasks, "tasks");
        check(Check::Files, now.files <= before.files, "files");
        check(Check::Files, now.threads <= before.threads, "threads");
        let (under_way, connections) = (upstream.under_way(), upstream.connections());
        checks.check(Check::Upstream, under_way + connections == 0, || {
            format!("{under_way} requests and {connections} connections")
        });
        Ok(now)
    }

    async fn json(&self, path: &str) -> Result<(u16, Value), BoxError> {
        let (status, page) = page(self.proxy, path).await?;
        Ok((status, serde_json::from_slice(&page)?))
    }

    fn check(&self, check: Check, holds: bool, page: &Value) {
        let complaint = || page.to_string().chars().take(1_000).collect();
        self.ledger.checks.check(check, holds, complaint);
    }
}

/// A level that should not change: the medians of the second fifth of the time
/// and of the last.
pub(crate) fn levels(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> (f64, f64) {
    let fifth = samples.len() / 5;
    let median = |samples: &[Sample]| {
        let mut values: Vec<_> = samples.iter().map(&of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    (
        median(&samples[fifth..2 * fifth]),
        median(&samples[samples.len() - fifth..]),
    )
}

/// Checks that memory and files did not grow under load.
pub(crate) fn check_flat(samples: &[Sample], checks: &Checks) {
    const MIB: f64 = 1024.0 * 1024.0;

    let (before, after) = levels(samples, |sample| sample.memory as f64);
    checks.check(Check::Memory, after <= before * 1.1 + 2.0 * MIB, || {
        format!("{:.1} MiB, then {:.1}", before / MIB, after / MIB)
    });
    let (before, after) = levels(samples, |sample| sample.files as f64);
    checks.check(Check::Files, after <= before * 1.25 + 10.0, || {
        format!("{before} files, then {after}")
    });
    let (before, after) = levels(samples, |sample| sample.tasks as f64);
    checks.check(Check::Tasks, after <= before * 1.25 + 10.0, || {
        format!("{before} tasks, then {after}")
    });
}

/// The value of a metric without labels, or with these.
fn number(page: &str, name: &str) -> Result<u64, BoxError> {
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value: f64 = value.ok_or_else(|| format!("no {name}"))?.trim().parse()?;
    Ok(value as u64)
}
