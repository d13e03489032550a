//! The tables of a scenario, and its targets.

use std::time::Duration;

use tower_model_routing::registry::RegistryPolicy;

use crate::{
    fleet::{INSTANCES, Period},
    scenario::Scenario,
};

/// How far the mean may be from one request to the origin per instance and TTL.
const MEAN_TOLERANCE: f64 = 0.25;
/// The multiple of the steady mean that no calm second reaches.
pub(crate) const CALM: f64 = 5.0;
/// The time until a fleet is calm after a deploy: six TTLs.
const CALM_AFTER: Duration = Duration::from_secs(30 * 60);
/// The time until a fleet has recovered: the longest backoff, the time until the next request, and
/// a fetch.
const RECOVERED_AFTER: Duration = Duration::from_secs(90);

pub(crate) struct Report {
    pub(crate) scenario: Scenario,
    pub(crate) without_jitter: Option<Scenario>,
    /// The steady load at other rates of requests per instance.
    pub(crate) other_rates: Vec<(f64, Period)>,
}

impl Report {
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            without_jitter: None,
            other_rates: Vec::new(),
        }
    }

    pub(crate) fn missed_targets(&self) -> Vec<String> {
        let Scenario {
            deploy,
            steady,
            outage,
            recovery,
            recovered_after,
            is_consistent,
            ..
        } = &self.scenario;
        let mean = steady.mean();
        let expected = expected_mean();
        let limit = CALM * mean;
        let targets = [
            (
                (mean / expected - 1.0).abs() <= MEAN_TOLERANCE,
                format!("the mean {mean:.3}/s is within 25 % of {expected:.3}/s"),
            ),
            (
                f64::from(steady.peak()) < limit,
                format!(
                    "the peak second {} of the steady load is below {limit:.1}",
                    steady.peak()
                ),
            ),
            (
                calm_after(deploy, limit) <= CALM_AFTER,
                format!("after {CALM_AFTER:?} no second of the deploy reaches {limit:.1}"),
            ),
            (
                f64::from(outage.peak()) < CALM * outage.mean(),
                format!(
                    "the peak second {} of the outage is below {CALM} times its mean {:.1}/s",
                    outage.peak(),
                    outage.mean()
                ),
            ),
            (
                recovered_after.is_some_and(|after| calm_after(recovery, limit) <= after),
                format!("once all have recovered no second reaches {limit:.1}"),
            ),
            (
                [steady, outage, recovery]
                    .iter()
                    .all(|it| it.counts.waited == 0),
                "no request waits in steady load, outage and recovery".to_owned(),
            ),
            (
                [deploy, steady, outage, recovery]
                    .iter()
                    .all(|it| it.counts.rejected == 0),
                "no request is rejected".to_owned(),
            ),
            (
                recovered_after.is_some_and(|after| after <= RECOVERED_AFTER),
                format!("all have recovered within {RECOVERED_AFTER:?}: {recovered_after:?}"),
            ),
            (
                self.scenario
                    .publications()
                    .iter()
                    .all(|(_, it)| it.reached(1.0).is_some()),
                "every instance finds each new model".to_owned(),
            ),
            (
                *is_consistent,
                "the registries have what was published, and the ages measured".to_owned(),
            ),
        ];
        targets
            .into_iter()
            .filter(|(is_met, _)| !is_met)
            .map(|(_, target)| target)
            .collect()
    }

    /// Prints tables in Markdown, and what they do not say.
    pub(crate) fn print(&self) {
        let limit = CALM * self.scenario.steady.mean();
        println!(
            "| event | origin requests/s: mean, peak second | without jitter \
             | requests that waited | oldest catalog used |\n|---|---|---|---|---|"
        );
        let without = self.without_jitter.as_ref().map(periods);
        for (index, (name, period)) in periods(&self.scenario).into_iter().enumerate() {
            let without = without.as_ref().map(|all| rates(all[index].1));
            println!(
                "| {name} | {} | {} | {} |",
                rates(period),
                without.unwrap_or_default(),
                waits(period),
            );
        }
        println!("\n| new model | 50 % have it after | 99 % | all | requests to the fallback |");
        println!("|---|---|---|---|---|");
        for (name, publication) in self.scenario.publications() {
            let [half, most, all] = [0.5, 0.99, 1.0].map(|share| {
                let after = publication.reached(share);
                after.map_or("never".to_owned(), |it| {
                    format!("{:.1} s", it.as_secs_f64())
                })
            });
            let fallbacks = publication.period.counts.fallbacks;
            println!("| {name} | {half} | {most} | {all} | {fallbacks} |");
        }
        if !self.other_rates.is_empty() {
            println!(
                "\n| requests/s per instance | origin requests/s: mean, peak second \
                 | requests that waited | oldest catalog used |\n|---|---|---|---|"
            );
            for (rate, period) in &self.other_rates {
                println!("| {rate} | {} | {} |", rates(period), waits(period));
            }
        }
        let ratio = self.scenario.steady.mean() / expected_mean();
        println!("\nsteady mean: {ratio:.3} × instances / TTL");
        for (name, period) in [
            ("deploy", &self.scenario.deploy),
            ("outage", &self.scenario.recovery),
        ] {
            let minutes = calm_after(period, limit).as_secs_f64() / 60.0;
            println!("after the {name}, last second of more than {limit:.1}: {minutes:.1} min");
        }
        if let Some(without_jitter) = &self.without_jitter {
            let hours = calm_after(&without_jitter.steady, limit).as_secs_f64() / 3600.0;
            println!("without jitter, last such second of the steady load: {hours:.1} h");
        }
        if let Some(after) = self.scenario.recovered_after {
            println!(
                "after the outage, last instance with a fresh catalog: {:.1} s",
                after.as_secs_f64()
            );
        }
    }
}

fn periods(scenario: &Scenario) -> [(&'static str, &Period); 7] {
    [
        ("deploy: all caches empty", &scenario.deploy),
        ("steady load", &scenario.steady),
        ("outage of the origin", &scenario.outage),
        ("recovery", &scenario.recovery),
        (
            "new model, requested at once everywhere",
            &scenario.requested_at_once.period,
        ),
        (
            "new model, in a tenth of the requests",
            &scenario.requested.period,
        ),
        ("new model, not requested", &scenario.not_requested.period),
    ]
}

/// Returns one request to the origin per instance and TTL.
fn expected_mean() -> f64 {
    INSTANCES as f64 / RegistryPolicy::default().ttl.as_secs_f64()
}

fn rates(period: &Period) -> String {
    format!("{:.2}, {}", period.mean(), period.peak())
}

/// Returns two columns: the requests that waited, and the oldest catalog.
fn waits(period: &Period) -> String {
    let counts = &period.counts;
    let waited = match counts.waited {
        0 => "none".to_owned(),
        waited => format!(
            "{:.3} %, at most {:.1} s",
            100.0 * waited as f64 / counts.requests as f64,
            counts.longest_wait.as_secs_f64()
        ),
    };
    format!("{waited} | {:.0} s", counts.oldest_catalog.as_secs_f64())
}

/// Returns the time until the last second that reaches this limit.
fn calm_after(period: &Period, limit: f64) -> Duration {
    let last = period
        .fetches
        .iter()
        .rposition(|&count| f64::from(count) >= limit);
    Duration::from_secs(last.map_or(0, |second| second as u64 + 1))
}
