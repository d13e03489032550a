//! The tables of a run.

use std::{
    collections::BTreeMap,
    fmt::Display,
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
        self.print_run();
        self.print_transits();
        self.print_resources();
    }

    fn print_run(&self) {
        let seconds = (self.ended - self.started).as_secs_f64();
        let requests = self.log.ended();
        let (rate, planned) = (requests as f64 / seconds, self.rate);
        let states = self.history.states();
        let failures = states.iter().filter(|it| it.catalog.is_none()).count();
        let mut names = BTreeMap::new();
        for state in &states {
            *names.entry(state.name).or_insert(0) += 1;
        }
        println!("| {seconds:.0} s, seed {} | |\n|---|---|", self.seed);
        println!("| requests | {requests}, {rate:.0} per second of {planned:.0} |");
        println!("| their categories | {} |", counts(&self.log.categories()));
        println!(
            "| states of the registry | {}, {failures} of them failures |",
            states.len()
        );
        println!("| these were | {} |", counts(&names));
        println!("| catalogs served | {} |", self.history.catalogs_served());
        println!("| fetches | {} |", self.fetches);
        let (late, inspected) = (self.late, self.inspected);
        println!("| requests in the layer for more than 0.5 s | {late} of {inspected} |");
        println!(
            "| from SIGTERM to the exit | {:.1?} |\n",
            self.stopped_after
        );
    }

    fn print_transits(&self) {
        println!("| from the client to the upstream, ms | median | p99 | longest |");
        println!("|---|---|---|---|");
        let transits = self.log.transits();
        for (name, kind) in [
            ("requests that pass through", TransitKind::Passed),
            ("models of all catalogs", TransitKind::Permanent),
            ("models that may be missing", TransitKind::Temporary),
        ] {
            let ms = |share| {
                let transits = transits.iter().filter(|transit| transit.kind == kind);
                quantile(transits.map(|it| it.duration().as_secs_f64() * 1e3), share)
            };
            let (median, p99, longest) = (ms(0.5), ms(0.99), ms(1.0));
            println!("| {name} | {median:.1} | {p99:.1} | {longest:.0} |");
        }
        println!();
    }

    fn print_resources(&self) {
        println!("| medians | before | second fifth | last fifth | peak | after |");
        println!("|---|---|---|---|---|---|");
        for (name, of) in [
            (
                "memory, MiB",
                (|it| it.memory as f64 / MIB) as fn(&Sample) -> f64,
            ),
            ("open files", |it| it.files as f64),
            ("threads", |it| it.threads as f64),
            ("tasks", |it| it.tasks as f64),
            ("held bytes", |it| it.held as f64),
        ] {
            let (early, late) = levels(&self.samples, of);
            let peak = self.samples.iter().map(of).fold(0.0, f64::max);
            let values = [of(&self.before), early, late, peak, of(&self.after)];
            let values = values.map(|value| match name {
                "memory, MiB" => format!("{value:.1}"),
                _ => format!("{value:.0}"),
            });
            println!("| {name} | {} |", values.join(" | "));
        }
        println!();
    }
}

fn counts<N: Display>(counts: &BTreeMap<&str, N>) -> String {
    let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
    counts.collect::<Vec<_>>().join(", ")
}
