//! A thousand instances that share only the origin of the catalog: the requests they send to it,
//! and what their own requests experience.
//!
//! The registries and the layer are the real ones. The origin and the requests are simulated, on
//! paused time and from fixed seeds, so that each run has the same results. It fails when a target
//! is missed. With `--quick` the steady load is shorter, there are fewer requests, and neither a
//! comparison nor a figure.

mod fleet;
mod origin;
mod plot;
mod report;
mod scenario;

use std::{
    env,
    process::ExitCode,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use benches::is_measuring;
use tokio::runtime;
use tower_model_routing::BoxError;

use crate::{
    fleet::Fleet,
    report::Report,
    scenario::{HOUR, Scenario},
};

/// Requests per second and instance: often enough that none idles past the TTL.
const RATE: f64 = 1.0;
const DAY: Duration = HOUR.saturating_mul(24);
/// Other rates, for the steady load.
const OTHER_RATES: [f64; 3] = [0.1, 0.3, 3.0];
const OTHER_TIME: Duration = HOUR.saturating_mul(4);
const QUICK_RATE: f64 = 0.5;
const QUICK_TIME: Duration = HOUR.saturating_mul(2);
/// Without measuring there are no targets.
const TRIAL_TIME: Duration = Duration::from_secs(60);

fn main() -> Result<ExitCode, BoxError> {
    let is_quick = env::args().any(|argument| argument == "--quick");
    if !is_measuring() {
        on_paused_time(Fleet::run_steady(QUICK_RATE, Duration::ZERO, TRIAL_TIME))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (rate, steady_time) = match is_quick {
        true => (QUICK_RATE, QUICK_TIME),
        false => (RATE, DAY),
    };
    let report = thread::scope(|scope| {
        // A thread each, because registries draw their jitter from the thread's generator.
        let run =
            |jitter| scope.spawn(move || on_paused_time(Scenario::run(rate, jitter, steady_time)));
        let scenario = run(true);
        if is_quick {
            return Ok(Report::new(join(scenario)?));
        }
        let without_jitter = run(false);
        let others = OTHER_RATES.map(|rate| {
            scope.spawn(move || on_paused_time(Fleet::run_steady(rate, HOUR, OTHER_TIME)))
        });
        let mut report = Report::new(join(scenario)?);
        report.without_jitter = Some(join(without_jitter)?);
        for (rate, period) in OTHER_RATES.into_iter().zip(others) {
            report.other_rates.push((rate, join(period)?));
        }
        Ok::<_, BoxError>(report)
    })?;
    report.print();
    if let Some(without_jitter) = &report.without_jitter {
        plot::draw(&report.scenario, without_jitter)?;
    }
    let missed = report.missed_targets();
    for target in &missed {
        eprintln!("missed: {target}");
    }
    Ok(match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn on_paused_time<T>(future: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?
        .block_on(future)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, BoxError>>) -> Result<T, BoxError> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
