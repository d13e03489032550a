//! How many tasks there are: what would grow if connections or requests were
//! left behind.

use metrics::{describe_gauge, gauge};
use tokio::runtime::Handle;

const TASKS: &str = "proxy_tasks";

/// Counts the tasks of all runtimes.
#[derive(Debug)]
pub(crate) struct Tasks(Vec<Handle>);

impl Tasks {
    pub(crate) fn of(runtimes: Vec<Handle>) -> Self {
        describe_gauge!(TASKS, "Tasks that have not ended, on all threads.");
        Self(runtimes)
    }

    /// Sets the gauge, which is to be done before each export.
    pub(crate) fn record_gauge(&self) {
        let counts = self.0.iter().map(|it| it.metrics().num_alive_tasks());
        gauge!(TASKS).set(counts.sum::<usize>() as f64);
    }
}
