//! Lookups in catalogs of all sizes, and what a new catalog costs, with
//! criterion.
//!
//! What readers notice of it is for `registry_readers`.

mod support;

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use support::feed::{Feed, catalog_sizes, feed, name, shuffled, venice_id};
use tower_model_routing::{Catalog, RoutingConfig};

/// A way to spell the name of the model with this number.
type Spelling = fn(usize) -> String;

const SPELLINGS: [(&str, Spelling); 4] = [
    ("as-spelled", name),
    ("other-case", |index| name(index).to_uppercase()),
    ("alias", venice_id),
    ("unknown", |index| format!("no-such-model-{index}")),
];

fn lookup(criterion: &mut Criterion) {
    for len in catalog_sizes() {
        let catalog = Catalog::parse(&feed(len, &[])).unwrap();
        let mut group = criterion.benchmark_group(format!("lookup/{len}"));
        for (spelling, spell) in SPELLINGS {
            // All of them in no order, so that large catalogs get no help from
            // the CPU's caches.
            let names: Vec<String> = shuffled(len).into_iter().map(spell).collect();
            let mut names = names.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(spelling), |bencher| {
                bencher.iter(|| black_box(catalog.find(names.next().unwrap())).is_some());
            });
        }
        group.finish();
    }
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for len in catalog_sizes() {
        let document = feed(len, &[]);
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter_with_large_drop(|| Catalog::parse(&document).unwrap());
        });
    }
    group.finish();
}

/// Fetch at no cost, hash, parse, swap, and drop the catalog before.
fn swap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swap");
    for len in catalog_sizes() {
        let source = Feed::new([feed(len, &[]), feed(len, &["another"])]);
        let config = RoutingConfig::builder().source(source).build().unwrap();
        let layer = tower_model_routing::ModelRoutingLayer::new(config);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| runtime.block_on(layer.registry().refresh()).unwrap());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = lookup, parse, swap
}
criterion_main!(benches);
