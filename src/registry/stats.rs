//! The registry in numbers, for health pages and metrics.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::time::Instant;

use super::{Refreshed, catalog::hex, policy::RegistryPolicy, snapshot::Snapshot};

/// The last second that RFC 3339 can name: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The state of a [`Registry`](crate::Registry), for health pages and metrics.
///
/// Serialises to one flat object with the names of the fields.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RegistryStats {
    /// The models in the catalog.
    pub cached_models: usize,
    /// The different IDs they have.
    pub cached_blockchain_ids: usize,
    /// When the TTL of the catalog ends or ended, in RFC 3339. `None` without a
    /// catalog.
    pub cache_expiry: Option<String>,
    /// The same, in seconds from now: zero once the TTL is over.
    pub seconds_until_expiry: Option<f64>,
    /// The seconds since the catalog was last fetched, confirmed, or given at
    /// start.
    pub age_seconds: Option<f64>,
    /// The SHA-256 of the document the catalog was parsed from, in hex.
    pub last_hash: Option<String>,
    /// The ETag that came with it.
    pub last_etag: Option<String>,
    /// The TTL in seconds.
    pub cache_duration: f64,
    /// The fetches started.
    pub fetches: u64,
    /// The fetches that brought a new catalog; the first one counts.
    pub refreshes_changed: u64,
    /// The fetches that confirmed the catalog we had.
    pub refreshes_unchanged: u64,
    /// The fetches that failed.
    pub refreshes_failed: u64,
    /// What went wrong with the last fetch. `None` once one has succeeded.
    pub last_error: Option<String>,
    /// The names that more than one entry of the catalog claims.
    pub ambiguous_names: usize,
    #[serde(skip)]
    health: RegistryHealth,
}

impl RegistryStats {
    pub(super) fn new(
        snapshot: &Snapshot,
        counters: &Counters,
        policy: &RegistryPolicy,
        now: Instant,
    ) -> Self {
        let catalog = snapshot.catalog.as_deref();
        let freshness = &snapshot.freshness;
        Self {
            cached_models: catalog.map_or(0, |c| c.len()),
            cached_blockchain_ids: catalog.map_or(0, |c| c.id_count()),
            cache_expiry: expiry(snapshot, now),
            seconds_until_expiry: freshness.until_expiry(now).map(|d| d.as_secs_f64()),
            age_seconds: freshness.age(now).map(|d| d.as_secs_f64()),
            last_hash: catalog.map(|c| hex(c.sha256())),
            last_etag: snapshot.etag.as_deref().map(str::to_owned),
            cache_duration: policy.ttl.as_secs_f64(),
            fetches: counters.fetches,
            refreshes_changed: counters.changed,
            refreshes_unchanged: counters.unchanged,
            refreshes_failed: counters.failed,
            last_error: snapshot.error.as_ref().map(|e| e.report().to_string()),
            ambiguous_names: catalog.map_or(0, |c| c.ambiguous_names()),
            health: RegistryHealth::of(snapshot, now),
        }
    }

    /// The state in one word.
    pub fn health(&self) -> RegistryHealth {
        self.health
    }
}

/// The state of a [`Registry`](crate::Registry) in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryHealth {
    /// There is a catalog, and the last refresh, if there was one, succeeded.
    Healthy,
    /// There is a catalog, but the last refresh failed.
    Degraded,
    /// There is no catalog, or it is older than the policy's `max_stale`.
    Unhealthy,
}

impl RegistryHealth {
    fn of(snapshot: &Snapshot, now: Instant) -> Self {
        if !snapshot.freshness.usable(now) {
            Self::Unhealthy
        } else if snapshot.error.is_some() {
            Self::Degraded
        } else {
            Self::Healthy
        }
    }

    /// `healthy`, `degraded` or `unhealthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for RegistryHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What has happened since the registry was made.
#[derive(Debug, Default, Clone)]
pub(super) struct Counters {
    pub(super) fetches: u64,
    pub(super) changed: u64,
    pub(super) unchanged: u64,
    pub(super) failed: u64,
}

impl Counters {
    pub(super) fn count(&mut self, refreshed: Refreshed) {
        match refreshed {
            Refreshed::Changed => self.changed += 1,
            Refreshed::Unchanged => self.unchanged += 1,
        }
    }
}

fn expiry(snapshot: &Snapshot, now: Instant) -> Option<String> {
    let left = snapshot.freshness.until_expiry(now)?;
    let past = snapshot.freshness.since_expiry(now)?;
    let at = SystemTime::now().checked_add(left)?.checked_sub(past)?;
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since_epoch <= Duration::from_secs(LAST_SECOND))
        .then(|| humantime::format_rfc3339_millis(at).to_string())
}
