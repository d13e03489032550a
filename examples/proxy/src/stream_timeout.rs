//! The timeout of HTTP/2 streams whose clients do not read.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::{
    task::{futures::TaskLocalFuture, spawn},
    time::{Instant, Sleep, sleep},
};

tokio::task_local! {
    static UNSENT: Unsent;
}

/// The number of the frame that a stream has not sent yet, or 0.
type Unsent = Arc<AtomicU64>;

/// Spawns the tasks of HTTP/2 streams, and ends those that cannot send a frame in time. The stream
/// is then reset.
///
/// A stream's task does not poll its body until the last frame has room in the client's window, so
/// the body cannot time out by itself.
#[derive(Clone, Debug)]
pub(crate) struct StreamExecutor {
    pub(crate) write_timeout: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let unsent = Unsent::default();
        spawn(StreamTask {
            future: Box::pin(UNSENT.scope(Arc::clone(&unsent), future)),
            unsent,
            timed: 0,
            write_timeout: self.write_timeout,
            sleep: None,
        });
    }
}

struct StreamTask<F> {
    future: Pin<Box<TaskLocalFuture<Unsent, F>>>,
    unsent: Unsent,
    /// The frame to which the timer belongs.
    timed: u64,
    write_timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let unsent = this.unsent.load(Ordering::Relaxed);
        if unsent == 0 {
            return Poll::Pending;
        }
        let write_timeout = this.write_timeout;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        if this.timed != unsent {
            this.timed = unsent;
            sleep.as_mut().reset(Instant::now() + write_timeout);
        }
        ready!(sleep.as_mut().poll(cx));
        tracing::debug!("resetting a stream whose client does not read");
        Poll::Ready(())
    }
}

/// The body of a response, which tells its stream's task of unsent frames.
pub(crate) struct StreamBody<B> {
    body: B,
    frames: u64,
    /// `None` in HTTP/1.
    unsent: Option<Unsent>,
}

impl<B> StreamBody<B> {
    /// Wraps a body. Call it in the task of the stream.
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            frames: 0,
            unsent: UNSENT.try_with(Arc::clone).ok(),
        }
    }

    fn set_unsent(&self, frame: u64) {
        if let Some(unsent) = &self.unsent {
            unsent.store(frame, Ordering::Relaxed);
        }
    }
}

impl<B: Body + Unpin> Body for StreamBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.set_unsent(0);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.frames += 1;
        self.set_unsent(self.frames);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
