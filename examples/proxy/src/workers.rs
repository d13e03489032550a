//! One thread per core, each with a runtime of its own.

use std::{future::pending, io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Handle};

/// Starts the threads, which run as long as the process.
///
/// A connection and its upstream connections stay on one thread. On a multi-threaded
/// runtime the tasks of a request wake each other across threads, which costs more
/// than the requests themselves.
///
/// # Errors
///
/// Returns an error if the system has no more threads or file descriptors.
pub(crate) fn spawn() -> io::Result<Vec<Handle>> {
    let count = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (0..count)
        .map(|index| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || runtime.block_on(pending::<()>()))?;
            Ok(handle)
        })
        .collect()
}
