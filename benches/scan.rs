//! The scanner and others, payload by payload, with criterion.
//!
//! Ratios are better taken from `scan_ratios`, where the contestants take
//! turns.

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{
    contestants::ALL,
    payloads::{Place, names, payload},
};

fn benchmark(criterion: &mut Criterion) {
    for place in [Place::Last, Place::First] {
        let place_name = match place {
            Place::First => "model-first",
            Place::Last => "model-last",
        };
        for name in names() {
            let payload = payload(name, place);
            let total: usize = payload.bodies.iter().map(Vec::len).sum();
            let mut group = criterion.benchmark_group(format!("{place_name}/{name}"));
            group.throughput(Throughput::Bytes((total / payload.bodies.len()) as u64));
            for (contestant, run) in ALL {
                let mut bodies = payload.bodies.iter().cycle();
                group.bench_function(BenchmarkId::from_parameter(contestant), |bencher| {
                    bencher.iter(|| run(bodies.next().unwrap()));
                });
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = benchmark
}
criterion_main!(benches);
