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
pub(super) struct Patience {
    /// There once something had to be waited for: most bodies come at once.
    turn: Option<Pin<Box<Sleep>>>,
    /// What had been received when the turn began; nothing for the first one.
    mark: u64,
}

impl Patience {
    /// Completes when a turn of this length has brought too little; `received`:
    /// bytes so far.
    pub(super) fn poll_ended(
        &mut self,
        turn: Duration,
        received: u64,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.turn.is_none() && Handle::try_current().is_err() {
            // Without a runtime there is no clock.
            return Poll::Pending;
        }
        let timer = self.turn.get_or_insert_with(|| Box::pin(sleep(turn)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            // A process that was suspended has not looked at what has come.
            let is_overdue = now.saturating_duration_since(timer.deadline()) > SUSPENDED;
            let progress = received - self.mark;
            if !is_overdue && (progress as f64) < MIN_RATE * turn.as_secs_f64() {
                return Poll::Ready(());
            }
            self.mark = received;
            timer.as_mut().reset(now + turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    const TURN: Duration = Duration::from_secs(1);

    /// Whether the patience is over when this much has been received.
    fn is_over(patience: &mut Patience, received: u64) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        patience.poll_ended(TURN, received, &mut cx).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn sixteen_kib_in_a_second_are_enough_and_a_byte_less_is_not() {
        let mut patience = Patience::default();
        assert!(!is_over(&mut patience, 0));
        advance(TURN).await;
        assert!(!is_over(&mut patience, 16 * 1024));
        advance(TURN).await;
        assert!(is_over(&mut patience, 2 * 16 * 1024 - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_later_than_five_seconds_begins_another_turn() {
        for (late, ends) in [(SUSPENDED, true), (SUSPENDED + TURN / 1_000, false)] {
            let mut patience = Patience::default();
            assert!(!is_over(&mut patience, 0));
            advance(TURN + late).await;
            assert_eq!(is_over(&mut patience, 0), ends, "{late:?}");
        }
    }
}
