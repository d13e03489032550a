//! The policy of a registry (durations, and the limit of a document), and its validation.

use std::{fmt, time::Duration};

/// The shortest duration that a setting accepts if zero has no meaning for it.
pub(crate) const MIN_DURATION: Duration = Duration::from_millis(1);

/// The longest duration that a setting accepts. Instants computed from it do not overflow.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The longest document by default.
pub(super) const DEFAULT_MAX_CATALOG_BYTES: usize = 8 << 20;

/// The durations for which a [`Registry`](super::Registry) uses a catalog and requests wait for it,
/// and the limit of its size.
///
/// [`RegistryBuilder`](super::RegistryBuilder) makes and validates it, and
/// [`Registry::policy`](super::Registry::policy) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryPolicy {
    /// See [`RegistryBuilder::ttl`](super::RegistryBuilder::ttl).
    pub ttl: Duration,
    /// See [`RegistryBuilder::fetch_timeout`](super::RegistryBuilder::fetch_timeout).
    pub fetch_timeout: Duration,
    /// See [`RegistryBuilder::miss_refresh`](super::RegistryBuilder::miss_refresh).
    pub miss_refresh: Duration,
    /// See [`RegistryBuilder::max_refresh_wait`](super::RegistryBuilder::max_refresh_wait).
    pub max_refresh_wait: Duration,
    /// See [`RegistryBuilder::max_stale`](super::RegistryBuilder::max_stale).
    pub max_stale: Option<Duration>,
    /// See [`RegistryBuilder::max_catalog_bytes`](super::RegistryBuilder::max_catalog_bytes).
    pub max_catalog_bytes: usize,
}

impl RegistryPolicy {
    /// Checks every setting against its bounds.
    pub(crate) fn validate(&self) -> Result<(), PolicyError> {
        check_bounds("ttl", self.ttl, MIN_DURATION)?;
        check_bounds("fetch_timeout", self.fetch_timeout, MIN_DURATION)?;
        check_bounds("miss_refresh", self.miss_refresh, Duration::ZERO)?;
        check_bounds("max_refresh_wait", self.max_refresh_wait, Duration::ZERO)?;
        match self.max_stale {
            Some(max_stale) => check_bounds("max_stale", max_stale, self.ttl),
            None => Ok(()),
        }
    }
}

impl Default for RegistryPolicy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            fetch_timeout: Duration::from_secs(10),
            miss_refresh: Duration::from_secs(10),
            max_refresh_wait: Duration::from_secs(2),
            max_stale: None,
            max_catalog_bytes: DEFAULT_MAX_CATALOG_BYTES,
        }
    }
}

/// The error of a setting of a [`RegistryBuilder`](super::RegistryBuilder) that is out of its
/// bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    setting: &'static str,
    reason: String,
}

impl PolicyError {
    /// Returns the name of the builder's method for the setting.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Returns the problem with the value, which follows the setting's name in a message.
    pub(crate) fn into_reason(self) -> String {
        self.reason
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.reason)
    }
}

impl std::error::Error for PolicyError {}

/// Checks that `value` is from `min` to [`MAX_DURATION`].
pub(crate) fn check_bounds(
    setting: &'static str,
    value: Duration,
    min: Duration,
) -> Result<(), PolicyError> {
    if (min..=MAX_DURATION).contains(&value) {
        return Ok(());
    }
    let reason = format!(
        "is {} s; it must be from {} s to {} s (a year)",
        value.as_secs_f64(),
        min.as_secs_f64(),
        MAX_DURATION.as_secs()
    );
    Err(PolicyError { setting, reason })
}
