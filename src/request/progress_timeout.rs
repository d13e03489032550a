//! Times out request bodies that make too little progress.

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

/// The least progress in bytes per second: 128 kbit/s, which a large upload over a slow line
/// makes, but not a client that drips.
const MIN_RATE: f64 = 16.0 * 1024.0;

/// A timer that is later than this fired after the process was suspended.
const MAX_TIMER_DELAY: Duration = Duration::from_secs(5);

/// A timeout that starts a new window after each one that made enough progress.
#[derive(Debug, Default)]
pub(super) struct ProgressTimeout {
    /// Set by the first wait: most bodies arrive at once.
    window: Option<Pin<Box<Sleep>>>,
    bytes_at_window_start: u64,
}

impl ProgressTimeout {
    /// Completes when a window of this length made too little progress; `received` is the number
    /// of bytes so far. Never completes outside of a runtime, where there is no clock.
    pub(super) fn poll_elapsed(
        &mut self,
        window: Duration,
        received: u64,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.window.is_none() && Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let timer = self.window.get_or_insert_with(|| Box::pin(sleep(window)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            // A process that was suspended has not read what arrived.
            let was_suspended = now.saturating_duration_since(timer.deadline()) > MAX_TIMER_DELAY;
            let progress = received - self.bytes_at_window_start;
            if !was_suspended && (progress as f64) < MIN_RATE * window.as_secs_f64() {
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

    fn is_elapsed(timeout: &mut ProgressTimeout, received: u64) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        timeout.poll_elapsed(WINDOW, received, &mut cx).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn each_window_must_bring_16_kib_per_second() {
        let mut timeout = ProgressTimeout::default();
        assert!(!is_elapsed(&mut timeout, 0));
        advance(WINDOW).await;
        assert!(!is_elapsed(&mut timeout, 16 * 1024));
        advance(WINDOW).await;
        assert!(is_elapsed(&mut timeout, 2 * 16 * 1024 - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn suspension_starts_a_new_window() {
        let millisecond = Duration::from_millis(1);
        for (delay, elapsed) in [
            (MAX_TIMER_DELAY, true),
            (MAX_TIMER_DELAY + millisecond, false),
        ] {
            let mut timeout = ProgressTimeout::default();
            assert!(!is_elapsed(&mut timeout, 0));
            advance(WINDOW + delay).await;
            assert_eq!(is_elapsed(&mut timeout, 0), elapsed, "{delay:?}");
        }
    }
}
