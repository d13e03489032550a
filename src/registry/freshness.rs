//! When a catalog is used, refreshed, or waited for. Pure: the time is an
//! argument, and so is chance.

use std::time::Duration;

use tokio::time::Instant;

use super::policy::RegistryPolicy;

/// The part of the TTL after which a catalog is refreshed in the background.
const REFRESH_AT: f64 = 0.8;
/// How far that point moves to either side, so that many gateways do not fetch
/// in step.
const REFRESH_JITTER: f64 = 0.1;
/// After so many failures in a row, which usually take about a minute, a good
/// part of a fleet waits for the source to come back, and then succeeds within
/// [`MAX_BACKOFF`]. So that it is not in step from then on, the first refresh is
/// drawn from between this part of the TTL and its usual end.
const OUTAGE_FAILURES: u32 = 7;
const REFRESH_AT_AFTER_OUTAGE: f64 = 0.3;
/// The pause after the first failure. It doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A pause is shortened at random to between this part of it and all of it.
const BACKOFF_JITTER: f64 = 0.5;
/// How long after its time limit a fetch has certainly ended, unless the
/// process was suspended.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);

/// The instants of one snapshot from which every decision follows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Freshness {
    validity: Option<Validity>,
    failure: Option<Failure>,
}

/// How long the catalog of a snapshot is good for.
#[derive(Debug, Clone, PartialEq)]
struct Validity {
    validated_at: Instant,
    refresh_at: Instant,
    expires_at: Instant,
    /// From then on the catalog counts as none.
    unusable_at: Option<Instant>,
    /// The catalog was given at start, and nobody knows how old it was then.
    seeded: bool,
}

/// The failures since the last success.
#[derive(Debug, Clone, PartialEq)]
struct Failure {
    consecutive: u32,
    retry_at: Instant,
}

/// What a request does about the catalog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// Use the catalog there is.
    Use,
    /// Use the catalog there is, and start a refresh that nobody waits for.
    UseAndRefresh,
    /// Join the refresh under way or start one, wait for it until then, and use
    /// what there is.
    RefreshUntil(Instant),
    /// There is nothing to use: join the fetch under way or start one, and wait
    /// for its end.
    Fetch,
    /// There is nothing to use, and the next try is that far away.
    Unavailable(Duration),
}

/// What a request does whose name is not in the catalog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum MissDecision {
    /// The catalog is recent enough, or cannot be had any newer now.
    Use,
    /// Wait for the refresh under way until then.
    Join(Instant),
    /// Start a refresh and wait for it until then.
    Start(Instant),
}

impl Freshness {
    /// No catalog yet, and no attempt to get one.
    pub(super) fn cold() -> Self {
        Self {
            validity: None,
            failure: None,
        }
    }

    /// A catalog that was given at start: stale from the first moment on.
    pub(super) fn seeded(policy: &RegistryPolicy, now: Instant) -> Self {
        let mut freshness = Self::cold().validated(policy, now, 0.0);
        if let Some(validity) = &mut freshness.validity {
            validity.refresh_at = now;
            validity.seeded = true;
        }
        freshness
    }

    /// A catalog that was fetched or confirmed just now, after this. `chance` is
    /// in `0.0..1.0`.
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

    /// The same catalog after one more failure. `chance` is in `0.0..1.0`.
    pub(super) fn failed(&self, policy: &RegistryPolicy, now: Instant, chance: f64) -> Self {
        let consecutive = self.failures().saturating_add(1);
        let doublings = (consecutive - 1).min(16);
        let backoff = FIRST_BACKOFF
            .saturating_mul(1 << doublings)
            .min(MAX_BACKOFF)
            .min(policy.ttl)
            .mul_f64(1.0 - BACKOFF_JITTER * chance);
        let retry_at = now + backoff;
        // While the catalog is still good, the next try does not come after it
        // has gone bad.
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

    /// Whether a request uses the catalog without a further look: the hot path.
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

    /// What a request does now. `in_flight_since` is when the refresh under way
    /// was started.
    pub(super) fn assess(
        &self,
        policy: &RegistryPolicy,
        in_flight_since: Option<Instant>,
        now: Instant,
    ) -> Decision {
        let usable = self.validity.as_ref().filter(|v| v.usable(now));
        match (usable, &self.failure, in_flight_since) {
            (None, _, Some(_)) => Decision::Fetch,
            (None, Some(failure), None) if now < failure.retry_at => {
                Decision::Unavailable(failure.retry_at - now)
            }
            (None, _, None) => Decision::Fetch,

            (Some(validity), Some(failure), None) if failure.is_forgotten(validity, now) => {
                wait_for_refresh(policy, now)
            }
            (Some(_), Some(failure), None) if now >= failure.retry_at => Decision::UseAndRefresh,
            (Some(validity), Some(failure), Some(started))
                if failure.is_forgotten(validity, started) =>
            {
                wait_for_in_flight(policy, started, now)
            }
            (Some(_), Some(_), _) => Decision::Use,

            (Some(validity), None, None) if now < validity.refresh_at => Decision::Use,
            (Some(validity), None, None) if now < validity.expires_at => Decision::UseAndRefresh,
            (Some(_), None, None) => wait_for_refresh(policy, now),

            // A refresh that was started in time is traffic's own doing: nobody
            // waits for it.
            (Some(validity), None, Some(started)) if started < validity.expires_at => Decision::Use,
            (Some(_), None, Some(started)) => wait_for_in_flight(policy, started, now),
        }
    }

    /// What a request does whose name is not in the catalog. `last_miss` is
    /// when a request like it last started a refresh.
    pub(super) fn assess_miss(
        &self,
        policy: &RegistryPolicy,
        last_miss: Option<Instant>,
        in_flight_since: Option<Instant>,
        now: Instant,
    ) -> MissDecision {
        let Some(validity) = &self.validity else {
            return MissDecision::Use;
        };
        let old_enough = |since: Instant| now.duration_since(since) >= policy.miss_refresh;
        if !validity.seeded && !old_enough(validity.validated_at) {
            return MissDecision::Use;
        }
        if let Some(started) = in_flight_since {
            let until = started + policy.max_refresh_wait;
            return if now < until {
                MissDecision::Join(until)
            } else {
                MissDecision::Use
            };
        }
        let backing_off = self.failure.as_ref().is_some_and(|f| now < f.retry_at);
        if backing_off || !last_miss.is_none_or(old_enough) {
            return MissDecision::Use;
        }
        MissDecision::Start(now + policy.max_refresh_wait)
    }

    /// The failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failure.as_ref().map_or(0, |f| f.consecutive)
    }

    /// How long no fetch is tried because the last one failed.
    pub(super) fn backoff_left(&self, now: Instant) -> Duration {
        self.failure
            .as_ref()
            .map_or(Duration::ZERO, |f| f.retry_at.duration_since(now))
    }

    /// The age of the catalog.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let validity = self.validity.as_ref()?;
        Some(now.duration_since(validity.validated_at))
    }

    /// How long until the TTL ends. Zero once it has.
    pub(super) fn until_expiry(&self, now: Instant) -> Option<Duration> {
        let validity = self.validity.as_ref()?;
        Some(validity.expires_at.duration_since(now))
    }

    /// How long ago the TTL ended. Zero while it lasts.
    pub(super) fn since_expiry(&self, now: Instant) -> Option<Duration> {
        let validity = self.validity.as_ref()?;
        Some(now.duration_since(validity.expires_at))
    }

    /// Whether there is a catalog that may still be used.
    pub(super) fn usable(&self, now: Instant) -> bool {
        self.validity.as_ref().is_some_and(|v| v.usable(now))
    }
}

/// Starts a refresh of a catalog that is past its TTL.
fn wait_for_refresh(policy: &RegistryPolicy, now: Instant) -> Decision {
    if policy.max_refresh_wait.is_zero() {
        Decision::UseAndRefresh
    } else {
        Decision::RefreshUntil(now + policy.max_refresh_wait)
    }
}

/// Joins the refresh of a catalog that is past its TTL: all wait for it until
/// the same moment.
fn wait_for_in_flight(policy: &RegistryPolicy, started: Instant, now: Instant) -> Decision {
    let until = started + policy.max_refresh_wait;
    if now < until {
        Decision::RefreshUntil(until)
    } else {
        Decision::Use
    }
}

impl Failure {
    /// Whether no request has come for so long, since the next try was due and
    /// the TTL over, that the failure says nothing any more: the catalog is
    /// merely expired.
    fn is_forgotten(&self, validity: &Validity, now: Instant) -> bool {
        now >= validity.expires_at && now >= self.retry_at + MAX_BACKOFF
    }
}

impl Validity {
    fn usable(&self, now: Instant) -> bool {
        self.unusable_at.is_none_or(|at| now < at)
    }
}

/// From when on a fetch that has not ended yet is not to be counted on.
pub(super) fn overdue_at(policy: &RegistryPolicy, started: Instant) -> Instant {
    started + policy.fetch_timeout + OVERDUE_AFTER
}

#[cfg(test)]
mod tests;
