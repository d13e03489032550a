//! The time of lookups while the catalog is swapped every 50 ms, and while it is not, as a table.
//!
//! The catalogs are parsed beforehand, so that parsing does not decide how often they are swapped.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use benches::{
    catalogs::{CatalogSource, SIZES, document, name, registry, runtime, shuffled, size},
    is_measuring,
    rounds::quantile,
};
use futures_util::FutureExt;
use tower_model_routing::registry::{Catalog, Fetched, Registry};

const PERIOD: Duration = Duration::from_millis(50);
/// Longer lookups count as ones of this many nanoseconds.
const LONGEST: usize = 1_000_000;

fn main() {
    let (rounds, duration) = match is_measuring() {
        true => (7, Duration::from_secs(2)),
        false => (1, Duration::from_millis(20)),
    };
    let len = SIZES.map(size)[SIZES.len() - 1];
    let catalogs = [&[][..], &["another"]].map(|names| {
        let catalog = Catalog::parse(&document(len, names)).unwrap();
        Fetched::catalog(Arc::new(catalog))
    });
    let registry = registry(CatalogSource::new(catalogs));
    runtime().block_on(registry.refresh()).unwrap();
    let names = shuffled(len, name);

    let rounds: Vec<_> = (0..rounds)
        .map(|_| [false, true].map(|swaps| Lookups::run(&registry, &names, swaps, duration)))
        .collect();
    println!("| {len} entries | swaps per second | p50, ns | p99, ns | p99.9, ns |");
    println!("|---|---|---|---|---|");
    for (index, title) in ["not swapped", "swapped"].into_iter().enumerate() {
        let median = |of: &dyn Fn(&Lookups) -> f64| {
            quantile(rounds.iter().map(|round| of(&round[index])), 0.5)
        };
        println!(
            "| {title} | {:.1} | {} | {} | {} |",
            median(&|it| it.swaps as f64 / duration.as_secs_f64()),
            median(&|it| it.percentile(0.5)),
            median(&|it| it.percentile(0.99)),
            median(&|it| it.percentile(0.999)),
        );
    }
    let ratios = rounds
        .iter()
        .map(|[without, with]| with.percentile(0.999) / without.percentile(0.999));
    let ratio = quantile(ratios, 0.5);
    println!("\np99.9, swapped / not swapped: {ratio:.2} (target: ≤ 1.5)");
}

/// The lookups of all readers in one period.
struct Lookups {
    /// Their number by nanoseconds.
    counts: Vec<u64>,
    swaps: u64,
}

impl Lookups {
    /// Reads on all cores but one, and swaps the catalog on that one.
    fn run(registry: &Registry, names: &[String], swaps: bool, duration: Duration) -> Self {
        let readers = thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1));
        let is_over = &AtomicBool::new(false);
        let swaps_before = registry.stats().refreshes_changed;
        let mut counts = vec![0; LONGEST + 1];
        thread::scope(|scope| {
            let readers: Vec<_> = (0..readers)
                .map(|_| scope.spawn(move || read(registry, names, is_over)))
                .collect();
            let start = Instant::now();
            while start.elapsed() < duration {
                let began = Instant::now();
                if swaps {
                    runtime().block_on(registry.refresh()).unwrap();
                }
                thread::sleep(PERIOD.saturating_sub(began.elapsed()));
            }
            is_over.store(true, Ordering::Relaxed);
            for reader in readers {
                for (nanos, count) in reader.join().unwrap().into_iter().enumerate() {
                    counts[nanos] += count;
                }
            }
        });
        Self {
            counts,
            swaps: registry.stats().refreshes_changed - swaps_before,
        }
    }

    fn percentile(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let rank = (total as f64 * share) as u64;
        let mut sum = 0;
        let found = self.counts.iter().position(|count| {
            sum += count;
            sum > rank
        });
        found.unwrap_or(LONGEST) as f64
    }
}

/// Looks names up as a request does, and counts the lookups by nanoseconds.
fn read(registry: &Registry, names: &[String], is_over: &AtomicBool) -> Vec<u64> {
    let mut counts = vec![0; LONGEST + 1];
    for name in names.iter().cycle() {
        let start = Instant::now();
        let catalog = registry.catalog().now_or_never().unwrap().unwrap();
        black_box(catalog.find(name));
        drop(catalog);
        let nanos = start.elapsed().as_nanos() as usize;
        counts[nanos.min(LONGEST)] += 1;
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    counts
}
