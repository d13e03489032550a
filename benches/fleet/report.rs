//! The story in numbers, and what they must be.

use std::time::Duration;

use tower_model_routing::RegistryPolicy;

use crate::{
    fleet::{INSTANCES, Period},
    story::{Publication, Story},
};

/// How far the mean may be from one request to the origin per instance and TTL.
const MEAN_TOLERANCE: f64 = 0.25;
/// How many times the mean of the steady load a second may have.
pub(crate) const CALM: f64 = 5.0;
/// By when a fleet is calm again after a deploy: six TTLs.
const CALM_AFTER: Duration = Duration::from_secs(30 * 60);
/// Within what a fleet has healed: the longest backoff, the gap until the next
/// request, and a fetch.
const HEALED_AFTER: Duration = Duration::from_secs(90);

pub(crate) struct Report {
    pub(crate) story: Story,
    /// The same without jitter.
    pub(crate) in_step: Option<Story>,
    /// Steady load at other rates of requests per instance.
    pub(crate) other_rates: Vec<(f64, Period)>,
}

impl Report {
    pub(crate) fn new(story: Story) -> Self {
        Self {
            story,
            in_step: None,
            other_rates: Vec::new(),
        }
    }

    /// What is not as it must be.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        let Story {
            deploy,
            steady,
            outage,
            healing,
            ..
        } = &self.story;
        let mean = steady.mean();
        let expected = expected_mean();
        let limit = CALM * mean;
        let healed = self.story.healed_after;
        let publications = self.publications().map(|(_, it)| it);
        let promises = [
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
                healed.is_some_and(|after| calm_after(healing, limit) <= after),
                format!("once all have healed no second reaches {limit:.1}"),
            ),
            (
                [steady, outage, healing]
                    .iter()
                    .all(|it| it.tally.waited == 0),
                "no request waits in steady load, outage and healing".to_owned(),
            ),
            (
                [deploy, steady, outage, healing]
                    .iter()
                    .all(|it| it.tally.refused == 0),
                "no request is refused".to_owned(),
            ),
            (
                healed.is_some_and(|after| after <= HEALED_AFTER),
                format!("all have healed within {HEALED_AFTER:?}: {healed:?}"),
            ),
            (
                publications.iter().all(|it| it.reached(1.0).is_some()),
                "every instance gets each new model".to_owned(),
            ),
            (
                self.story.is_consistent,
                "the registries have what was published, and are as old as measured".to_owned(),
            ),
        ];
        promises
            .into_iter()
            .filter(|(is_kept, _)| !is_kept)
            .map(|(_, promise)| promise)
            .collect()
    }

    /// Prints tables in Markdown, and what they don't say.
    pub(crate) fn print(&self) {
        let limit = CALM * self.story.steady.mean();
        println!(
            "| | origin requests/s: mean, peak second | without jitter | requests that waited \
             | oldest list used |\n|---|---|---|---|---|"
        );
        let without = self.in_step.as_ref().map(periods);
        for (index, (name, period)) in periods(&self.story).into_iter().enumerate() {
            let without = without.as_ref().map(|all| rates(all[index].1));
            println!(
                "| {name} | {} | {} | {} | {} |",
                rates(period),
                without.unwrap_or_default(),
                waited(period),
                oldest(period),
            );
        }
        println!();
        println!("| the new model is | half have it after | 99 % | all | went to the fallback |");
        println!("|---|---|---|---|---|");
        for (name, publication) in self.publications() {
            let [half, most, all] = [0.5, 0.99, 1.0].map(|share| {
                let after = publication.reached(share);
                after.map_or("never".to_owned(), |it| {
                    format!("{:.1} s", it.as_secs_f64())
                })
            });
            let fallbacks = publication.period.tally.fallbacks;
            println!("| {name} | {half} | {most} | {all} | {fallbacks} |");
        }
        println!();
        if !self.other_rates.is_empty() {
            println!(
                "| requests/s per instance | origin requests/s: mean, peak second \
                 | requests that waited | oldest list used |\n|---|---|---|---|"
            );
            for (rate, period) in &self.other_rates {
                println!(
                    "| {rate} | {} | {} | {} |",
                    rates(period),
                    waited(period),
                    oldest(period),
                );
            }
            println!();
        }
        let ratio = self.story.steady.mean() / expected_mean();
        println!("steady mean: {ratio:.3} × instances / TTL");
        for (name, period) in [
            ("deploy", &self.story.deploy),
            ("outage", &self.story.healing),
        ] {
            let minutes = calm_after(period, limit).as_secs_f64() / 60.0;
            println!("after the {name}, last second of more than {limit:.1}: {minutes:.1} min");
        }
        if let Some(in_step) = &self.in_step {
            let hours = calm_after(&in_step.steady, limit).as_secs_f64() / 3600.0;
            println!("without jitter, last such second of the steady load: {hours:.1} h");
        }
        if let Some(after) = self.story.healed_after {
            println!(
                "after the outage, last to have a fresh list: {:.1} s",
                after.as_secs_f64()
            );
        }
    }

    fn publications(&self) -> [(&'static str, &Publication); 3] {
        let story = &self.story;
        [
            ("asked for at once everywhere", &story.asked_at_once),
            ("in a tenth of the requests", &story.asked),
            ("not asked for", &story.unasked),
        ]
    }
}

fn periods(story: &Story) -> [(&'static str, &Period); 7] {
    [
        ("a deploy: all caches empty", &story.deploy),
        ("steady load", &story.steady),
        ("the origin down", &story.outage),
        ("healing", &story.healing),
        (
            "new model, asked for at once everywhere",
            &story.asked_at_once.period,
        ),
        ("new model, in a tenth of the requests", &story.asked.period),
        ("new model, not asked for", &story.unasked.period),
    ]
}

/// One request to the origin per instance and TTL.
fn expected_mean() -> f64 {
    INSTANCES as f64 / RegistryPolicy::default().ttl.as_secs_f64()
}

fn rates(period: &Period) -> String {
    format!("{:.2}, {}", period.mean(), period.peak())
}

fn waited(period: &Period) -> String {
    let tally = &period.tally;
    if tally.waited == 0 {
        return "none".to_owned();
    }
    let percent = 100.0 * tally.waited as f64 / tally.requests as f64;
    let longest = tally.longest_wait.as_secs_f64();
    format!("{percent:.3} %, at most {longest:.1} s")
}

fn oldest(period: &Period) -> String {
    format!("{:.0} s", period.tally.stalest.as_secs_f64())
}

/// How long until the last second that has more requests to the origin.
fn calm_after(period: &Period, limit: f64) -> Duration {
    let last = period
        .fetches
        .iter()
        .rposition(|&count| f64::from(count) >= limit);
    Duration::from_secs(last.map_or(0, |second| second as u64 + 1))
}
