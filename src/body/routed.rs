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

use super::{
    BoxError, into_bytes,
    reader::{End, Reading},
};
use crate::{head, rejection::Rejection, scan::ModelScanner};

pin_project! {
    /// The request body that the inner service of
    /// [`ModelRouting`](crate::ModelRouting) reads: the client's, with the
    /// model's ID in the place of its name.
    ///
    /// It yields `Bytes`, copies none of them, and keeps trailers and the
    /// client's errors. Its [`size_hint`](Body::size_hint) is exact whenever
    /// the client's is.
    ///
    /// # Errors
    ///
    /// The client's body's own errors, as they are. A [`Rejection`] when the
    /// rest of the body turns out to be one that must not be served, such as
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
        /// A body whose front has been read; the rest is checked as it passes.
        Routed {
            reading: Pin<Box<Reading<B>>>,
            violation: Option<oneshot::Sender<Rejection>>,
        },
    }
}

impl<B> RoutedBody<B> {
    /// `violation` is told if the rest of the body must be refused.
    pub(super) fn routed(
        reading: Pin<Box<Reading<B>>>,
        violation: Option<oneshot::Sender<Rejection>>,
    ) -> Self {
        Self {
            kind: Kind::Routed { reading, violation },
        }
    }

    /// Passes a body through as it is.
    pub(crate) fn untouched(body: B) -> Self {
        Self {
            kind: Kind::Untouched { body },
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
        match self.project().kind.project() {
            KindProj::Untouched { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map(into_bytes).map_err(Into::into))),
            KindProj::Routed { reading, violation } => {
                reading.as_mut().poll_checked(cx).map(|frame| {
                    frame.map(|frame| {
                        frame.map_err(|error| match error {
                            Failure::Body(error) => error,
                            Failure::Refused(rejection) => refuse(violation, rejection),
                        })
                    })
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Routed { reading, .. } => {
                reading.held.is_empty()
                    && match &reading.end {
                        // Its end must be read: it may be an error.
                        End::Open { is_last } => *is_last,
                        End::Whole(trailers) => trailers.is_none(),
                        End::Broken(error) => error.is_none(),
                    }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (front, rest) = match &self.kind {
            Kind::Untouched { body } => (0, body.size_hint()),
            Kind::Routed { reading, .. } => {
                let rest = match (&reading.end, &reading.body) {
                    (End::Open { .. }, Some(body)) => body.size_hint(),
                    // Were the length exact that was not, then hyper's HTTP/1
                    // client would send a Content-Length, and so no trailers.
                    (End::Whole(Some(_)), _) if reading.expected.is_none() => SizeHint::default(),
                    // How much is missing is unknown.
                    (End::Broken(Some(_)), _) => SizeHint::default(),
                    _ => SizeHint::with_exact(0),
                };
                (reading.held.len(), rest)
            }
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

/// What keeps a body from being read.
enum Failure {
    /// Its own error.
    Body(BoxError),
    /// It must not be served.
    Refused(Rejection),
}

impl<B> Reading<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// What is held, and then the rest, scanned as it passes.
    fn poll_checked(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut this = self.project();
        if let Some(data) = this.held.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let is_last = match this.end {
            End::Open { is_last } => is_last,
            End::Whole(trailers) => {
                let frame = trailers.take();
                return Poll::Ready(frame.map(|frame| Ok(true_of(frame, *this.has_changed))));
            }
            End::Broken(error) => {
                return Poll::Ready(error.take().map(|error| Err(Failure::Body(error))));
            }
        };
        let Some(mut body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let result = match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                let frame = into_bytes(frame);
                *is_last = body.is_end_stream();
                if let Some(data) = frame.data_ref() {
                    *this.received += data.len() as u64;
                }
                let is_last_byte = Some(*this.received) == *this.expected;
                match check(this.scanner, &frame, *is_last, is_last_byte) {
                    Ok(()) => {
                        return Poll::Ready(Some(Ok(true_of(frame, *this.has_changed))));
                    }
                    Err(rejection) => Some(Err(Failure::Refused(rejection))),
                }
            }
            Some(Err(error)) => Some(Err(Failure::Body(error.into()))),
            None => match this.scanner.finish() {
                Ok(()) => None,
                Err(rejection) => Some(Err(Failure::Refused(rejection))),
            },
        };
        // Nothing may follow the end or an error.
        *this.end = End::Whole(None);
        this.body.set(None);
        Poll::Ready(result)
    }
}

/// Whether this frame may pass; `is_last`: the body says that it is the last
/// one; `is_last_byte`: its length says so.
fn check(
    scanner: &mut ModelScanner,
    frame: &Frame<Bytes>,
    is_last: bool,
    is_last_byte: bool,
) -> Result<(), Rejection> {
    if let Some(data) = frame.data_ref() {
        scanner.feed(data)?;
    }
    // A body that is not valid must be refused before its last byte, or else
    // the inner service would have all of it.
    if is_last || frame.is_trailers() || (is_last_byte && !scanner.is_complete()) {
        scanner.finish()?;
    }
    Ok(())
}

/// The frame without checksums of the body as it was.
fn true_of(mut frame: Frame<Bytes>, has_changed: bool) -> Frame<Bytes> {
    if let (true, Some(trailers)) = (has_changed, frame.trailers_mut()) {
        head::remove_digests(trailers);
    }
    frame
}

/// Tells the response future, and makes the body's error of it.
fn refuse(violation: &mut Option<oneshot::Sender<Rejection>>, rejection: Rejection) -> BoxError {
    if let Some(violation) = violation.take() {
        // It may be gone: the inner service has answered already.
        let _ = violation.send(rejection.clone());
    }
    rejection.into()
}

impl<B> fmt::Debug for RoutedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body's bytes are the client's business.
        let held = match &self.kind {
            Kind::Untouched { .. } => 0,
            Kind::Routed { reading, .. } => reading.held.len(),
        };
        f.debug_struct("RoutedBody")
            .field("held_bytes", &held)
            .finish_non_exhaustive()
    }
}
