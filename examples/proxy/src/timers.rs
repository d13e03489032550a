//! Timers that cost next to nothing until they end.
//!
//! Each request sets several, of a minute or more, and hardly any of them ever
//! ends. To set and unset one of tokio's takes two locks; and as long as a runtime
//! has any, each sleep of its thread costs the system an alarm, which makes a small
//! request a tenth more expensive. So a thread that does nothing else keeps the
//! alarms of all workers, and one that is not needed any more stays set for the next
//! timer. If it ends too early for that one, it is set anew. (Until it ends it also
//! holds on to the memory of the task that waited for it last.)
//!
//! What is seldom waited for stays on the workers: new connections to the upstream,
//! clients that do not read, and the routing layer's wait for a model.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt;
use tokio::{
    runtime::Handle,
    time::{self, Instant},
};

use super::workers;

type Alarm = Pin<Box<time::Sleep>>;

/// The runtime that keeps all alarms.
static KEEPER: OnceLock<Handle> = OnceLock::new();

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare(Vec::new())) };
}

/// Starts the thread that keeps the alarms; it lasts as long as the process.
/// Without it, alarms are of the runtime that waits for them, and none serves
/// twice.
///
/// # Errors
///
/// The system gives no more threads or files.
pub(crate) fn start() -> io::Result<()> {
    let keeper = workers::start_one("timers")?;
    // The first one stays.
    let _ = KEEPER.set(keeper);
    Ok(())
}

/// Like [`tokio::time::sleep`].
pub(crate) fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Like [`tokio::time::sleep_until`].
pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        alarm: None,
    }
}

/// Completes at its deadline.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Instant,
    /// There once somebody has waited; set to the deadline or to an earlier time.
    alarm: Option<Alarm>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let alarm = self.alarm.get_or_insert_with(|| alarm(deadline));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(alarm), Some(_)) = (self.alarm.take(), KEEPER.get()) {
            give_back(alarm);
        }
    }
}

/// An alarm for this time or an earlier one.
fn alarm(deadline: Instant) -> Alarm {
    match KEEPER.get() {
        Some(keeper) => take(keeper, deadline),
        None => Box::pin(time::sleep_until(deadline)),
    }
}

fn take(keeper: &Handle, deadline: Instant) -> Alarm {
    // The thread may be ending.
    let spare = SPARE.try_with(|spare| spare.borrow_mut().0.pop());
    let Some(mut alarm) = spare.ok().flatten() else {
        let _entered = keeper.enter();
        return Box::pin(time::sleep_until(deadline));
    };
    if alarm.deadline() > deadline {
        alarm.as_mut().reset(deadline);
    }
    alarm
}

fn give_back(alarm: Alarm) {
    let rejected = SPARE.try_with(|spare| spare.borrow_mut().put(alarm));
    // Not before: to drop one may run the code of others.
    drop(rejected);
}

/// Alarms that are set and that nobody waits for.
struct Spare(Vec<Alarm>);

impl Spare {
    /// A burst of requests leaves no more than this.
    const MAX: usize = 256;

    /// Gives the alarm back if there are enough of them.
    fn put(&mut self, alarm: Alarm) -> Option<Alarm> {
        if self.0.len() == Self::MAX {
            return Some(alarm);
        }
        self.0.push(alarm);
        None
    }
}

/// The timers of hyper's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer;

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(sleep(duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(sleep_until(deadline.into()))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

impl rt::Sleep for Sleep {}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task::spawn};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn set(duration: Duration) -> Alarm {
        Box::pin(time::sleep(duration))
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_completes_at_its_deadline() {
        let start = Instant::now();
        sleep(2 * SECOND).await;
        assert_eq!(start.elapsed(), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_ends_early_is_set_anew() {
        let alarm = Some(set(SECOND));
        let deadline = Instant::now() + 3 * SECOND;
        let mut sleep = spawn(Sleep { deadline, alarm });
        for _ in 0..3 {
            assert_pending!(sleep.poll());
            time::advance(SECOND).await;
        }
        assert!(sleep.is_woken());
        assert_ready!(sleep.poll());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_serves_again_and_ends_no_later_than_it_should() {
        let keeper = Handle::current();
        let spare = || SPARE.with(|spare| spare.borrow().0.len());
        for (was_set, wanted, ends) in [(1, 5, 1), (5, 5, 5), (9, 5, 5)] {
            let now = Instant::now();
            give_back(take(&keeper, now + was_set * SECOND));
            assert_eq!(spare(), 1);
            let alarm = take(&keeper, now + wanted * SECOND);
            assert_eq!(spare(), 0);
            assert_eq!(alarm.deadline(), now + ends * SECOND);
            alarm.await;
            assert_eq!(now.elapsed(), ends * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn spare_alarms_are_bounded() {
        let mut spare = Spare(Vec::new());
        let kept = (0..1_000).filter(|_| spare.put(set(SECOND)).is_none());
        assert_eq!(kept.count(), 256);
        assert_eq!(spare.0.len(), 256);
    }
}
