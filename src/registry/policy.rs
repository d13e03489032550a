//! How long a catalog is good for.

use std::time::Duration;

/// How long a catalog is good for, and how long a request may wait for a newer
/// one.
///
/// Every field has a default; change the ones you care about:
///
/// ```
/// use std::time::Duration;
/// use tower_model_routing::RegistryPolicy;
///
/// let mut policy = RegistryPolicy::default();
/// policy.ttl = Duration::from_secs(60);
/// policy.max_stale = Some(Duration::from_secs(24 * 60 * 60));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryPolicy {
    /// How long a catalog is good for after it was last fetched or confirmed:
    /// 300 s by default.
    ///
    /// It is refreshed in the background from about 80 % of this age on, so
    /// that under steady traffic nobody ever waits for it. The first refresh
    /// after many failures in a row may come from 30 % on, so that the gateways
    /// that waited for the source's return do not stay in step.
    pub ttl: Duration,

    /// How long one fetch may take in all before it counts as failed: 10 s by
    /// default.
    pub fetch_timeout: Duration,

    /// How old the catalog has to be before a name that is not in it starts a
    /// fetch of its own, and how much time lies between two such fetches: 10 s
    /// by default.
    ///
    /// Zero makes every unknown name wait for a fetch.
    pub miss_refresh: Duration,

    /// How long a request waits for a refresh when there is an older catalog
    /// that it could use, counted from the start of the fetch: 2 s by default.
    pub max_refresh_wait: Duration,

    /// The age from which on a catalog is not used any more even when no newer
    /// one can be had. `None`, the default, means never: an old catalog is
    /// better than none.
    pub max_stale: Option<Duration>,
}

impl Default for RegistryPolicy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            fetch_timeout: Duration::from_secs(10),
            miss_refresh: Duration::from_secs(10),
            max_refresh_wait: Duration::from_secs(2),
            max_stale: None,
        }
    }
}
