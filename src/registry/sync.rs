//! The synchronisation primitives and the clock: Tokio's and the standard library's, or stand-ins
//! that a model checker controls (`--cfg shuttle`).

#[cfg(all(test, shuttle))]
mod shuttle;

#[cfg(not(all(test, shuttle)))]
pub(super) use {
    arc_swap::ArcSwap,
    std::sync::{Mutex, MutexGuard},
    tokio::{
        runtime::Handle,
        task::AbortHandle,
        time::{timeout, timeout_at},
    },
};

#[cfg(all(test, shuttle))]
pub(super) use self::shuttle::*;

/// Returns the current instant.
#[cfg(not(all(test, shuttle)))]
pub(super) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
