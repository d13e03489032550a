//! How long a body may be held.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep},
};

/// Bytes per second that are progress enough to go on waiting: 128 kbit/s, so
/// that a large upload over a slow line gets through, but one that drips does
/// not.
const MIN_RATE: f64 = 16.0 * 1024.0;

/// Timers of a process that runs are not this late.
const SUSPENDED: Duration = Duration::from_secs(5);

/// Times a wait, in turns that each must bring enough.
#[derive(Debug, Default)]
pub(super) struct ProgressTimeout {
    /// There once something had to be waited for: most bodies come at once.
    window: Option<Pin<Box<Sleep>>>,
    /// What had been received when the window began; nothing for the first one.
    bytes_at_window_start: u64,
}

impl ProgressTimeout {
    /// Completes when a window of this length has brought too little; `received`:
    /// bytes so far.
    pub(super) fn poll_elapsed(
        &mut self,
        window: Duration,
        received: u64,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.window.is_none() && Handle::try_current().is_err() {
            // Without a runtime there is no clock.
            return Poll::Pending;
        }
        let timer = self.window.get_or_insert_with(|| Box::pin(sleep(window)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            // A process that was suspended has not looked at what has come.
            let is_overdue = now.saturating_duration_since(timer.deadline()) > SUSPENDED;
            let progress = received - self.bytes_at_window_start;
            if !is_overdue && (progress as f64) < MIN_RATE * window.as_secs_f64() {
                return Poll::Ready(());
            }
            self.bytes_at_window_start = received;
            timer.as_mut().reset(now + window);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    /// Whether the patience is over when this much has been received.
    fn is_over(patience: &mut ProgressTimeout, received: u64) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        patience.poll_elapsed(WINDOW, received, &mut cx).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn sixteen_kib_in_a_second_are_enough_and_a_byte_less_is_not() {
        let mut patience = ProgressTimeout::default();
        assert!(!is_over(&mut patience, 0));
        advance(WINDOW).await;
        assert!(!is_over(&mut patience, 16 * 1024));
        advance(WINDOW).await;
        assert!(is_over(&mut patience, 2 * 16 * 1024 - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_later_than_five_seconds_begins_another_turn() {
        for (late, ends) in [(SUSPENDED, true), (SUSPENDED + WINDOW / 1_000, false)] {
            let mut patience = ProgressTimeout::default();
            assert!(!is_over(&mut patience, 0));
            advance(WINDOW + late).await;
            assert_eq!(is_over(&mut patience, 0), ends, "{late:?}");
        }
    }
}
