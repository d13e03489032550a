//! The request body that the inner service reads.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::{BoxError, held::HeldFrames, into_bytes};
use crate::{head, rejection::Rejection, scan::ModelScanner};

pin_project! {
    /// The request body that the inner service of
    /// [`ModelRouting`](crate::ModelRouting) reads: the client's, with the
    /// model's ID in the place of its name.
    ///
    /// It yields `Bytes`, copies none of them (but for small frames that had to
    /// be held, from the fifth on), and keeps trailers and the client's errors. Its [`size_hint`](Body::size_hint) is exact whenever
    /// the client's is.
    ///
    /// # Errors
    ///
    /// The client's body's own errors, as they are. A [`Rejection`] when the
    /// rest of the body turns out to be one that must not be served, such as
    /// one with a second `model`: always before the inner service has received
    /// all of it.
    pub struct RoutedBody<B> {
        front: Option<HeldFrames>,
        #[pin]
        rest: Rest<B>,
        has_changed: bool,
    }
}

pin_project! {
    /// What comes after the held front.
    #[project = RestProj]
    pub(super) enum Rest<B> {
        /// A body that is none of our business.
        Untouched { #[pin] body: B },
        /// The rest is still to come, and to be checked.
        // Boxed, because most bodies are short and need none of it.
        Checked { body: Pin<Box<B>>, tail: Box<TailCheck> },
        /// All that is left are these trailers.
        Ended { trailers: Option<Box<Frame<Bytes>>>, is_exact: bool },
        /// The body failed.
        Broken { error: Option<BoxError> },
    }
}

/// Scans the rest of a body as it passes.
#[derive(Debug)]
pub(super) struct TailCheck {
    scanner: ModelScanner,
    received: u64,
    expected: Option<u64>,
    violation: Option<oneshot::Sender<Rejection>>,
    is_done: bool,
}

impl TailCheck {
    pub(super) fn new(
        scanner: ModelScanner,
        received: u64,
        expected: Option<u64>,
        violation: oneshot::Sender<Rejection>,
    ) -> Self {
        Self {
            scanner,
            received,
            expected,
            violation: Some(violation),
            is_done: false,
        }
    }

    /// Whether this frame may pass; `is_last`: the body says that it is the
    /// last one.
    fn check(&mut self, frame: &Frame<Bytes>, is_last: bool) -> Result<(), Rejection> {
        if let Some(data) = frame.data_ref() {
            self.scanner.feed(data)?;
            self.received += data.len() as u64;
        }
        // A body that is not valid must be refused before its last byte, or
        // else the inner service would have all of it.
        let is_last_byte = Some(self.received) == self.expected && !self.scanner.is_complete();
        if is_last || is_last_byte || frame.is_trailers() {
            self.scanner.finish()?;
        }
        self.is_done = is_last;
        Ok(())
    }

    /// Tells the response future, and makes the body's error of it.
    fn refuse(&mut self, rejection: Rejection) -> BoxError {
        if let Some(violation) = self.violation.take() {
            // It may be gone: the inner service has answered already.
            let _ = violation.send(rejection.clone());
        }
        rejection.into()
    }
}

impl<B> RoutedBody<B> {
    pub(super) fn new(front: HeldFrames, rest: Rest<B>, has_changed: bool) -> Self {
        Self {
            front: Some(front),
            rest,
            has_changed,
        }
    }

    /// Passes a body through as it is.
    pub(crate) fn untouched(body: B) -> Self {
        Self {
            front: None,
            rest: Rest::Untouched { body },
            has_changed: false,
        }
    }
}

impl<B> Body for RoutedBody<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Some(front) = this.front {
            if let Some(data) = front.pop() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            *this.front = None;
        }
        let result = match this.rest.as_mut().project() {
            RestProj::Untouched { body } => {
                let frame = ready!(body.poll_frame(cx));
                return Poll::Ready(frame.map(|frame| frame.map(into_bytes).map_err(Into::into)));
            }
            RestProj::Ended { trailers, .. } => {
                let frame = trailers.take();
                return Poll::Ready(frame.map(|frame| Ok(true_of(*frame, *this.has_changed))));
            }
            RestProj::Broken { error } => return Poll::Ready(error.take().map(Err)),
            RestProj::Checked { body, tail } => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                let frame = frame.map(|frame| frame.map(into_bytes).map_err(Into::into));
                match frame {
                    Some(Ok(frame)) => match tail.check(&frame, body.is_end_stream()) {
                        Ok(()) => {
                            return Poll::Ready(Some(Ok(true_of(frame, *this.has_changed))));
                        }
                        Err(rejection) => Some(Err(tail.refuse(rejection))),
                    },
                    None => match tail.scanner.finish() {
                        Ok(()) => None,
                        Err(rejection) => Some(Err(tail.refuse(rejection))),
                    },
                    failed => failed,
                }
            }
        };
        // Nothing may follow the end or an error.
        this.rest.set(Rest::Ended {
            trailers: None,
            is_exact: true,
        });
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.front.as_ref().is_none_or(HeldFrames::is_empty)
            && match &self.rest {
                Rest::Untouched { body } => body.is_end_stream(),
                // Its end must be read: it may be an error.
                Rest::Checked { tail, .. } => tail.is_done,
                Rest::Ended { trailers, .. } => trailers.is_none(),
                Rest::Broken { error } => error.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let front = self.front.as_ref().map_or(0, HeldFrames::len);
        let rest = match &self.rest {
            Rest::Untouched { body } => body.size_hint(),
            Rest::Checked { body, .. } => body.size_hint(),
            // Were the length exact that was not, then hyper's HTTP/1 client
            // would send a Content-Length, and so no trailers.
            Rest::Ended {
                trailers: Some(_),
                is_exact: false,
            } => SizeHint::default(),
            Rest::Ended { .. } => SizeHint::with_exact(0),
            // How much is missing is unknown.
            Rest::Broken { error } if error.is_some() => SizeHint::default(),
            Rest::Broken { .. } => SizeHint::with_exact(0),
        };
        // A fresh hint: the setters panic when the bounds cross.
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(front));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(front));
        }
        hint
    }
}

/// The frame without checksums of the body as it was.
fn true_of(mut frame: Frame<Bytes>, has_changed: bool) -> Frame<Bytes> {
    if let (true, Some(trailers)) = (has_changed, frame.trailers_mut()) {
        head::remove_digests(trailers);
    }
    frame
}

impl<B> fmt::Debug for RoutedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body's bytes are the client's business.
        let held = self.front.as_ref().map_or(0, HeldFrames::len);
        f.debug_struct("RoutedBody")
            .field("held_bytes", &held)
            .finish_non_exhaustive()
    }
}
