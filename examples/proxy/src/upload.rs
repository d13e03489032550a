//! Request bodies that report their progress.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until};
use tower_model_routing::BoxError;

use crate::{
    body::{Body, IdleTimeout},
    error::ErrorChain,
};

/// A request body that reports its progress.
#[derive(Debug)]
pub(crate) struct TrackedBody {
    body: Body,
    progress: Progress,
}

/// The progress of a [`TrackedBody`].
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Whether the upstream is ready for more than the client has sent.
    waits_for_client: bool,
    /// When the upstream last read from the body.
    read_at: Instant,
    failure: Option<Failure>,
}

/// Why the client's body failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The client sent nothing for too long.
    IdleTimeout,
    /// The body cannot be read, for this reason.
    Invalid(String),
}

impl TrackedBody {
    pub(crate) fn new<B>(body: B) -> (Self, Progress)
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let progress = Progress(Arc::new(Mutex::new(State {
            waits_for_client: false,
            read_at: Instant::now(),
            failure: None,
        })));
        let body = Self {
            body: body.boxed_unsync(),
            progress: progress.clone(),
        };
        (body, progress)
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.progress.with(|state| {
            state.waits_for_client = polled.is_pending();
            if polled.is_ready() {
                state.read_at = Instant::now();
            }
            if let Poll::Ready(Some(Err(error))) = &polled {
                state.failure = Some(Failure::new(error));
            }
        });
        Poll::Ready(ready!(polled))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Progress {
    /// Returns why the body failed, if it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.with(|state| state.failure.clone())
    }

    /// Waits until the upstream has been idle for `timeout`. Time in which the client
    /// sends its body slowly does not count.
    pub(crate) async fn upstream_idle(&self, timeout: Duration) {
        let deadline = || {
            let idle_since = self.with(|state| match state.waits_for_client {
                true => Instant::now(),
                false => state.read_at,
            });
            idle_since + timeout
        };
        let mut end = deadline();
        loop {
            sleep_until(end).await;
            // The deadline moves when the upstream reads, and while it waits for the
            // client.
            let next = deadline();
            if next == end {
                return;
            }
            end = next;
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Failure {
    fn new(error: &BoxError) -> Self {
        if error.is::<IdleTimeout>() {
            Self::IdleTimeout
        } else {
            Self::Invalid(ErrorChain(&**error).to_string())
        }
    }
}
