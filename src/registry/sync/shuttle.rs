//! Stand-ins for what Shuttle does not control: the clock, the tasks of fetches and `ArcSwap`.
//!
//! Tokio's `watch` channel and `arc_swap` are assumed to be correct, with atomic operations.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

pub(in crate::registry) use shuttle::{
    future::AbortHandle,
    sync::{Mutex, MutexGuard},
};

use shuttle::future::JoinHandle;
use tokio::time::Instant;

thread_local! {
    /// The state of one execution, all of whose tasks run on one thread.
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

struct World {
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
    /// The tasks of fetches, including those that have ended.
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            sleepers: Vec::new(),
            tasks: Vec::new(),
        }
    }
}

/// Starts a new execution.
pub(in crate::registry) fn reset() {
    WORLD.set(World::new());
}

pub(in crate::registry) fn now() -> Instant {
    WORLD.with_borrow(|world| world.now)
}

/// Advances the clock, and wakes the timers that are due.
pub(in crate::registry) fn advance(by: Duration) {
    let due = WORLD.with_borrow_mut(|world| {
        world.now += by;
        let now = world.now;
        world
            .sleepers
            .extract_if(.., |(until, _)| *until <= now)
            .collect::<Vec<_>>()
    });
    for (_, waker) in due {
        waker.wake();
    }
}

/// Returns the tasks of the fetches since the last call.
pub(in crate::registry) fn take_tasks() -> Vec<JoinHandle<()>> {
    WORLD.with_borrow_mut(|world| std::mem::take(&mut world.tasks))
}

/// Aborts the tasks of all fetches, like a runtime that shuts down.
pub(in crate::registry) fn abort_tasks() {
    let tasks = WORLD.with_borrow(|world| {
        let handles = world.tasks.iter().map(JoinHandle::abort_handle);
        handles.collect::<Vec<_>>()
    });
    for task in tasks {
        task.abort();
    }
}

#[derive(Debug)]
pub(in crate::registry) struct Elapsed;

pub(in crate::registry) fn timeout<F: Future>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    timeout_at(now() + limit, future)
}

pub(in crate::registry) async fn timeout_at<F: Future>(
    until: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        WORLD.with_borrow_mut(|world| {
            if until <= world.now {
                return Poll::Ready(Err(Elapsed));
            }
            world.sleepers.push((until, context.waker().clone()));
            Poll::Pending
        })
    })
    .await
}

pub(in crate::registry) struct Handle;

impl Handle {
    pub(in crate::registry) fn try_current() -> Result<Self, NoRuntime> {
        Ok(Self)
    }

    pub(in crate::registry) fn spawn(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Spawned {
        let task = shuttle::future::spawn(future);
        let handle = task.abort_handle();
        WORLD.with_borrow_mut(|world| world.tasks.push(task));
        Spawned(handle)
    }
}

#[derive(Debug)]
pub(in crate::registry) struct NoRuntime;

/// The stand-in for `tokio::task::JoinHandle`.
pub(in crate::registry) struct Spawned(AbortHandle);

impl Spawned {
    pub(in crate::registry) fn abort_handle(&self) -> AbortHandle {
        self.0.clone()
    }
}

/// The stand-in for `arc_swap::ArcSwap`: each operation is a step that Shuttle schedules.
pub(in crate::registry) struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(in crate::registry) fn from_pointee(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(in crate::registry) fn load(&self) -> Arc<T> {
        self.load_full()
    }

    pub(in crate::registry) fn load_full(&self) -> Arc<T> {
        self.0.lock().unwrap().clone()
    }

    pub(in crate::registry) fn store(&self, value: Arc<T>) {
        *self.0.lock().unwrap() = value;
    }
}
