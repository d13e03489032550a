//! Code that the benchmarks share.

#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "an unpublished package"
)]

pub mod catalogs;
pub mod chart;
pub mod gateway;
pub mod http;
pub mod openai;
pub mod payloads;
pub mod process;
pub mod proxy;
pub mod rounds;
pub mod scanners;

use std::{env, time::Duration};

use criterion::Criterion;

/// Returns whether to measure, as `cargo bench` asks for, or only to check that the benchmark
/// runs, as `cargo test --benches` does.
pub fn is_measuring() -> bool {
    env::args().any(|argument| argument == "--bench")
}

/// Returns the arguments that select measurements.
pub fn filters() -> Vec<String> {
    let arguments = env::args().skip(1);
    arguments.filter(|it| !it.starts_with('-')).collect()
}

/// Returns whether `name` contains one of the `filters`, or there are none.
pub fn is_selected(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
}

/// Returns the settings of the benchmarks by criterion.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}
