//! Decides when a catalog is used, refreshed or waited for; time and chance are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::policy::RegistryPolicy;

/// The share of the TTL after which a catalog is refreshed in the background.
const REFRESH_AT: f64 = 0.8;
/// The jitter of that point to either side, so that many gateways do not fetch at the same time.
const REFRESH_JITTER: f64 = 0.1;
/// The number of failures in a row, usually about a minute of them, that counts as an outage. All
/// gateways of a fleet succeed within [`MAX_BACKOFF`] after it.
const OUTAGE_FAILURES: u32 = 7;
/// The earliest point of the first refresh after an outage, so that the fleet spreads out again.
const REFRESH_AT_AFTER_OUTAGE: f64 = 0.3;
/// The backoff after the first failure. It doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The largest share of a backoff that jitter takes away.
const BACKOFF_JITTER: f64 = 0.5;
/// The time after its timeout within which a fetch ends unless the process was suspended.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);

/// The instants of a snapshot that decide what requests do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Freshness {
    validity: Option<Validity>,
    failure: Option<Failure>,
}

/// The validity of the catalog of a snapshot.
#[derive(Debug, Clone, PartialEq)]
struct Validity {
    validated_at: Instant,
    refresh_at: Instant,
    expires_at: Instant,
    /// The instant of `max_stale`, from which on the catalog is not used.
    unusable_at: Option<Instant>,
    /// The catalog is the initial one, whose age is unknown.
    seeded: bool,
}

/// The failures since the last success.
#[derive(Debug, Clone, PartialEq)]
struct Failure {
    consecutive: u32,
    retry_at: Instant,
}

/// The action of a request on the catalog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CatalogAction {
    /// Use the catalog.
    Use,
    /// Use the catalog, and start a refresh in the background.
    UseAndRefresh,
    /// Join or start a refresh, wait for it until this instant, and use the newest catalog.
    RefreshUntil(Instant),
    /// Join or start the fetch of a first catalog, and wait for its end.
    Fetch,
    /// There is no catalog, and the next fetch is this far away.
    Unavailable(Duration),
}

/// The action of a request whose name is not in the catalog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum MissAction {
    /// Use the catalog: it is recent, or a refresh is not due.
    Use,
    /// Wait for the refresh in flight until this instant.
    Join(Instant),
    /// Start a refresh, and wait for it until this instant.
    Start(Instant),
}

impl Freshness {
    /// Returns the state before the first fetch.
    pub(super) fn cold() -> Self {
        Self {
            validity: None,
            failure: None,
        }
    }

    /// Returns the state with an initial catalog, which is stale from the start.
    pub(super) fn seeded(policy: &RegistryPolicy, now: Instant) -> Self {
        let mut freshness = Self::cold().validated(policy, now, 0.0);
        if let Some(validity) = &mut freshness.validity {
            validity.refresh_at = now;
            validity.seeded = true;
        }
        freshness
    }

    /// Returns the state after a refresh at `now`. `chance` is in `0.0..1.0`.
    pub(super) fn validated(&self, policy: &RegistryPolicy, now: Instant, chance: f64) -> Self {
        let latest = REFRESH_AT * (1.0 + REFRESH_JITTER);
        let earliest = match self.failures() {
            OUTAGE_FAILURES.. => REFRESH_AT_AFTER_OUTAGE,
            _ => REFRESH_AT * (1.0 - REFRESH_JITTER),
        };
        let refresh_at = earliest + (latest - earliest) * chance;
        Self {
            validity: Some(Validity {
                validated_at: now,
                refresh_at: now + policy.ttl.mul_f64(refresh_at),
                expires_at: now + policy.ttl,
                unusable_at: policy.max_stale.map(|age| now + age),
                seeded: false,
            }),
            failure: None,
        }
    }

    /// Returns the state after a failure at `now`. `chance` is in `0.0..1.0`.
    pub(super) fn failed(&self, policy: &RegistryPolicy, now: Instant, chance: f64) -> Self {
        let consecutive = self.failures().saturating_add(1);
        let doublings = (consecutive - 1).min(16);
        let backoff = FIRST_BACKOFF
            .saturating_mul(1 << doublings)
            .min(MAX_BACKOFF)
            .min(policy.ttl)
            .mul_f64(1.0 - BACKOFF_JITTER * chance);
        let retry_at = now + backoff;
        // A catalog within its TTL is retried before the TTL ends.
        let retry_at = match &self.validity {
            Some(validity) if now < validity.expires_at => retry_at.min(validity.expires_at),
            _ => retry_at,
        };
        Self {
            validity: self.validity.clone(),
            failure: Some(Failure {
                consecutive,
                retry_at,
            }),
        }
    }

    /// Returns whether a request uses the catalog and starts nothing: the hot path.
    pub(super) fn needs_no_check(&self, now: Instant) -> bool {
        let Some(validity) = &self.validity else {
            return false;
        };
        let next_check = match &self.failure {
            None => validity.refresh_at,
            Some(failure) => failure.retry_at,
        };
        now < next_check && validity.usable(now)
    }

    /// Returns the action of a request. `in_flight_since` is the start of the refresh in flight.
    pub(super) fn assess(
        &self,
        policy: &RegistryPolicy,
        in_flight_since: Option<Instant>,
        now: Instant,
    ) -> CatalogAction {
        let usable = self.validity.as_ref().filter(|v| v.usable(now));
        match (usable, &self.failure, in_flight_since) {
            (None, _, Some(_)) => CatalogAction::Fetch,
            (None, Some(failure), None) if now < failure.retry_at => {
                CatalogAction::Unavailable(failure.retry_at - now)
            }
            (None, _, None) => CatalogAction::Fetch,

            (Some(validity), Some(failure), None) if failure.is_outdated(validity, now) => {
                wait_for_refresh(policy, now)
            }
            (Some(_), Some(failure), None) if now >= failure.retry_at => {
                CatalogAction::UseAndRefresh
            }
            (Some(validity), Some(failure), Some(started))
                if failure.is_outdated(validity, started) =>
            {
                wait_for_in_flight(policy, started, now)
            }
            (Some(_), Some(_), _) => CatalogAction::Use,

            (Some(validity), None, None) if now < validity.refresh_at => CatalogAction::Use,
            (Some(validity), None, None) if now < validity.expires_at => {
                CatalogAction::UseAndRefresh
            }
            (Some(_), None, None) => wait_for_refresh(policy, now),

            // Under steady traffic the refresh starts within the TTL, and no request waits.
            (Some(validity), None, Some(started)) if started < validity.expires_at => {
                CatalogAction::Use
            }
            (Some(_), None, Some(started)) => wait_for_in_flight(policy, started, now),
        }
    }

    /// Returns the action of a request if its name is not in the catalog. `last_miss` is when such
    /// a request last started a refresh.
    pub(super) fn assess_miss(
        &self,
        policy: &RegistryPolicy,
        last_miss: Option<Instant>,
        in_flight_since: Option<Instant>,
        now: Instant,
    ) -> MissAction {
        let Some(validity) = &self.validity else {
            return MissAction::Use;
        };
        let old_enough = |since: Instant| now.duration_since(since) >= policy.miss_refresh;
        if !validity.seeded && !old_enough(validity.validated_at) {
            return MissAction::Use;
        }
        if let Some(started) = in_flight_since {
            let until = started + policy.max_refresh_wait;
            return if now < until {
                MissAction::Join(until)
            } else {
                MissAction::Use
            };
        }
        let backing_off = self.failure.as_ref().is_some_and(|f| now < f.retry_at);
        if backing_off || !last_miss.is_none_or(old_enough) {
            return MissAction::Use;
        }
        MissAction::Start(now + policy.max_refresh_wait)
    }

    /// Returns the number of failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failure.as_ref().map_or(0, |f| f.consecutive)
    }

    /// Returns the rest of the backoff.
    pub(super) fn backoff_remaining(&self, now: Instant) -> Duration {
        self.failure
            .as_ref()
            .map_or(Duration::ZERO, |f| f.retry_at.duration_since(now))
    }

    /// Returns the age of the catalog.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let validity = self.validity.as_ref()?;
        Some(now.duration_since(validity.validated_at))
    }

    /// Returns the rest of the TTL, or zero after its end.
    pub(super) fn until_expiry(&self, now: Instant) -> Option<Duration> {
        let validity = self.validity.as_ref()?;
        Some(validity.expires_at.duration_since(now))
    }

    /// Returns the time since the end of the TTL, or zero before it.
    pub(super) fn since_expiry(&self, now: Instant) -> Option<Duration> {
        let validity = self.validity.as_ref()?;
        Some(now.duration_since(validity.expires_at))
    }

    /// Returns whether there is a catalog that may be used.
    pub(super) fn usable(&self, now: Instant) -> bool {
        self.validity.as_ref().is_some_and(|v| v.usable(now))
    }
}

/// Starts the refresh of an expired catalog.
fn wait_for_refresh(policy: &RegistryPolicy, now: Instant) -> CatalogAction {
    if policy.max_refresh_wait.is_zero() {
        CatalogAction::UseAndRefresh
    } else {
        CatalogAction::RefreshUntil(now + policy.max_refresh_wait)
    }
}

/// Joins the refresh of an expired catalog. All requests wait until the same instant.
fn wait_for_in_flight(policy: &RegistryPolicy, started: Instant, now: Instant) -> CatalogAction {
    let until = started + policy.max_refresh_wait;
    if now < until {
        CatalogAction::RefreshUntil(until)
    } else {
        CatalogAction::Use
    }
}

impl Failure {
    /// Returns whether the catalog has expired and no request has retried for so long that the
    /// failure is outdated: the catalog is treated as merely expired.
    fn is_outdated(&self, validity: &Validity, now: Instant) -> bool {
        now >= validity.expires_at && now >= self.retry_at + MAX_BACKOFF
    }
}

impl Validity {
    fn usable(&self, now: Instant) -> bool {
        self.unusable_at.is_none_or(|at| now < at)
    }
}

/// Returns the instant from which on a fetch in flight counts as failed.
pub(super) fn overdue_at(policy: &RegistryPolicy, started: Instant) -> Instant {
    started + policy.fetch_timeout + OVERDUE_AFTER
}

#[cfg(test)]
mod tests;
