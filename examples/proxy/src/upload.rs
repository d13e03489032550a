//! A request's body on its way to the upstream, watched.

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
    body::{Body, Idle},
    forward::Chain,
};

/// The body that the client sends upstream.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Body,
    progress: Progress,
}

/// Whose turn it is, and whose fault it was.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Whether the upstream wants more of the body than the client has sent.
    waits_for_client: bool,
    /// When the upstream last took something.
    taken_at: Instant,
    failure: Option<Failure>,
}

/// Why the client's body failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// It stopped coming.
    Idle,
    /// It cannot be read, for this reason.
    Broken(String),
}

impl Upload {
    pub(crate) fn new<B>(body: B) -> (Self, Progress)
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let progress = Progress(Arc::new(Mutex::new(State {
            waits_for_client: false,
            taken_at: Instant::now(),
            failure: None,
        })));
        let upload = Self {
            body: body.boxed_unsync(),
            progress: progress.clone(),
        };
        (upload, progress)
    }
}

impl HttpBody for Upload {
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
                state.taken_at = Instant::now();
            }
            if let Poll::Ready(Some(Err(error))) = &polled {
                state.failure = Some(Failure::of(error));
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
    /// Why the body failed, if it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.with(|state| state.failure.clone())
    }

    /// Waits until it has been the upstream's turn for this long. A slow upload
    /// is no fault of the upstream's, however long it takes.
    pub(crate) async fn upstream_silent(&self, patience: Duration) {
        let deadline = || {
            let since = self.with(|state| match state.waits_for_client {
                true => Instant::now(),
                false => state.taken_at,
            });
            since + patience
        };
        let mut end = deadline();
        loop {
            sleep_until(end).await;
            // It is later now if the upstream has taken something since, or if it
            // is the client's turn.
            let next = deadline();
            if next == end {
                return;
            }
            end = next;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Failure {
    fn of(error: &BoxError) -> Self {
        if error.is::<Idle>() {
            Self::Idle
        } else {
            Self::Broken(Chain(&**error).to_string())
        }
    }
}
