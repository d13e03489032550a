//! The gauge `proxy_tasks`, which grows if connections or requests leak.

use metrics::{describe_gauge, gauge};
use tokio::runtime::Handle;

const TASKS: &str = "proxy_tasks";

/// Counts the tasks of all runtimes.
#[derive(Debug)]
pub(crate) struct TaskGauge(Vec<Handle>);

impl TaskGauge {
    pub(crate) fn new(runtimes: Vec<Handle>) -> Self {
        describe_gauge!(TASKS, "Tasks that have not ended, on all threads.");
        Self(runtimes)
    }

    /// Sets the gauge. Call it before each export.
    pub(crate) fn record(&self) {
        let counts = self.0.iter().map(|it| it.metrics().num_alive_tasks());
        gauge!(TASKS).set(counts.sum::<usize>() as f64);
    }
}
