//! The request body that the inner service reads.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::reader::{ModelReader, Remainder, RemainderProj, Scanned};
use crate::{
    body::{BoxError, into_bytes},
    coding::BodyError,
    headers,
    response::Rejection,
};

pin_project! {
    /// The request body that the inner service of [`ModelRouting`](crate::ModelRouting) reads: the
    /// client's, with the model's ID in place of its name.
    ///
    /// It yields `Bytes` and forwards trailers and the client's errors. It copies no data, except
    /// for small frames that had to be buffered, from the fifth on. Its
    /// [`size_hint`](Body::size_hint) is exact if the client's is.
    ///
    /// # Errors
    ///
    /// The body fails with the error of the client's body, or with a
    /// [`Rejection`](crate::Rejection) if a part of the body that was not buffered turns out to be
    /// invalid, for example by a second `model`. Where the body must be valid, the inner service
    /// never reads an invalid one to its end.
    pub struct RoutedBody<B> {
        #[pin]
        kind: Kind<B>,
        // Clients must not send these as trailers.
        model_headers: Arc<[HeaderName]>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Untouched { #[pin] body: B },
        Inspected { reader: Pin<Box<ModelReader<B>>> },
    }
}

impl<B> RoutedBody<B> {
    /// Wraps a body whose prefix has been scanned.
    pub(crate) fn inspected(
        reader: Pin<Box<ModelReader<B>>>,
        model_headers: Arc<[HeaderName]>,
    ) -> Self {
        let kind = Kind::Inspected { reader };
        Self {
            kind,
            model_headers,
        }
    }

    /// Wraps a body that is forwarded unread.
    pub(crate) fn untouched(body: B, model_headers: Arc<[HeaderName]>) -> Self {
        let kind = Kind::Untouched { body };
        Self {
            kind,
            model_headers,
        }
    }
}

impl<B> RoutedBody<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// Reserves budget for the prefix while the request waits for the inner service.
    pub(crate) fn reserve_shared(&mut self) -> Result<(), Rejection> {
        match &mut self.kind {
            Kind::Untouched { .. } => Ok(()),
            Kind::Inspected { reader } => reader.as_mut().reserve_shared(),
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
        let this = self.project();
        let mut frame = match this.kind.project() {
            KindProj::Untouched { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map(into_bytes).map_err(Into::into))
            }
            KindProj::Inspected { reader } => ready!(reader.as_mut().poll_forwarded(cx)),
        };
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            for name in &**this.model_headers {
                headers::remove_cgi_equivalents(trailers, name);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Inspected { reader } => reader.is_forwarded(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched { body } => body.size_hint(),
            Kind::Inspected { reader } => reader.remaining_hint(),
        }
    }
}

impl<B> ModelReader<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// Returns the next frame for the inner service.
    fn poll_forwarded(
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
                Ok(Scanned {
                    frame,
                    result: Ok(()),
                }) => match self.late_model() {
                    None => frame.map(Ok),
                    Some(rejection) => Some(Err(self.as_mut().reject(rejection))),
                },
                Ok(Scanned {
                    result: Err(error), ..
                }) => {
                    let rejection = Rejection::invalid_body(error);
                    Some(Err(self.as_mut().reject(rejection)))
                }
                Err(BodyError::Decode(error)) => {
                    let rejection = self.undecodable(&error);
                    Some(Err(self.as_mut().reject(rejection)))
                }
                // Nothing may follow an error.
                Err(BodyError::Body(error)) => {
                    let ended = Remainder::Ended { trailers: None };
                    self.as_mut().project().remainder.set(ended);
                    Some(Err(error))
                }
            },
        };
        let has_changed = self.has_changed;
        Poll::Ready(frame.map(|frame| {
            frame.map(|mut frame| {
                if let (true, Some(trailers)) = (has_changed, frame.trailers_mut()) {
                    headers::strip_stale_digests(trailers);
                }
                frame
            })
        }))
    }

    /// Ends the body with this rejection, and sends it to the response future.
    fn reject(self: Pin<&mut Self>, rejection: Rejection) -> BoxError {
        let mut this = self.project();
        this.remainder.set(Remainder::Ended { trailers: None });
        if let Some(late_rejection_tx) = this.late_rejection_tx.take() {
            // Fails if the response future is gone, because the inner service has responded
            // already.
            let _ = late_rejection_tx.send(rejection.clone());
        }
        rejection.into()
    }

    fn is_forwarded(&self) -> bool {
        self.prefix.is_empty()
            && match &self.remainder {
                // The end of a body that is scanned must be read: it may be an error.
                Remainder::Streaming { body } => !self.is_scanned && body.is_end_stream(),
                Remainder::Ended { trailers } => trailers.is_none(),
                Remainder::Failed { error } => error.is_none(),
            }
    }

    /// Returns the length of what has not been forwarded yet.
    fn remaining_hint(&self) -> SizeHint {
        let prefix = self.prefix.len();
        let remainder = match &self.remainder {
            Remainder::Streaming { body } => body.size_hint(),
            // If the hint became exact here, hyper's HTTP/1 client would send a Content-Length,
            // and then no trailers.
            Remainder::Ended { trailers: Some(_) } if self.expected.is_none() => {
                SizeHint::default()
            }
            // The length of the missing part is unknown.
            Remainder::Failed { error: Some(_) } => SizeHint::default(),
            Remainder::Ended { .. } | Remainder::Failed { .. } => SizeHint::with_exact(0),
        };
        // A new hint, because the setters panic when the bounds cross.
        let mut hint = SizeHint::new();
        hint.set_lower(remainder.lower().saturating_add(prefix));
        if let Some(upper) = remainder.upper() {
            hint.set_upper(upper.saturating_add(prefix));
        }
        hint
    }
}

impl<B> fmt::Debug for RoutedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client's data.
        let held_bytes = match &self.kind {
            Kind::Untouched { .. } => 0,
            Kind::Inspected { reader } => reader.prefix.len(),
        };
        f.debug_struct("RoutedBody")
            .field("held_bytes", &held_bytes)
            .finish_non_exhaustive()
    }
}
