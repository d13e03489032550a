//! A thread per core, each with a runtime of its own.

use std::{future::pending, io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Handle};

/// Starts the threads; they last as long as the process.
///
/// A connection stays on one of them, and so do its connections to the upstream.
/// On a runtime of many threads, a request's tasks wake each other from one
/// thread to the other, which costs more than the requests themselves.
///
/// # Errors
///
/// The system gives no more threads or files.
pub(crate) fn start() -> io::Result<Vec<Handle>> {
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
