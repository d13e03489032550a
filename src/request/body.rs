//! The request body that the inner service reads.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::reader::{Failure, ModelReader, Remainder, RemainderProj};
use crate::{
    body::{BoxError, into_bytes},
    headers,
};

pin_project! {
    /// The request body that the inner service of
    /// [`ModelRouting`](crate::ModelRouting) reads: the client's, with the
    /// model's ID in the place of its name.
    ///
    /// It yields `Bytes`, copies none of them (but for small frames that had to
    /// be prefix, from the fifth on), and keeps trailers and the client's errors. Its [`size_hint`](Body::size_hint) is exact whenever
    /// the client's is.
    ///
    /// # Errors
    ///
    /// The client's body's own errors, as they are. A [`Rejection`] when the
    /// remainder of the body turns out to be one that must not be served, such as
    /// one with a second `model`: always before the inner service has received
    /// all of it.
    pub struct RoutedBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        /// A body that is none of our business.
        Untouched { #[pin] body: B },
        /// A prefix front, and what comes after it, which is still to be scanned.
        Inspected { reader: Pin<Box<ModelReader<B>>> },
    }
}

impl<B> RoutedBody<B> {
    pub(crate) fn inspected(reader: Pin<Box<ModelReader<B>>>) -> Self {
        let kind = Kind::Inspected { reader };
        Self { kind }
    }

    /// Passes a body through as it is.
    pub(crate) fn untouched(body: B) -> Self {
        let kind = Kind::Untouched { body };
        Self { kind }
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
        match self.project().kind.project() {
            KindProj::Untouched { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map(into_bytes).map_err(Into::into))),
            KindProj::Inspected { reader } => reader.as_mut().poll_passed(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Inspected { reader } => reader.has_passed(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched { body } => body.size_hint(),
            Kind::Inspected { reader } => reader.left(),
        }
    }
}

impl<B> ModelReader<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// The next frame for the inner service.
    fn poll_passed(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.as_mut().project();
        if let Some(data) = this.prefix.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = match this.remainder.project() {
            RemainderProj::Ended { trailers } => trailers.take().map(|frame| Ok(*frame)),
            RemainderProj::Failed { error } => error.take().map(Err),
            RemainderProj::Streaming { .. } => match ready!(self.as_mut().poll_scanned(cx)) {
                Ok(frame) => frame.map(Ok),
                Err(failure) => Some(Err(self.as_mut().fail(failure))),
            },
        };
        let has_changed = self.has_changed;
        Poll::Ready(frame.map(|frame| frame.map(|frame| strip_stale_digests(frame, has_changed))))
    }

    /// Ends the body, as nothing may follow an error.
    fn fail(self: Pin<&mut Self>, failure: Failure) -> BoxError {
        let mut this = self.project();
        this.remainder.set(Remainder::Ended { trailers: None });
        match failure {
            Failure::Body(error) => error,
            Failure::Refused(rejection) => {
                if let Some(late_rejection_tx) = this.late_rejection_tx.take() {
                    // The response future may be gone: the inner service has
                    // answered already.
                    let _ = late_rejection_tx.send(rejection.clone());
                }
                rejection.into()
            }
        }
    }

    fn has_passed(&self) -> bool {
        self.prefix.is_empty()
            && match &self.remainder {
                // Its end must be read: it may be an error.
                Remainder::Streaming { .. } => false,
                Remainder::Ended { trailers } => trailers.is_none(),
                Remainder::Failed { error } => error.is_none(),
            }
    }

    /// How many bytes have not passed yet.
    fn left(&self) -> SizeHint {
        let front = self.prefix.len();
        let remainder = match &self.remainder {
            Remainder::Streaming { body } => body.size_hint(),
            // Were the length exact that was not, then hyper's HTTP/1 client
            // would send a Content-Length, and so no trailers.
            Remainder::Ended { trailers: Some(_) } if self.expected.is_none() => {
                SizeHint::default()
            }
            // How much is missing is unknown.
            Remainder::Failed { error: Some(_) } => SizeHint::default(),
            Remainder::Ended { .. } | Remainder::Failed { .. } => SizeHint::with_exact(0),
        };
        // A fresh hint: the setters panic when the bounds cross.
        let mut hint = SizeHint::new();
        hint.set_lower(remainder.lower().saturating_add(front));
        if let Some(upper) = remainder.upper() {
            hint.set_upper(upper.saturating_add(front));
        }
        hint
    }
}

/// The frame without checksums of the body as it was.
fn strip_stale_digests(mut frame: Frame<Bytes>, has_changed: bool) -> Frame<Bytes> {
    if let (true, Some(trailers)) = (has_changed, frame.trailers_mut()) {
        headers::strip_stale_digests(trailers);
    }
    frame
}

impl<B> fmt::Debug for RoutedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body's bytes are the client's business.
        let prefix = match &self.kind {
            Kind::Untouched { .. } => 0,
            Kind::Inspected { reader } => reader.prefix.len(),
        };
        f.debug_struct("RoutedBody")
            .field("held_bytes", &prefix)
            .finish_non_exhaustive()
    }
}
