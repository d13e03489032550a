//! Which threads the proxy has.

use std::{fs, num::NonZeroUsize, thread::available_parallelism};

use super::{Setup, until};

/// Returns the names of the workers, in order.
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
async fn there_is_a_worker_for_each_core() {
    let setup = Setup::new().await;
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let mut expected: Vec<_> = (0..cores).map(|core| format!("worker-{core}")).collect();
    expected.sort_unstable();
    // Threads name themselves, once they run.
    until("a thread for each", async || threads(&setup) == expected).await;
}
