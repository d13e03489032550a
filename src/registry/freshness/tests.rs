//! Tests of the freshness of catalogs: actions, backoff, bounds.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// The chance that puts the refresh at 80 % of the TTL.
const MIDDLE: f64 = 0.5;
/// The chance that makes a backoff longest.
const LONGEST: f64 = 0.0;
const SHORTEST: f64 = 1.0;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn policy() -> RegistryPolicy {
    RegistryPolicy::default()
}

/// Returns the state after a first fetch.
fn validated(policy: &RegistryPolicy, now: Instant, chance: f64) -> Freshness {
    Freshness::cold().validated(policy, now, chance)
}

/// A state under the default policy, and the instant at which its catalog was fetched.
struct Fixture {
    freshness: Freshness,
    start: Instant,
}

impl Fixture {
    fn cold() -> Self {
        Self {
            freshness: Freshness::cold(),
            start: Instant::now(),
        }
    }

    fn fetched() -> Self {
        let start = Instant::now();
        let freshness = validated(&policy(), start, MIDDLE);
        Self { freshness, start }
    }

    fn seeded() -> Self {
        let start = Instant::now();
        let freshness = Freshness::seeded(&policy(), start);
        Self { freshness, start }
    }

    fn failed_at(mut self, seconds: f64) -> Self {
        let now = self.at(seconds);
        self.freshness = self.freshness.failed(&policy(), now, LONGEST);
        self
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + secs(seconds)
    }

    /// Returns the action without a refresh in flight.
    fn assess(&self, seconds: f64) -> CatalogAction {
        self.freshness.assess(&policy(), None, self.at(seconds))
    }

    /// Returns the action with a refresh in flight.
    fn assess_with(&self, in_flight: f64, seconds: f64) -> CatalogAction {
        let in_flight = Some(self.at(in_flight));
        self.freshness
            .assess(&policy(), in_flight, self.at(seconds))
    }

    fn needs_no_check(&self, seconds: f64) -> bool {
        self.freshness.needs_no_check(self.at(seconds))
    }

    fn refresh_until(&self, seconds: f64) -> CatalogAction {
        CatalogAction::RefreshUntil(self.at(seconds))
    }

    fn miss(&self, last_miss: Option<f64>, in_flight: Option<f64>, seconds: f64) -> MissAction {
        let instant = |seconds| self.at(seconds);
        let (last_miss, in_flight) = (last_miss.map(instant), in_flight.map(instant));
        let now = self.at(seconds);
        self.freshness
            .assess_miss(&policy(), last_miss, in_flight, now)
    }
}

#[test]
fn fresh_catalog_is_used() {
    let fetched = Fixture::fetched();
    for age in [0.0, 1.0, 239.9] {
        assert!(fetched.needs_no_check(age), "{age}");
        assert_eq!(fetched.assess(age), CatalogAction::Use, "{age}");
    }
}

#[test]
fn stale_catalog_is_used_and_refreshed_once() {
    let fetched = Fixture::fetched();
    for age in [240.0, 240.1, 270.0, 299.9] {
        assert!(!fetched.needs_no_check(age), "{age}");
        assert_eq!(fetched.assess(age), CatalogAction::UseAndRefresh);
        assert_eq!(fetched.assess_with(age - 0.05, age), CatalogAction::Use);
    }
    // A refresh that started within the TTL lets no request wait.
    assert_eq!(fetched.assess_with(299.9, 300.1), CatalogAction::Use);
}

#[test]
fn expired_catalog_waits_until_one_instant() {
    let fetched = Fixture::fetched();
    let until = fetched.refresh_until(302.0);
    assert_eq!(fetched.assess(300.0), until);
    assert_eq!(fetched.assess_with(300.0, 301.0), until);
    assert_eq!(fetched.assess_with(300.0, 302.0), CatalogAction::Use);
}

#[test]
fn expired_catalog_is_used_if_max_refresh_wait_is_zero() {
    let start = Instant::now();
    let policy = RegistryPolicy {
        max_refresh_wait: Duration::ZERO,
        ..policy()
    };
    let now = start + secs(301.0);
    let freshness = validated(&policy, start, MIDDLE);
    let action = |in_flight| freshness.assess(&policy, in_flight, now);
    assert_eq!(action(None), CatalogAction::UseAndRefresh);
    assert_eq!(action(Some(now)), CatalogAction::Use);
}

#[test]
fn failing_catalog_is_used_at_any_age() {
    for age in [250.0, 299.0, 301.0, 100_000.0] {
        let failing = Fixture::fetched().failed_at(age);
        assert!(failing.needs_no_check(age + 0.9), "{age}");
        assert_eq!(failing.assess(age + 0.9), CatalogAction::Use, "{age}");
        let due = age + 1.0;
        assert!(!failing.needs_no_check(due), "{age}");
        assert_eq!(failing.assess(due), CatalogAction::UseAndRefresh);
        assert_eq!(failing.assess_with(due, due), CatalogAction::Use);
        let action = failing.assess_with(due, due + 10_000.0);
        assert_eq!(action, CatalogAction::Use);
    }
}

#[test]
fn failing_catalog_is_merely_expired_after_idling() {
    let failing = Fixture::fetched().failed_at(299.0);
    // The retry was due at 300 s, and a minute without one makes the failure outdated.
    assert_eq!(failing.assess(359.9), CatalogAction::UseAndRefresh);
    let until = failing.refresh_until(362.0);
    assert_eq!(failing.assess(360.0), until);
    assert_eq!(failing.assess_with(360.0, 361.0), until);
    assert_eq!(failing.assess_with(360.0, 362.0), CatalogAction::Use);

    let failing = Fixture::fetched().failed_at(200.0);
    assert_eq!(failing.assess(299.9), CatalogAction::UseAndRefresh);
    assert_eq!(failing.assess(300.0), failing.refresh_until(302.0));
}

#[test]
fn backoff_doubles_up_to_a_minute() {
    let now = Instant::now();
    for (chance, share) in [(LONGEST, 1.0), (SHORTEST, 0.5)] {
        let mut freshness = Freshness::cold();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            freshness = freshness.failed(&policy(), now, chance);
            let backoff = secs(share * f64::from(seconds));
            assert_eq!(freshness.backoff_remaining(now), backoff);
        }
        assert_eq!(freshness.failures(), 9);
        for _ in 0..200 {
            freshness = freshness.failed(&policy(), now, LONGEST);
        }
        assert_eq!(freshness.backoff_remaining(now), MAX_BACKOFF);

        let freshness = freshness.validated(&policy(), now, MIDDLE);
        assert_eq!(freshness.failures(), 0);
        assert_eq!(freshness.backoff_remaining(now), Duration::ZERO);
    }
}

#[test]
fn backoff_ends_with_the_ttl() {
    for (failed_at, backoff) in [(299.5, 0.5), (300.0, 1.0)] {
        let failing = Fixture::fetched().failed_at(failed_at);
        let remaining = failing.freshness.backoff_remaining(failing.at(failed_at));
        assert_eq!(remaining, secs(backoff));
    }

    let now = Instant::now();
    let short = RegistryPolicy {
        ttl: secs(0.1),
        ..policy()
    };
    let failed = Freshness::cold().failed(&short, now, LONGEST);
    assert_eq!(failed.backoff_remaining(now), secs(0.1));
}

#[test]
fn cold_registry_fetches_unless_backing_off() {
    let cold = Fixture::cold();
    assert!(!cold.needs_no_check(0.0));
    assert_eq!(cold.assess(0.0), CatalogAction::Fetch);
    assert_eq!(cold.assess_with(0.0, 9.0), CatalogAction::Fetch);

    let failed = cold.failed_at(0.0);
    let unavailable = CatalogAction::Unavailable(secs(0.75));
    assert_eq!(failed.assess(0.25), unavailable);
    assert_eq!(failed.assess(1.0), CatalogAction::Fetch);
    assert_eq!(failed.assess_with(1.0, 2.0), CatalogAction::Fetch);
}

#[test]
fn catalog_older_than_max_stale_is_not_used() {
    let start = Instant::now();
    let policy = RegistryPolicy {
        max_stale: Some(secs(600.0)),
        ..policy()
    };
    let freshness = validated(&policy, start, MIDDLE);
    let (last, too_old) = (start + secs(599.9), start + secs(600.0));
    let action = freshness.assess(&policy, None, last);
    assert!(matches!(action, CatalogAction::RefreshUntil(_)));
    let action = freshness.assess(&policy, None, too_old);
    assert_eq!(action, CatalogAction::Fetch);
    assert!(!freshness.usable(too_old));

    // Nor during a backoff.
    let failed_at = start + secs(599.5);
    let failing = freshness.failed(&policy, failed_at, LONGEST);
    assert!(failing.needs_no_check(last));
    assert!(!failing.needs_no_check(too_old));
    let action = failing.assess(&policy, None, too_old);
    assert_eq!(action, CatalogAction::Unavailable(secs(0.5)));
    let due = failed_at + SECOND;
    for in_flight in [None, Some(due)] {
        let action = failing.assess(&policy, in_flight, due);
        assert_eq!(action, CatalogAction::Fetch);
    }
}

#[test]
fn initial_catalog_is_stale_from_the_start() {
    let seeded = Fixture::seeded();
    assert!(!seeded.needs_no_check(0.0));
    assert_eq!(seeded.assess(0.0), CatalogAction::UseAndRefresh);
    assert_eq!(seeded.assess_with(0.0, 0.0), CatalogAction::Use);
    assert_eq!(seeded.freshness.age(seeded.at(1.0)), Some(SECOND));
    assert_eq!(seeded.assess(300.0), seeded.refresh_until(302.0));
}

#[test]
fn miss_refreshes_once_per_miss_refresh() {
    let fetched = Fixture::fetched();
    assert_eq!(fetched.miss(None, None, 9.9), MissAction::Use);
    let start = MissAction::Start(fetched.at(12.0));
    assert_eq!(fetched.miss(None, None, 10.0), start);
    assert_eq!(fetched.miss(Some(90.1), None, 100.0), MissAction::Use);
    let start = MissAction::Start(fetched.at(102.0));
    assert_eq!(fetched.miss(Some(90.0), None, 100.0), start);

    let seeded = Fixture::seeded();
    let start = MissAction::Start(seeded.at(2.0));
    assert_eq!(seeded.miss(None, None, 0.0), start, "its age is unknown");
    assert_eq!(seeded.miss(Some(0.0), None, 0.0), MissAction::Use);

    assert_eq!(Fixture::cold().miss(None, None, 0.0), MissAction::Use);
}

#[test]
fn miss_joins_the_refresh_in_flight_until_one_instant() {
    let fetched = Fixture::fetched();
    let join = MissAction::Join(fetched.at(252.0));
    assert_eq!(fetched.miss(Some(250.0), Some(250.0), 251.0), join);
    assert_eq!(fetched.miss(None, Some(250.0), 252.0), MissAction::Use);
}

#[test]
fn miss_respects_the_backoff() {
    let failing = Fixture::fetched().failed_at(250.0);
    assert_eq!(failing.miss(None, None, 250.9), MissAction::Use);
    let start = MissAction::Start(failing.at(253.0));
    assert_eq!(failing.miss(None, None, 251.0), start);
}

/// Generates a policy, the chance of a fetch at zero seconds, then failures (seconds since the last
/// one, chance), a refresh in flight (seconds before the request), and the seconds until a request.
fn histories() -> impl Strategy<Value = (RegistryPolicy, f64, Vec<(f64, f64)>, Option<f64>, f64)> {
    let policy = (
        0.01..1000.0_f64,
        0.0..30.0_f64,
        0.0..5.0_f64,
        proptest::option::of(1.0..4.0_f64),
    )
        .prop_map(|(ttl, miss, wait, stale)| RegistryPolicy {
            ttl: secs(ttl),
            miss_refresh: secs(miss),
            max_refresh_wait: secs(wait),
            max_stale: stale.map(|factor| secs(ttl * factor)),
            ..RegistryPolicy::default()
        });
    (
        policy,
        0.0..1.0_f64,
        proptest::collection::vec((0.0..200.0_f64, 0.0..1.0_f64), 0..10),
        proptest::option::of(0.0..10.0_f64),
        0.0..2000.0_f64,
    )
}

proptest! {
    #[test]
    fn refresh_is_jittered_and_earlier_after_an_outage(
        ttl in 0.01..10_000.0_f64,
        failures in 0..10_u32,
        chance in 0.0..1.0_f64,
    ) {
        let t = Instant::now();
        let policy = RegistryPolicy { ttl: secs(ttl), ..policy() };
        let mut freshness = Freshness::cold();
        for _ in 0..failures {
            freshness = freshness.failed(&policy, t, chance);
        }
        let freshness = freshness.validated(&policy, t, chance);
        let earliest = if failures >= 7 { 0.3 } else { 0.72 };
        let drawn = earliest + (0.88 - earliest) * chance;
        prop_assert!(freshness.needs_no_check(t + secs(ttl * (drawn - 0.0001))));
        prop_assert!(!freshness.needs_no_check(t + secs(ttl * (drawn + 0.0001))));
    }

    #[test]
    fn backoff_is_within_its_bounds(
        (policy, chance, failures, ..) in histories(),
    ) {
        let t = Instant::now();
        for mut freshness in [Freshness::cold(), validated(&policy, t, chance)] {
            let mut now = t;
            for (count, (pause, chance)) in failures.iter().enumerate() {
                now += secs(*pause);
                freshness = freshness.failed(&policy, now, *chance);
                let remaining = freshness.backoff_remaining(now);
                let full = SECOND * (1 << count.min(6));
                prop_assert!(remaining <= full.min(MAX_BACKOFF).min(policy.ttl));
                if freshness.until_expiry(now).is_some_and(|d| !d.is_zero()) {
                    prop_assert!(remaining <= freshness.until_expiry(now).unwrap());
                } else {
                    prop_assert!(remaining >= full.min(MAX_BACKOFF).min(policy.ttl).mul_f64(0.499));
                }
            }
        }
    }

    /// Checks the rules of the table at `Registry`.
    #[test]
    fn action_follows_from_the_state(
        (policy, chance, failures, in_flight, look) in histories(),
    ) {
        let t = Instant::now();
        let mut freshness = validated(&policy, t, chance);
        let mut failed_at = t;
        for (pause, chance) in &failures {
            failed_at += secs(*pause);
            freshness = freshness.failed(&policy, failed_at, *chance);
        }
        let now = failed_at + secs(look);
        let in_flight = in_flight.map(|before| now.checked_sub(secs(before)).unwrap().max(t));
        let action = freshness.assess(&policy, in_flight, now);

        let age = now - t;
        let usable = policy.max_stale.is_none_or(|max| age < max);
        let failing = !failures.is_empty();
        prop_assert_eq!(freshness.usable(now), usable);

        // The hot path and the full check agree.
        if freshness.needs_no_check(now) {
            prop_assert_eq!(action, CatalogAction::Use);
        }
        // No second refresh starts.
        if in_flight.is_some() {
            prop_assert_ne!(action, CatalogAction::UseAndRefresh);
        }
        match action {
            CatalogAction::Use | CatalogAction::UseAndRefresh => prop_assert!(usable),
            CatalogAction::RefreshUntil(until) => {
                prop_assert!(usable && age >= policy.ttl);
                let asked = in_flight.unwrap_or(now);
                prop_assert!(!failing || asked - failed_at >= MAX_BACKOFF);
                prop_assert!(until > now);
                prop_assert!(until <= in_flight.unwrap_or(now) + policy.max_refresh_wait);
                prop_assert!(in_flight.is_none_or(|started| started >= t + policy.ttl));
            }
            CatalogAction::Fetch => prop_assert!(!usable),
            CatalogAction::Unavailable(remaining) => {
                prop_assert!(!usable && failing && in_flight.is_none());
                prop_assert_eq!(remaining, freshness.backoff_remaining(now));
            }
        }

        let miss = freshness.assess_miss(&policy, None, in_flight, now);
        match miss {
            MissAction::Use => {}
            MissAction::Join(until) => prop_assert!(in_flight.is_some() && until > now),
            MissAction::Start(until) => {
                prop_assert!(in_flight.is_none() && age >= policy.miss_refresh);
                prop_assert!(freshness.backoff_remaining(now).is_zero());
                prop_assert_eq!(until, now + policy.max_refresh_wait);
            }
        }
    }
}
