//! How long readers take while the catalog is replaced, and while it isn't, as
//! a table.
//!
//! The two take turns, and what counts is the median of the turns. The catalogs
//! are parsed beforehand, so that there is a new one every 50 ms however long
//! they are; the table says how many there were.

mod support;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use support::feed::{Feed, catalog_sizes, feed, name, shuffled};
use tower_model_routing::{Catalog, Registry, RegistryPolicy};

const PERIOD: Duration = Duration::from_millis(50);
/// Lookups that take longer, in nanoseconds, count as ones that take so long.
const LONGEST: usize = 1_000_000;

fn main() {
    let (turns, duration) = match support::is_measuring() {
        true => (7, Duration::from_secs(2)),
        false => (1, Duration::from_millis(20)),
    };
    let len = catalog_sizes().max().unwrap();
    let parsed = |names: &[&str]| Arc::new(Catalog::parse(&feed(len, names)).unwrap());
    let source = Feed::parsed([parsed(&[]), parsed(&["another"])]);
    let mut policy = RegistryPolicy::default();
    policy.ttl = Duration::from_secs(24 * 60 * 60);
    let registry = Registry::with_policy(Arc::new(source), policy, None);
    refresh(&registry);
    let names: Vec<String> = shuffled(len).into_iter().map(name).collect();

    let turns: Vec<_> = (0..turns)
        .map(|_| [None, Some(PERIOD)].map(|period| turn(&registry, &names, period, duration)))
        .collect();
    println!("| {len} entries | swaps per second | p50, ns | p99, ns | p99.9, ns |");
    println!("|---|---|---|---|---|");
    for (index, title) in ["left alone", "swapped"].into_iter().enumerate() {
        let median = |of: &dyn Fn(&Turn) -> f64| median(turns.iter().map(|turn| of(&turn[index])));
        println!(
            "| {title} | {:.1} | {} | {} | {} |",
            median(&|turn| turn.swaps as f64 / duration.as_secs_f64()),
            median(&|turn| turn.percentile(0.5)),
            median(&|turn| turn.percentile(0.99)),
            median(&|turn| turn.percentile(0.999)),
        );
    }
    let ratio = median(
        turns
            .iter()
            .map(|[alone, swapped]| swapped.percentile(0.999) / alone.percentile(0.999)),
    );
    println!("\np99.9 swapped / left alone: {ratio:.2} (target: ≤ 1.5)");
}

/// What happened in one turn.
struct Turn {
    /// How many lookups took how many nanoseconds.
    times: Vec<u64>,
    swaps: u64,
}

impl Turn {
    fn percentile(&self, part: f64) -> f64 {
        let total: u64 = self.times.iter().sum();
        let mut left = (total as f64 * part) as u64;
        let found = self
            .times
            .iter()
            .position(|&count| match left.checked_sub(count) {
                Some(rest) => {
                    left = rest;
                    false
                }
                None => true,
            });
        found.unwrap_or(LONGEST) as f64
    }
}

/// Reads on all cores but one, with a swap per period on that one.
fn turn(
    registry: &Registry,
    names: &[String],
    period: Option<Duration>,
    duration: Duration,
) -> Turn {
    let readers = thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1));
    let is_over = &AtomicBool::new(false);
    let swaps_before = registry.stats().refreshes_changed;
    let mut times = vec![0; LONGEST + 1];
    thread::scope(|scope| {
        let readers: Vec<_> = (0..readers)
            .map(|_| scope.spawn(move || read(registry, names, is_over)))
            .collect();
        let start = Instant::now();
        while start.elapsed() < duration {
            let round = Instant::now();
            if period.is_some() {
                refresh(registry);
            }
            thread::sleep(PERIOD.saturating_sub(round.elapsed()));
        }
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            for (time, count) in reader.join().unwrap().into_iter().enumerate() {
                times[time] += count;
            }
        }
    });
    Turn {
        times,
        swaps: registry.stats().refreshes_changed - swaps_before,
    }
}

/// Looks names up as a request does, and counts how long that takes.
fn read(registry: &Registry, names: &[String], is_over: &AtomicBool) -> Vec<u64> {
    let mut times = vec![0; LONGEST + 1];
    for name in names.iter().cycle() {
        let start = Instant::now();
        let catalog = registry.catalog().now_or_never().unwrap().unwrap();
        black_box(catalog.find(name));
        drop(catalog);
        let time = start.elapsed().as_nanos() as usize;
        times[time.min(LONGEST)] += 1;
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    times
}

fn refresh(registry: &Registry) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(registry.refresh()).unwrap();
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
