//! How much longer a lookup takes in a long list than in a short one, as a
//! table.
//!
//! The lists take turns, and what counts is the median of the ratios of one
//! turn.

mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use support::feed::{catalog_sizes, feed, name, shuffled};
use tower_model_routing::Catalog;

/// How long a list's turn is at least.
const TURN: Duration = Duration::from_millis(20);

fn main() {
    let turns = match support::is_measuring() {
        true => 51,
        false => 1,
    };
    // All names in no order, so that long lists get no help from the CPU's
    // caches.
    let lists: Vec<(Catalog, Vec<String>)> = catalog_sizes()
        .map(|len| {
            let catalog = Catalog::parse(&feed(len, &[])).unwrap();
            (catalog, shuffled(len).into_iter().map(name).collect())
        })
        .collect();
    let turns: Vec<Vec<f64>> = (0..turns)
        .map(|_| {
            let time = |(catalog, names): &(Catalog, Vec<String>)| nanoseconds(catalog, names);
            lists.iter().map(time).collect()
        })
        .collect();
    println!("| models | lookup as spelled, ns | x the shortest list | target |");
    println!("|---|---|---|---|");
    for (index, (catalog, _)) in lists.iter().enumerate() {
        let median = |of: &dyn Fn(&Vec<f64>) -> f64| {
            let mut values: Vec<f64> = turns.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "| {} | {:.1} | {:.2} | {} |",
            catalog.len(),
            median(&|times| times[index]),
            median(&|times| times[index] / times[0]),
            if catalog.len() == 100_000 {
                "≤ 3"
            } else {
                ""
            },
        );
    }
}

/// How long a lookup takes.
fn nanoseconds(catalog: &Catalog, names: &[String]) -> f64 {
    const BATCH: usize = 1_000;

    let mut found = 0;
    let mut lookups = 0;
    let mut names = names.iter().cycle();
    let start = Instant::now();
    while start.elapsed() < TURN {
        for name in names.by_ref().take(BATCH) {
            found += usize::from(black_box(catalog.find(name)).is_some());
        }
        lookups += BATCH;
    }
    let elapsed = start.elapsed();
    assert_eq!(found, lookups);
    elapsed.as_nanos() as f64 / lookups as f64
}
