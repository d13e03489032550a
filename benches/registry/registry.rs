//! Lookups in catalogs of all sizes, and what a new catalog costs, by criterion.

use std::hint::black_box;

use benches::catalogs::{
    CatalogSource, SIZES, document, name, registry, runtime, shuffled, size, venice_id,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tower_model_routing::registry::{Catalog, Fetched};

/// Returns a name for the model with this index.
type Naming = fn(usize) -> String;

const NAMINGS: [(&str, Naming); 4] = [
    ("exact", name),
    ("other-case", |index| name(index).to_uppercase()),
    ("alias", venice_id),
    ("unknown", |index| format!("no-such-model-{index}")),
];

fn lookup(criterion: &mut Criterion) {
    for len in SIZES.map(size) {
        let catalog = Catalog::parse(&document(len, &[])).unwrap();
        let mut group = criterion.benchmark_group(format!("lookup/{len}"));
        for (naming, name) in NAMINGS {
            let names = shuffled(len, name);
            let mut names = names.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(naming), |bencher| {
                bencher.iter(|| black_box(catalog.find(names.next().unwrap())).is_some());
            });
        }
        group.finish();
    }
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for len in SIZES.map(size) {
        let document = document(len, &[]);
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter_with_large_drop(|| Catalog::parse(&document).unwrap());
        });
    }
    group.finish();
}

/// Fetches from memory, hashes, parses, swaps, and drops the former catalog.
fn swap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swap");
    for len in SIZES.map(size) {
        let documents = [document(len, &[]), document(len, &["another"])];
        let source = CatalogSource::new(documents.map(Fetched::document));
        let (registry, runtime) = (registry(source), runtime());
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| runtime.block_on(registry.refresh()).unwrap());
        });
    }
    group.finish();
}

criterion_group! {
    name = group;
    config = benches::criterion();
    targets = lookup, parse, swap
}
criterion_main!(group);
