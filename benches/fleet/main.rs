//! A thousand instances that share nothing but the place the list comes from:
//! what they ask of it, and what their requests notice.
//!
//! ```sh
//! cargo run --release --example fleet
//! ```
//!
//! The registries, and the layer around them, are the real ones; only the
//! origin and the requests are made up, on paused time and from fixed seeds, so
//! that every run prints the same. The tables go to stdout, the figure to
//! `examples/fleet/figure.svg`, and the program fails when the fleet does not do
//! what it must. With `--quick` the steady load is shorter, there are fewer
//! requests, and there is no comparison and no figure.

#[path = "../../benches/support/chart.rs"]
mod chart;
mod fleet;
mod origin;
mod plot;
mod report;
mod story;

use std::{
    env,
    process::ExitCode,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use tokio::runtime;
use tower_model_routing::BoxError;

use crate::{
    fleet::{Fleet, Period},
    report::Report,
    story::{HOUR, Story},
};

/// Requests per second that one instance gets: often enough that it never idles
/// past the TTL.
const RATE: f64 = 1.0;
const DAY: Duration = HOUR.saturating_mul(24);
/// Other such rates, for the load that is steady.
const OTHER_RATES: [f64; 3] = [0.1, 0.3, 3.0];
const OTHER_TIME: Duration = HOUR.saturating_mul(4);
const QUICK_RATE: f64 = 0.5;
const QUICK_TIME: Duration = HOUR.saturating_mul(2);

fn main() -> Result<ExitCode, BoxError> {
    let is_quick = env::args().any(|argument| argument == "--quick");
    let (rate, steady_for) = if is_quick {
        (QUICK_RATE, QUICK_TIME)
    } else {
        (RATE, DAY)
    };
    let report = thread::scope(|scope| {
        // One thread each: the jitter is drawn from the thread's generator.
        let told = scope.spawn(move || on_paused_time(Story::tell(rate, true, steady_for)));
        if is_quick {
            return Ok(Report::new(end(told)?));
        }
        let in_step = scope.spawn(move || on_paused_time(Story::tell(rate, false, steady_for)));
        let others = OTHER_RATES.map(|rate| scope.spawn(move || on_paused_time(steady(rate))));
        let mut report = Report::new(end(told)?);
        report.in_step = Some(end(in_step)?);
        for (rate, period) in OTHER_RATES.into_iter().zip(others) {
            report.other_rates.push((rate, end(period)?));
        }
        Ok::<_, BoxError>(report)
    })?;
    report.print();
    if let Some(in_step) = &report.in_step {
        plot::draw(&report.story, in_step).map_err(|error| error.to_string())?;
    }
    let broken = report.broken_promises();
    for promise in &broken {
        eprintln!("not so: {promise}");
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The steady load after a deploy, at another rate.
async fn steady(rate: f64) -> Result<Period, BoxError> {
    let mut fleet = Fleet::new(1, rate, true)?;
    fleet.run(HOUR, 0.0).await;
    Ok(fleet.run(OTHER_TIME, 0.0).await)
}

fn on_paused_time<T>(future: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?
        .block_on(future)
}

fn end<T>(thread: ScopedJoinHandle<'_, Result<T, BoxError>>) -> Result<T, BoxError> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
