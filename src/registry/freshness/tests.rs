use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Chance that puts the refresh at exactly 80 % of the TTL.
const MIDDLE: f64 = 0.5;
/// Chance that makes a backoff as long as it gets.
const LONGEST: f64 = 0.0;
const SHORTEST: f64 = 1.0;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn policy() -> RegistryPolicy {
    RegistryPolicy::default()
}

fn with_max_stale(seconds: f64) -> RegistryPolicy {
    RegistryPolicy {
        max_stale: Some(secs(seconds)),
        ..policy()
    }
}

/// A catalog that was fetched after no failure.
fn validated(policy: &RegistryPolicy, now: Instant, chance: f64) -> Freshness {
    Freshness::cold().validated(policy, now, chance)
}

fn start() -> Instant {
    Instant::now()
}

#[test]
fn a_fresh_catalog_is_used() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    for age in [0.0, 1.0, 239.9] {
        let now = t + secs(age);
        assert!(freshness.needs_no_check(now), "{age}");
        assert_eq!(
            freshness.assess(&policy(), None, now),
            Decision::Use,
            "{age}"
        );
    }
}

#[test]
fn a_stale_catalog_is_used_and_refreshed_once() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    for age in [240.0, 240.1, 270.0, 299.9] {
        let now = t + secs(age);
        assert!(!freshness.needs_no_check(now), "{age}");
        assert_eq!(
            freshness.assess(&policy(), None, now),
            Decision::UseAndRefresh
        );
        let in_flight = Some(now - secs(0.05));
        assert_eq!(freshness.assess(&policy(), in_flight, now), Decision::Use);
    }
}

#[test]
fn an_expired_catalog_waits_for_the_refresh_but_not_long() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    let now = t + secs(300.0);
    let until = now + 2 * SECOND;
    assert_eq!(
        freshness.assess(&policy(), None, now),
        Decision::RefreshUntil(until)
    );
    // Those who come later wait for the same refresh, and no longer than the
    // first.
    assert_eq!(
        freshness.assess(&policy(), Some(now), now + SECOND),
        Decision::RefreshUntil(until)
    );
    assert_eq!(freshness.assess(&policy(), Some(now), until), Decision::Use);
}

#[test]
fn an_expired_catalog_is_used_while_a_refresh_that_began_in_time_is_under_way() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    let in_flight = Some(t + secs(299.9));
    assert_eq!(
        freshness.assess(&policy(), in_flight, t + secs(300.1)),
        Decision::Use
    );
}

#[test]
fn without_a_wait_an_expired_catalog_is_refreshed_in_the_background() {
    let t = start();
    let policy = RegistryPolicy {
        max_refresh_wait: Duration::ZERO,
        ..policy()
    };
    let now = t + secs(301.0);
    let freshness = validated(&policy, t, MIDDLE);
    assert_eq!(
        freshness.assess(&policy, None, now),
        Decision::UseAndRefresh
    );
    assert_eq!(freshness.assess(&policy, Some(now), now), Decision::Use);
}

#[test]
fn a_failing_catalog_is_used_at_once_whatever_its_age() {
    let t = start();
    for age in [250.0, 299.0, 301.0, 100_000.0] {
        let failed_at = t + secs(age);
        let freshness = validated(&policy(), t, MIDDLE).failed(&policy(), failed_at, LONGEST);
        let soon = failed_at + secs(0.9);
        assert!(freshness.needs_no_check(soon), "{age}");
        assert_eq!(
            freshness.assess(&policy(), None, soon),
            Decision::Use,
            "{age}"
        );
        let due = failed_at + SECOND;
        assert!(!freshness.needs_no_check(due), "{age}");
        assert_eq!(
            freshness.assess(&policy(), None, due),
            Decision::UseAndRefresh
        );
        assert_eq!(freshness.assess(&policy(), Some(due), due), Decision::Use);
        let much_later = due + secs(10_000.0);
        assert_eq!(
            freshness.assess(&policy(), Some(due), much_later),
            Decision::Use
        );
    }
}

#[test]
fn a_failing_catalog_that_nobody_asked_for_in_a_while_is_merely_expired() {
    let t = start();
    let failed_at = t + secs(299.0);
    let freshness = validated(&policy(), t, MIDDLE).failed(&policy(), failed_at, LONGEST);
    let due = failed_at + SECOND;
    let before = due + secs(59.9);
    assert_eq!(
        freshness.assess(&policy(), None, before),
        Decision::UseAndRefresh
    );
    let asked = due + MAX_BACKOFF;
    let until = asked + secs(2.0);
    assert_eq!(
        freshness.assess(&policy(), None, asked),
        Decision::RefreshUntil(until)
    );
    let later = asked + SECOND;
    assert_eq!(
        freshness.assess(&policy(), Some(asked), later),
        Decision::RefreshUntil(until)
    );
    assert_eq!(
        freshness.assess(&policy(), Some(asked), until),
        Decision::Use
    );
}

#[test]
fn backoffs_double_up_to_a_minute() {
    let t = start();
    let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60];
    for (chance, part) in [(LONGEST, 1.0), (SHORTEST, 0.5)] {
        let mut freshness = Freshness::cold();
        for seconds in expected {
            freshness = freshness.failed(&policy(), t, chance);
            assert_eq!(freshness.backoff_left(t), secs(part * f64::from(seconds)));
        }
        assert_eq!(freshness.failures(), 9);
    }
    let mut freshness = Freshness::cold();
    for _ in 0..200 {
        freshness = freshness.failed(&policy(), t, LONGEST);
    }
    assert_eq!(freshness.backoff_left(t), MAX_BACKOFF);
}

#[test]
fn a_backoff_never_outlasts_the_ttl() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    let late = t + secs(299.5);
    let failed = freshness.failed(&policy(), late, LONGEST);
    assert_eq!(failed.backoff_left(late), secs(0.5));

    let short = RegistryPolicy {
        ttl: secs(0.1),
        ..policy()
    };
    let failed = Freshness::cold().failed(&short, t, LONGEST);
    assert_eq!(failed.backoff_left(t), secs(0.1));
}

#[test]
fn a_failure_at_the_end_of_the_ttl_has_a_pause_after_it() {
    let t = start();
    let expired = t + secs(300.0);
    let failed = validated(&policy(), t, MIDDLE).failed(&policy(), expired, LONGEST);
    assert_eq!(failed.backoff_left(expired), SECOND);
}

#[test]
fn success_forgets_the_failures() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    assert_eq!(freshness.failures(), 0);
    assert_eq!(freshness.backoff_left(t), Duration::ZERO);
}

#[test]
fn a_cold_registry_fetches_and_everybody_waits() {
    let t = start();
    let cold = Freshness::cold();
    assert!(!cold.needs_no_check(t));
    assert_eq!(cold.assess(&policy(), None, t), Decision::Fetch);
    assert_eq!(
        cold.assess(&policy(), Some(t), t + 9 * SECOND),
        Decision::Fetch
    );
}

#[test]
fn a_cold_registry_that_failed_is_unavailable_until_the_next_try() {
    let t = start();
    let failed = Freshness::cold().failed(&policy(), t, LONGEST);
    assert_eq!(
        failed.assess(&policy(), None, t + secs(0.25)),
        Decision::Unavailable(secs(0.75))
    );
    assert_eq!(failed.assess(&policy(), None, t + SECOND), Decision::Fetch);
    let in_flight = Some(t + SECOND);
    assert_eq!(
        failed.assess(&policy(), in_flight, t + 2 * SECOND),
        Decision::Fetch
    );
}

#[test]
fn a_catalog_older_than_max_stale_counts_as_none() {
    let t = start();
    let policy = with_max_stale(600.0);
    let freshness = validated(&policy, t, MIDDLE);
    let last = t + secs(599.9);
    assert!(matches!(
        freshness.assess(&policy, None, last),
        Decision::RefreshUntil(_)
    ));
    let too_old = t + secs(600.0);
    assert_eq!(freshness.assess(&policy, None, too_old), Decision::Fetch);
    assert!(!freshness.usable(too_old));

    // In the middle of a backoff too.
    let failed_at = t + secs(599.5);
    let failing = freshness.failed(&policy, failed_at, LONGEST);
    assert!(failing.needs_no_check(last));
    assert!(!failing.needs_no_check(too_old));
    assert_eq!(
        failing.assess(&policy, None, too_old),
        Decision::Unavailable(secs(0.5))
    );
    let due = failed_at + SECOND;
    assert_eq!(failing.assess(&policy, None, due), Decision::Fetch);
    assert_eq!(failing.assess(&policy, Some(due), due), Decision::Fetch);
}

#[test]
fn a_given_catalog_is_stale_from_the_start() {
    let t = start();
    let given = Freshness::seeded(&policy(), t);
    assert!(!given.needs_no_check(t));
    assert_eq!(given.assess(&policy(), None, t), Decision::UseAndRefresh);
    assert_eq!(given.assess(&policy(), Some(t), t), Decision::Use);
    assert_eq!(given.age(t + SECOND), Some(SECOND));
    assert!(matches!(
        given.assess(&policy(), None, t + secs(300.0)),
        Decision::RefreshUntil(_)
    ));
}

#[test]
fn a_miss_revalidates_a_catalog_that_is_old_enough() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    let young = t + secs(9.9);
    assert_eq!(
        freshness.assess_miss(&policy(), None, None, young),
        MissDecision::Use
    );
    let old = t + secs(10.0);
    assert_eq!(
        freshness.assess_miss(&policy(), None, None, old),
        MissDecision::Start(old + 2 * SECOND)
    );
}

#[test]
fn misses_start_one_refresh_in_a_while() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    let now = t + secs(100.0);
    let last = Some(now - secs(9.9));
    assert_eq!(
        freshness.assess_miss(&policy(), last, None, now),
        MissDecision::Use
    );
    let last = Some(now - secs(10.0));
    assert!(matches!(
        freshness.assess_miss(&policy(), last, None, now),
        MissDecision::Start(_)
    ));
}

#[test]
fn a_miss_joins_the_refresh_under_way_but_not_for_long() {
    let t = start();
    let freshness = validated(&policy(), t, MIDDLE);
    let started = t + secs(250.0);
    let until = started + 2 * SECOND;
    assert_eq!(
        freshness.assess_miss(&policy(), Some(started), Some(started), until - SECOND),
        MissDecision::Join(until)
    );
    assert_eq!(
        freshness.assess_miss(&policy(), None, Some(started), until),
        MissDecision::Use
    );
}

#[test]
fn a_miss_starts_nothing_during_a_backoff() {
    let t = start();
    let failed_at = t + secs(250.0);
    let freshness = validated(&policy(), t, MIDDLE).failed(&policy(), failed_at, LONGEST);
    let miss = |at| freshness.assess_miss(&policy(), None, None, at);
    assert_eq!(miss(failed_at + secs(0.9)), MissDecision::Use);
    assert!(matches!(miss(failed_at + SECOND), MissDecision::Start(_)));
}

#[test]
fn a_miss_revalidates_a_given_catalog_at_once_and_only_once() {
    let t = start();
    let given = Freshness::seeded(&policy(), t);
    let miss = |last| given.assess_miss(&policy(), last, None, t);
    assert!(matches!(miss(None), MissDecision::Start(_)));
    assert_eq!(miss(Some(t)), MissDecision::Use);
}

#[test]
fn without_a_catalog_there_is_no_miss() {
    assert_eq!(
        Freshness::cold().assess_miss(&policy(), None, None, start()),
        MissDecision::Use
    );
}

/// A policy, and the seconds of one history: a validation at zero, then
/// failures, then a look.
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
    fn the_refresh_comes_between_72_and_88_percent_of_the_ttl_and_from_30_on_after_an_outage(
        ttl in 0.01..10_000.0_f64,
        failures in 0..10_u32,
        chance in 0.0..1.0_f64,
    ) {
        let t = start();
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
    fn the_next_try_is_never_later_than_it_should_be(
        (policy, chance, failures, ..) in histories(),
    ) {
        let t = start();
        for mut freshness in [Freshness::cold(), validated(&policy, t, chance)] {
            let mut now = t;
            for (count, (pause, chance)) in failures.iter().enumerate() {
                now += secs(*pause);
                freshness = freshness.failed(&policy, now, *chance);
                let left = freshness.backoff_left(now);
                let full = SECOND * (1 << count.min(6));
                prop_assert!(left <= full.min(MAX_BACKOFF).min(policy.ttl));
                if freshness.until_expiry(now).is_some_and(|d| !d.is_zero()) {
                    prop_assert!(left <= freshness.until_expiry(now).unwrap());
                } else {
                    prop_assert!(left >= full.min(MAX_BACKOFF).min(policy.ttl).mul_f64(0.499));
                }
            }
        }
    }

    /// The rules of the table, said another way than the code says them.
    #[test]
    fn every_decision_follows_from_the_state(
        (policy, chance, failures, in_flight, look) in histories(),
    ) {
        let t = start();
        let mut freshness = validated(&policy, t, chance);
        let mut failed_at = t;
        for (pause, chance) in &failures {
            failed_at += secs(*pause);
            freshness = freshness.failed(&policy, failed_at, *chance);
        }
        let now = failed_at + secs(look);
        let in_flight = in_flight.map(|before| now.checked_sub(secs(before)).unwrap().max(t));
        let decision = freshness.assess(&policy, in_flight, now);

        let age = now - t;
        let usable = policy.max_stale.is_none_or(|max| age < max);
        let failing = !failures.is_empty();
        prop_assert_eq!(freshness.usable(now), usable);

        // A catalog that needs no check is one that the long way would use too,
        // and start nothing for.
        if freshness.needs_no_check(now) {
            prop_assert_eq!(decision, Decision::Use);
        }
        // Nobody starts a second refresh.
        if in_flight.is_some() {
            prop_assert_ne!(decision, Decision::UseAndRefresh);
        }
        match decision {
            Decision::Use | Decision::UseAndRefresh => prop_assert!(usable),
            Decision::RefreshUntil(until) => {
                prop_assert!(usable && age >= policy.ttl);
                let asked = in_flight.unwrap_or(now);
                prop_assert!(!failing || asked - failed_at >= MAX_BACKOFF);
                prop_assert!(until > now);
                prop_assert!(until <= in_flight.unwrap_or(now) + policy.max_refresh_wait);
                prop_assert!(in_flight.is_none_or(|started| started >= t + policy.ttl));
            }
            Decision::Fetch => prop_assert!(!usable),
            Decision::Unavailable(left) => {
                prop_assert!(!usable && failing && in_flight.is_none());
                prop_assert_eq!(left, freshness.backoff_left(now));
            }
        }

        let miss = freshness.assess_miss(&policy, None, in_flight, now);
        match miss {
            MissDecision::Use => {}
            MissDecision::Join(until) => prop_assert!(in_flight.is_some() && until > now),
            MissDecision::Start(until) => {
                prop_assert!(in_flight.is_none() && age >= policy.miss_refresh);
                prop_assert!(freshness.backoff_left(now).is_zero());
                prop_assert_eq!(until, now + policy.max_refresh_wait);
            }
        }
    }
}
