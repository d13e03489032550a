//! The time of a request to the inner service and back, by criterion: without a layer, with this
//! one, and with a naive one.

use benches::{
    gateway::{Gateway, ROUTES, Reading, payload_names, requests},
    payloads::{Place, payload},
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn benchmark(criterion: &mut Criterion) {
    let mut gateway = Gateway::new(Reading);
    for name in payload_names() {
        let payload = payload(name, Place::Last);
        let request = requests(&payload);
        let mut group = criterion.benchmark_group(format!("layer/{name}"));
        group.throughput(Throughput::Bytes(payload.mean_bytes() as u64));
        for (route, route_name) in ROUTES.into_iter().enumerate() {
            let mut indices = 0..;
            group.bench_function(BenchmarkId::from_parameter(route_name), |bencher| {
                bencher.iter_batched(
                    || request(indices.next().unwrap()),
                    |request| gateway.send(route, request),
                    // Few, because a request that has just been received is in the cache.
                    BatchSize::NumIterations(8),
                );
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = group;
    config = benches::criterion();
    targets = benchmark
}
criterion_main!(group);
