//! Bodies that do what a test tells them.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::StreamBody;
use tokio::sync::mpsc;

/// What a scripted body does when it is polled.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(&'static str),
    /// Returns `Pending` once, and wakes.
    Pending,
    /// Returns `Pending` for ever.
    Hang,
}

/// What a scripted body says of its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hint {
    /// The exact length of what is left.
    Exact,
    /// Nothing.
    Unknown,
    /// Bounds around the truth.
    Bounds,
}

/// A body that follows a script.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    hint: Hint,
    knows_its_end: bool,
    // Tells the test when the body is gone.
    alive: Arc<()>,
}

/// A body's error, which is no `std::error::Error`: all that a body's error
/// must be is `Into<BoxError>`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BodyError(pub(crate) &'static str);

impl From<BodyError> for tower_model_routing::BoxError {
    fn from(error: BodyError) -> Self {
        error.0.into()
    }
}

impl Script {
    /// A body of unknown length that knows when it has ended.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            hint: Hint::Unknown,
            knows_its_end: true,
            alive: Arc::new(()),
        }
    }

    /// These frames, with a `Pending` before each and before the end.
    pub(crate) fn halting(frames: &[impl AsRef<[u8]>]) -> Self {
        let steps = frames
            .iter()
            .flat_map(|frame| [Step::Pending, data(frame.as_ref())]);
        Self::new(steps.chain([Step::Pending]))
    }

    pub(crate) fn hint(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// Whether `is_end_stream` says so when it has ended.
    pub(crate) fn knows_its_end(mut self, knows: bool) -> Self {
        self.knows_its_end = knows;
        self
    }

    /// Upgradable as long as the body is there.
    pub(crate) fn alive(&self) -> std::sync::Weak<()> {
        Arc::downgrade(&self.alive)
    }

    fn left(&self) -> u64 {
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

/// The trailers `x-sum: …`.
pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        HeaderValue::from_static("7"),
    )])
}

impl Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(step) = self.steps.pop_front() else {
            return Poll::Ready(None);
        };
        let frame = match step {
            Step::Data(data) => Ok(Frame::data(data)),
            Step::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Step::Error(error) => Err(BodyError(error)),
            Step::Pending => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Step::Hang => {
                self.steps.push_front(Step::Hang);
                return Poll::Pending;
            }
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.left();
        let mut hint = SizeHint::new();
        match self.hint {
            Hint::Exact => hint.set_exact(left),
            Hint::Unknown => {}
            Hint::Bounds => {
                hint.set_upper(left + 100);
                hint.set_lower(left / 2);
            }
        }
        hint
    }
}

/// A body whose frames the test sends when it likes.
pub(crate) struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>);

/// The other end of a [`Fed`] body; dropping it ends the body.
pub(crate) struct Feed(mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>);

pub(crate) fn fed() -> (Feed, Fed) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Feed(sender), Fed(receiver))
}

impl Feed {
    pub(crate) fn data(&self, bytes: &str) {
        // A body that nobody reads any more takes nothing.
        let _ = self
            .0
            .send(Ok(Frame::data(Bytes::copy_from_slice(bytes.as_bytes()))));
    }

    pub(crate) fn error(&self, error: &'static str) {
        let _ = self.0.send(Err(BodyError(error)));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

impl fmt::Debug for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fed")
    }
}

/// A body that must not move, and whose data are no `Bytes`, but two halves
/// that are not contiguous.
pub(crate) fn pinned_halves(
    text: &'static str,
) -> impl Body<Data = bytes::buf::Chain<&'static [u8], &'static [u8]>, Error = BodyError> + Send {
    use bytes::Buf;

    let frames = stream::unfold(Some(text), |text| async move {
        let text = text?.as_bytes();
        tokio::task::yield_now().await;
        let (front, back) = text.split_at(text.len() / 2);
        Some((Ok(Frame::data(front.chain(back))), None))
    });
    StreamBody::new(frames)
}
