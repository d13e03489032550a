//! The time of a lookup by the size of the catalog, as a table.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use benches::{
    catalogs::{SIZES, document, name, shuffled, size},
    is_measuring,
    rounds::Rounds,
};
use tower_model_routing::registry::Catalog;

/// How long the lookups in a catalog last in a round, at least.
const MOMENT: Duration = Duration::from_millis(20);

fn main() {
    let catalogs = SIZES.map(size).map(|len| {
        let catalog = Catalog::parse(&document(len, &[])).unwrap();
        (catalog, shuffled(len, name))
    });
    let rounds = if is_measuring() { 51 } else { 1 };
    let rounds = Rounds::<{ SIZES.len() }>::measure(rounds, |index| {
        let (catalog, names) = &catalogs[index];
        nanoseconds(catalog, names)
    });
    println!("| models | lookup, ns | × the smallest catalog | target |");
    println!("|---|---|---|---|");
    for (index, size) in SIZES.into_iter().enumerate() {
        println!(
            "| {} | {:.1} | {:.2} | {} |",
            catalogs[index].0.len(),
            rounds.median(|times| times[index]),
            rounds.median(|times| times[index] / times[0]),
            if size == 100_000 { "≤ 3" } else { "" },
        );
    }
}

/// Returns the time of a lookup.
fn nanoseconds(catalog: &Catalog, names: &[String]) -> f64 {
    const BATCH: usize = 1_000;

    let mut found = 0;
    let mut lookups = 0;
    let mut names = names.iter().cycle();
    let start = Instant::now();
    while start.elapsed() < MOMENT {
        for name in names.by_ref().take(BATCH) {
            found += usize::from(black_box(catalog.find(name)).is_some());
        }
        lookups += BATCH;
    }
    let elapsed = start.elapsed();
    assert_eq!(found, lookups);
    elapsed.as_nanos() as f64 / lookups as f64
}
