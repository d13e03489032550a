//! Worker threads.

use std::{fs, num::NonZeroUsize, thread::available_parallelism};

use super::{Setup, until};

/// Returns the names of the workers, sorted.
fn threads(setup: &Setup) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", setup.proxy.id())).unwrap();
    let mut names: Vec<_> = threads
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("worker-"))
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn each_core_has_a_worker() {
    let setup = Setup::new().await;
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let mut expected: Vec<_> = (0..cores).map(|core| format!("worker-{core}")).collect();
    expected.sort_unstable();
    // Threads set their names when they start.
    until("the workers", async || threads(&setup) == expected).await;
}
