//! The tables of a run.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::rounds::quantile;

use crate::{
    checks::Checks,
    history::History,
    request_log::{RequestLog, TransitKind},
    watch::{Sample, levels},
};

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) struct Report {
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    pub(crate) samples: Vec<Sample>,
    /// Before the traffic and after it.
    pub(crate) before: Sample,
    pub(crate) after: Sample,
    pub(crate) fetches: usize,
    /// The requests that were in the layer for longer than 0.5 s, and all.
    pub(crate) late: u64,
    pub(crate) inspected: u64,
    pub(crate) stopped_after: Duration,
    pub(crate) log: Arc<RequestLog>,
    pub(crate) history: Arc<History>,
    pub(crate) checks: Arc<Checks>,
}

impl Report {
    /// Prints tables in Markdown.
    pub(crate) fn print(&self) {
        let seconds = (self.ended - self.started).as_secs_f64();
        let categories = self.log.categories();
        let requests: u64 = categories.values().sum();
        println!("| {seconds:.0} s, seed {} | |\n|---|---|", self.seed);
        println!(
            "| requests, per second | {requests}, {:.0} of {:.0} |",
            requests as f64 / seconds,
            self.rate
        );
        let categories: Vec<_> = categories
            .iter()
            .map(|(category, count)| format!("{count} {category}"))
            .collect();
        println!("| of these | {} |", categories.join(", "));
        let states = self.history.states();
        let bad = states
            .iter()
            .filter(|state| state.catalog.is_none())
            .count();
        println!(
            "| states of the registry, failures, catalogs, fetches | {}, {bad}, {}, {} |",
            states.len(),
            self.history.catalogs_served(),
            self.fetches
        );
        let mut names = BTreeMap::new();
        for state in &states {
            *names.entry(state.name).or_insert(0) += 1;
        }
        let names: Vec<_> = names
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        println!("| its states | {} |", names.join(", "));
        for (name, kind) in [
            ("passed through", TransitKind::Passed),
            ("models of all catalogs", TransitKind::Permanent),
            ("models that may be missing", TransitKind::Temporary),
        ] {
            println!(
                "| client to upstream, {name} | {} |",
                self.transit_times(kind)
            );
        }
        println!(
            "| in the layer for more than 0.5 s | {} of {} |",
            self.late, self.inspected
        );
        let mib = |sample: &Sample| sample.memory as f64 / MIB;
        let (early, late) = levels(&self.samples, mib);
        let most = self.samples.iter().map(mib).fold(0.0, f64::max);
        println!(
            "| memory, MiB: before, early, late, peak, after | {:.1}, {early:.1}, {late:.1}, \
             {most:.1}, {:.1} |",
            mib(&self.before),
            mib(&self.after)
        );
        for (name, of) in [
            ("open files", (|it| it.files as u64) as fn(&Sample) -> u64),
            ("threads", |it| it.threads),
            ("tasks", |it| it.tasks),
            ("held bytes", |it| it.held),
        ] {
            let (early, late) = levels(&self.samples, |sample| of(sample) as f64);
            let most = self.samples.iter().map(of).max().unwrap_or_default();
            println!(
                "| {name}: before, early, late, peak, after | {}, {early}, {late}, {most}, {} |",
                of(&self.before),
                of(&self.after)
            );
        }
        println!(
            "| from SIGTERM to the exit | {:.1?} |\n",
            self.stopped_after
        );
    }

    /// Returns the times of requests between the client and the upstream.
    fn transit_times(&self, kind: TransitKind) -> String {
        let transits = self.log.transits();
        let transits = transits.iter().filter(|transit| transit.kind == kind);
        let times: Vec<_> = transits
            .map(|transit| transit.duration().as_secs_f64() * 1e3)
            .collect();
        let ms = |share| quantile(times.iter().copied(), share);
        format!(
            "median {:.1} ms, p99 {:.1} ms, longest {:.0} ms",
            ms(0.5),
            ms(0.99),
            ms(1.0)
        )
    }
}
