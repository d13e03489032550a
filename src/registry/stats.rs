//! The state of a registry, for health pages and metrics.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    error::RegistryError,
    freshness::Freshness,
    policy::RegistryPolicy,
    snapshot::{Refreshed, Snapshot},
};

/// The state of a [`Registry`](super::Registry), for health pages and metrics.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{Registry, RegistryHealth};
/// # use tower_model_routing::registry::{FetchFuture, Fetched, RegistrySource};
///
/// # struct Source;
/// # impl RegistrySource for Source {
/// #     fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
/// #         let document = br#"{"models":[{"Id":"0xb603","Name":"venice-uncensored"}]}"#;
/// #         Box::pin(async { Ok(Fetched::document(&document[..])) })
/// #     }
/// #     fn location(&self) -> String {
/// #         "a constant".to_owned()
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(Source).build()?;
/// assert_eq!(registry.stats().health(), RegistryHealth::Unhealthy);
///
/// registry.refresh().await?;
/// let stats = registry.stats();
/// assert_eq!(stats.health(), RegistryHealth::Healthy);
/// assert_eq!((stats.models, stats.fetches), (1, 1));
/// assert!(stats.age < Some(stats.ttl));
/// assert!(stats.last_error.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistryStats {
    /// The number of models in the catalog.
    pub models: usize,
    /// The number of different IDs in the catalog.
    pub ids: usize,
    /// The number of names that more than one entry of the catalog has.
    pub ambiguous_names: usize,
    /// The SHA-256 of the document that the catalog was parsed from.
    pub sha256: Option<[u8; 32]>,
    /// The ETag of that document.
    pub etag: Option<String>,
    /// The time since the catalog was last fetched or confirmed, or since the registry was built
    /// with it.
    pub age: Option<Duration>,
    /// The TTL of catalogs.
    pub ttl: Duration,
    /// The rest of the catalog's TTL: zero after its end.
    pub expires_in: Option<Duration>,
    /// The end of the catalog's TTL, which may be in the past.
    pub expires_at: Option<SystemTime>,
    /// The number of fetches started.
    pub fetches: u64,
    /// The number of fetches that returned a new catalog, the first one included.
    pub refreshes_changed: u64,
    /// The number of fetches that confirmed the catalog.
    pub refreshes_unchanged: u64,
    /// The number of fetches that failed.
    pub refreshes_failed: u64,
    /// The error of the last fetch, if it failed.
    pub last_error: Option<RegistryError>,
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
            models: catalog.map_or(0, |c| c.len()),
            ids: catalog.map_or(0, |c| c.id_count()),
            ambiguous_names: catalog.map_or(0, |c| c.ambiguous_names()),
            sha256: catalog.map(|c| *c.sha256()),
            etag: snapshot.etag.as_deref().map(str::to_owned),
            age: freshness.age(now),
            ttl: policy.ttl,
            expires_in: freshness.until_expiry(now),
            expires_at: expires_at(freshness, now),
            fetches: counters.fetches,
            refreshes_changed: counters.changed,
            refreshes_unchanged: counters.unchanged,
            refreshes_failed: counters.failed,
            last_error: snapshot.error.clone(),
            health: RegistryHealth::of(snapshot, now),
        }
    }

    /// Returns the state in one word.
    pub fn health(&self) -> RegistryHealth {
        self.health
    }
}

/// The state of a [`Registry`](super::Registry) in one word.
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

    /// Returns `healthy`, `degraded` or `unhealthy`.
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

/// The counters of [`RegistryStats`].
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

fn expires_at(freshness: &Freshness, now: Instant) -> Option<SystemTime> {
    let remaining = freshness.until_expiry(now)?;
    let elapsed = freshness.since_expiry(now)?;
    SystemTime::now()
        .checked_add(remaining)?
        .checked_sub(elapsed)
}
