//! What the refreshes are built on: Tokio and the standard library, or, under
//! `--cfg shuttle`, stand-ins with which a test decides who runs next and what
//! time it is.

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

/// The time it is.
#[cfg(not(all(test, shuttle)))]
pub(super) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
