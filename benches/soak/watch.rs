//! Watches the proxy's process and its admin routes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use benches::{
    process::{open_files, status},
    proxy::metric,
    rounds::quantile,
};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower_model_routing::BoxError;

use crate::{
    catalogs::{ALIASES, Served, models},
    checks::{Check, Checks},
    client::{Clients, page},
    history::ALLOWED,
    request_log::RequestLog,
    upstream::Upstream,
};

/// The limit of every wait.
const TIMEOUT: Duration = Duration::from_secs(40);

pub(crate) struct Watch {
    proxy: SocketAddr,
    /// The proxy's address for operators.
    admin: SocketAddr,
    id: u32,
    log: Arc<RequestLog>,
    samples: Mutex<Vec<Sample>>,
}

/// The proxy's resources at an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) memory: u64,
    pub(crate) files: usize,
    pub(crate) threads: u64,
    pub(crate) tasks: u64,
    pub(crate) held: u64,
    /// The number of requests that have ended so far.
    pub(crate) ended: u64,
    /// The times of plain requests since the last sample, in seconds.
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

impl Watch {
    pub(crate) fn new(proxy: SocketAddr, admin: SocketAddr, id: u32, log: Arc<RequestLog>) -> Self {
        Self {
            proxy,
            admin,
            id,
            log,
            samples: Mutex::default(),
        }
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a sample and checks the pages each second, until it is dropped.
    pub(crate) async fn run(&self, clients: &Clients) -> Result<(), BoxError> {
        let mut ticks = interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.check_health().await?;
            ticks.tick().await;
            self.check_models().await?;
            self.check_public_health().await?;
            self.check_health().await?;
            ticks.tick().await;
            let mut sample = self.sample().await?;
            let seconds = clients.take_timings();
            sample.median = quantile(seconds.iter().copied(), 0.5);
            sample.p99 = quantile(seconds, 0.99);
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.push(sample);
            drop(samples);
            self.log.forget();
        }
    }

    pub(crate) async fn sample(&self) -> Result<Sample, BoxError> {
        let metrics = self.metrics().await?;
        Ok(Sample {
            at: Instant::now(),
            memory: status(self.id, "VmRSS")?,
            files: open_files(self.id)?,
            threads: status(self.id, "Threads")?,
            tasks: number(&metrics, "proxy_tasks")?,
            held: number(&metrics, "model_routing_held_bytes")?,
            ended: self.log.ended(),
            median: 0.0,
            p99: 0.0,
        })
    }

    /// Returns how many requests were in the layer for longer than 0.5 s, and how many there were.
    pub(crate) async fn late(&self) -> Result<(u64, u64), BoxError> {
        let metrics = self.metrics().await?;
        let all = number(&metrics, "model_routing_layer_seconds_count")?;
        let bucket = "model_routing_layer_seconds_bucket{le=\"0.5\"}";
        Ok((all - number(&metrics, bucket)?, all))
    }

    /// Returns how many lines of the proxy's log were dropped.
    pub(crate) async fn dropped_lines(&self) -> Result<u64, BoxError> {
        number(&self.metrics().await?, "proxy_log_lines_dropped_total")
    }

    async fn metrics(&self) -> Result<String, BoxError> {
        let (_, page) = page(self.admin, "/metrics").await?;
        Ok(String::from_utf8(page.to_vec())?)
    }

    /// Checks the pages before the first catalog.
    pub(crate) async fn check_cold(&self) -> Result<(), BoxError> {
        let (status, health) = self.json(self.admin, "/health").await?;
        let holds = status == 503 && health["status"] == "unhealthy";
        self.check(Check::Cold, holds, &health);
        let (status, models) = self.json(self.proxy, "/v1/models").await?;
        let holds = status == 503 && models["error"]["code"] == "model_registry_unavailable";
        self.check(Check::Cold, holds, &models);
        Ok(())
    }

    /// Waits until the proxy has this catalog.
    pub(crate) async fn wait_for(&self, catalog: u64) -> Result<(), BoxError> {
        let start = Instant::now();
        loop {
            let (_, health) = self.json(self.admin, "/health").await?;
            let hash = health["model_service"]["cache_info"]["last_hash"].as_str();
            let found = hash.and_then(|hash| self.log.history.catalog_of(hash));
            if found == Some(catalog) || start.elapsed() > TIMEOUT {
                self.check(Check::Recovery, found == Some(catalog), &health);
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until no request is in flight, and returns a sample.
    pub(crate) async fn settled(&self, upstream: &Upstream) -> Result<Sample, BoxError> {
        let start = Instant::now();
        let mut before = self.sample().await?;
        loop {
            sleep(Duration::from_millis(200)).await;
            let now = self.sample().await?;
            let is_still = (now.tasks, now.files) == (before.tasks, before.files);
            if (is_still && upstream.connections() == 0) || start.elapsed() > TIMEOUT {
                return Ok(now);
            }
            before = now;
        }
    }

    async fn check_health(&self) -> Result<(), BoxError> {
        let history = &self.log.history;
        let (before, newest_seen) = (Instant::now(), self.log.newest_seen());
        let (code, health) = self.json(self.admin, "/health").await?;
        let after = Instant::now();
        let stats = &health["model_service"]["cache_info"];
        let status = health["status"].as_str().unwrap_or_default();
        let must_be_known = history.must_be_known(before);
        // The page was made between `before` and `after`.
        let was_good = must_be_known.is_some() && history.must_be_known(after).is_some();
        let was_bad = history.must_be_degraded(before) && history.must_be_degraded(after);
        let catalog = stats["last_hash"].as_str();
        let catalog = catalog.and_then(|hash| history.catalog_of(hash));
        let holds = catalog.is_some_and(|catalog| {
            let count = models(catalog).count();
            catalog >= newest_seen.max(must_be_known.unwrap_or(0))
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
        self.log.checks.check(Check::Health, holds, || {
            format!(
                "catalog {catalog:?} ({newest_seen} seen, {must_be_known:?} must be known, good: \
                 {was_good}, bad: {was_bad}): {health}"
            )
        });
        Ok(())
    }

    async fn check_public_health(&self) -> Result<(), BoxError> {
        let (code, health) = self.json(self.proxy, "/health").await?;
        let members = health.as_object().map_or(0, |health| health.len());
        let holds = code == 200 && members == 1 && health["status"].is_string();
        self.check(Check::PublicHealth, holds, &health);
        Ok(())
    }

    async fn check_models(&self) -> Result<(), BoxError> {
        let newest_seen = self.log.newest_seen();
        let (_, page) = self.json(self.proxy, "/v1/models").await?;
        let mut catalog = None;
        let mut count = 0;
        let are_served = page["data"].as_array().into_iter().flatten().all(|entry| {
            let id = entry["blockchainID"].as_str().unwrap_or_default();
            let served = Served::from_id(id.as_bytes());
            count += 1;
            served.is_some_and(|served| {
                names(served).any(|name| name == entry["id"])
                    && *catalog.get_or_insert(served.catalog) == served.catalog
            })
        });
        let is_known = catalog.is_some_and(|catalog| {
            catalog >= newest_seen
                && self.log.history.has_served(catalog)
                && count == models(catalog).flat_map(names).count()
        });
        self.check(Check::Models, are_served && is_known, &page);
        Ok(())
    }

    /// Waits until the proxy uses no more than before, and checks that.
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
                && upstream.in_flight() == 0;
            if is_free || start.elapsed() > TIMEOUT {
                break now;
            }
            sleep(Duration::from_millis(100)).await;
        };
        let checks = &self.log.checks;
        let check = |check, holds, what: &str| {
            checks.check(check, holds, || format!("{what}: {before:?}, then {now:?}"));
        };
        check(Check::Held, now.held == 0, "held bytes");
        check(Check::Tasks, now.tasks <= before.tasks, "tasks");
        check(Check::Files, now.files <= before.files, "files");
        check(Check::Files, now.threads <= before.threads, "threads");
        let (in_flight, connections) = (upstream.in_flight(), upstream.connections());
        checks.check(Check::Upstream, in_flight + connections == 0, || {
            format!("{in_flight} requests and {connections} connections")
        });
        Ok(now)
    }

    async fn json(&self, address: SocketAddr, path: &str) -> Result<(u16, Value), BoxError> {
        let (status, page) = page(address, path).await?;
        Ok((status, serde_json::from_slice(&page)?))
    }

    fn check(&self, check: Check, holds: bool, page: &Value) {
        let detail = || page.to_string().chars().take(1_000).collect();
        self.log.checks.check(check, holds, detail);
    }
}

/// Returns the medians of the second and the last fifth of the time.
pub(crate) fn levels(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> (f64, f64) {
    let [early, late] = fifths(samples);
    (median(early, &of), median(late, &of))
}

/// Returns the samples of the second and the last fifth of the time.
fn fifths(samples: &[Sample]) -> [&[Sample]; 2] {
    let fifth = samples.len() / 5;
    [
        &samples[fifth..2 * fifth],
        &samples[samples.len() - fifth..],
    ]
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    quantile(samples.iter().map(of), 0.5)
}

/// Returns the half of the samples with the fewest tasks: while the machine is busy with something
/// else, more requests are in flight.
fn calm(samples: &[Sample]) -> Vec<Sample> {
    let usual = median(samples, |sample| sample.tasks as f64);
    let is_calm = |sample: &&Sample| sample.tasks as f64 <= usual;
    samples.iter().filter(is_calm).cloned().collect()
}

/// Checks that memory, files and tasks do not grow under load, from one calm time to another.
pub(crate) fn check_flat(samples: &[Sample], checks: &Checks) {
    const MIB: f64 = 1024.0 * 1024.0;

    let [early, late] = fifths(samples).map(calm);
    let levels = |of: fn(&Sample) -> f64| (median(&early, of), median(&late, of));
    let (before, after) = levels(|sample| sample.memory as f64);
    checks.check(Check::Memory, after <= before * 1.1 + 2.0 * MIB, || {
        format!("{:.1} MiB, then {:.1}", before / MIB, after / MIB)
    });
    let (before, after) = levels(|sample| sample.files as f64);
    checks.check(Check::Files, after <= before * 1.25 + 10.0, || {
        format!("{before} files, then {after}")
    });
    let (before, after) = levels(|sample| sample.tasks as f64);
    checks.check(Check::Tasks, after <= before * 1.25 + 10.0, || {
        format!("{before} tasks, then {after}")
    });
}

/// Returns the names under which `/v1/models` has a model: its own and aliases that are no pattern.
fn names(served: Served) -> impl Iterator<Item = &'static str> {
    let is_listed = move |alias: &&(&str, &str)| alias.1 == served.name() && !alias.0.contains('*');
    let aliases = ALIASES.iter().filter(is_listed).map(|alias| alias.0);
    aliases.chain([served.name()])
}

fn number(page: &str, name: &str) -> Result<u64, BoxError> {
    Ok(metric(page, name).ok_or_else(|| format!("no {name}"))? as u64)
}
