//! The time of the scanner and of others by payload, by criterion.

use benches::{
    payloads::{Place, names, payload},
    scanners::SUBJECTS,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn benchmark(criterion: &mut Criterion) {
    for place in [Place::Last, Place::First] {
        let place_name = match place {
            Place::First => "model-first",
            Place::Last => "model-last",
        };
        for name in names() {
            let payload = payload(name, place);
            let mut group = criterion.benchmark_group(format!("{place_name}/{name}"));
            group.throughput(Throughput::Bytes(payload.mean_bytes() as u64));
            for (subject, run) in SUBJECTS {
                let mut bodies = payload.bodies.iter().cycle();
                group.bench_function(BenchmarkId::from_parameter(subject), |bencher| {
                    bencher.iter(|| run(bodies.next().unwrap()));
                });
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = group;
    config = benches::criterion();
    targets = benchmark
}
criterion_main!(group);
