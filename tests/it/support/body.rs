//! Bodies that follow a script.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::StreamBody;
use tokio::sync::mpsc;

/// One step of a [`ScriptedBody`].
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(&'static str),
    /// Returns `Pending` once and wakes the task.
    Pending,
    /// Returns `Pending` from then on.
    Hang,
}

/// The size hint of a [`ScriptedBody`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hint {
    /// The exact remaining length.
    Exact,
    Unknown,
    /// Bounds around the remaining length.
    Bounds,
}

/// A body that follows a script.
#[derive(Debug)]
pub(crate) struct ScriptedBody {
    steps: VecDeque<Step>,
    hint: Hint,
    reports_end: bool,
    alive: Arc<()>,
}

/// A body's error that is not a `std::error::Error`, only `Into<BoxError>`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BodyError(pub(crate) &'static str);

impl From<BodyError> for tower_model_routing::BoxError {
    fn from(error: BodyError) -> Self {
        error.0.into()
    }
}

impl ScriptedBody {
    /// Returns a body without a size hint that reports its end.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            hint: Hint::Unknown,
            reports_end: true,
            alive: Arc::new(()),
        }
    }

    /// Returns a body of these frames, with a `Pending` before each and before the end.
    pub(crate) fn pending_between(frames: &[impl AsRef<[u8]>]) -> Self {
        let steps = frames
            .iter()
            .flat_map(|frame| [Step::Pending, data(frame.as_ref())]);
        Self::new(steps.chain([Step::Pending]))
    }

    pub(crate) fn hint(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// Sets whether `is_end_stream` is true at the end.
    pub(crate) fn reports_end(mut self, reports_end: bool) -> Self {
        self.reports_end = reports_end;
        self
    }

    /// Returns a handle that can be upgraded until the body is dropped.
    pub(crate) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    fn remaining(&self) -> u64 {
        let lengths = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        lengths.sum()
    }
}

pub(crate) fn data(bytes: impl AsRef<[u8]>) -> Step {
    Step::Data(Bytes::copy_from_slice(bytes.as_ref()))
}

/// Returns the trailers `x-sum: 7`.
pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        http::HeaderValue::from_static("7"),
    )])
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.steps.pop_front() {
            None => return Poll::Ready(None),
            Some(Step::Data(data)) => Ok(Frame::data(data)),
            Some(Step::Trailers(trailers)) => Ok(Frame::trailers(trailers)),
            Some(Step::Error(error)) => Err(BodyError(error)),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                return Poll::Pending;
            }
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.reports_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let remaining = self.remaining();
        let mut hint = SizeHint::new();
        match self.hint {
            Hint::Exact => hint.set_exact(remaining),
            Hint::Unknown => {}
            Hint::Bounds => {
                hint.set_upper(remaining + 100);
                hint.set_lower(remaining / 2);
            }
        }
        hint
    }
}

/// A body whose frames come from a [`BodySender`].
#[derive(Debug)]
pub(crate) struct ChannelBody(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>);

/// The sending half of a [`ChannelBody`]; dropping it ends the body.
pub(crate) struct BodySender(mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>);

pub(crate) fn channel() -> (BodySender, ChannelBody) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (BodySender(sender), ChannelBody(receiver))
}

impl BodySender {
    /// Sends a frame, unless the body was dropped.
    pub(crate) fn data(&self, bytes: &str) {
        let frame = Frame::data(Bytes::copy_from_slice(bytes.as_bytes()));
        let _ = self.0.send(Ok(frame));
    }

    pub(crate) fn error(&self, error: &'static str) {
        let _ = self.0.send(Err(BodyError(error)));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

/// Returns a body that is not `Unpin` and whose data is a non-contiguous `Buf`.
pub(crate) fn pinned_halves(
    text: &'static str,
) -> impl Body<Data = bytes::buf::Chain<&'static [u8], &'static [u8]>, Error = BodyError> + Send {
    use bytes::Buf;

    let frames = stream::unfold(Some(text), |text| async move {
        let text = text?.as_bytes();
        tokio::task::yield_now().await;
        let (first, rest) = text.split_at(text.len() / 2);
        Some((Ok(Frame::data(first.chain(rest))), None))
    });
    StreamBody::new(frames)
}
