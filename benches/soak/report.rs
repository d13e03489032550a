//! The figures of a run.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    checks::Checks,
    history::History,
    ledger::{Ledger, WayKind},
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
    /// How many requests were in the layer for longer than is prompt, of how many.
    pub(crate) late: u64,
    pub(crate) inspected: u64,
    pub(crate) stopped_after: Duration,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) history: Arc<History>,
    pub(crate) checks: Arc<Checks>,
}

impl Report {
    /// Prints tables in Markdown.
    pub(crate) fn print(&self) {
        let seconds = (self.ended - self.started).as_secs_f64();
        let sorts = self.ledger.sorts();
        let requests: u64 = sorts.values().sum();
        println!("| {seconds:.0} s, seed {} | |\n|---|---|", self.seed);
        println!(
            "| requests, per second | {requests}, {:.0} of {:.0} |",
            requests as f64 / seconds,
            self.rate
        );
        let sorts: Vec<_> = sorts
            .iter()
            .map(|(sort, count)| format!("{count} {sort}"))
            .collect();
        println!("| of these | {} |", sorts.join(", "));
        let states = self.history.states();
        let bad = states.iter().filter(|state| state.list.is_none()).count();
        println!(
            "| the registry's states, bad ones, lists, fetches | {}, {bad}, {}, {} |",
            states.len(),
            self.history.lists_served(),
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
        println!("| what it did | {} |", names.join(", "));
        for (name, kind) in [
            ("none of the layer's business", WayKind::Control),
            ("listed names", WayKind::Listed),
            ("names that may be missing", WayKind::Missed),
        ] {
            println!("| client to upstream, {name} | {} |", self.way(kind));
        }
        println!(
            "| in the layer for more than 0.5 s | {} of {} |",
            self.late, self.inspected
        );
        let mib = |sample: &Sample| sample.memory as f64 / MIB;
        let (early, late) = levels(&self.samples, mib);
        let most = self.samples.iter().map(mib).fold(0.0, f64::max);
        println!(
            "| memory, MiB: before, early, late, most, after | {:.1}, {early:.1}, {late:.1}, \
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
                "| {name}: before, early, late, most, after | {}, {early}, {late}, {most}, {} |",
                of(&self.before),
                of(&self.after)
            );
        }
        println!("| SIGTERM to the end | {:.1?} |\n", self.stopped_after);
    }

    /// How long requests took from the client to the upstream.
    fn way(&self, kind: WayKind) -> String {
        let ways = self.ledger.ways();
        let ways = ways.iter().filter(|way| way.kind == kind);
        let mut times: Vec<_> = ways.map(|way| way.arrived - way.started).collect();
        times.sort();
        let ms = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            let time = times.get(index).copied().unwrap_or_default();
            time.as_secs_f64() * 1e3
        };
        format!(
            "median {:.1} ms, p99 {:.1} ms, longest {:.0} ms",
            ms(0.5),
            ms(0.99),
            ms(1.0)
        )
    }
}
