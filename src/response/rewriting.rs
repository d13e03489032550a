//! A response body that is rewritten while it streams.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use model_scan::rewrite::{IdRewriter, ModelRewriter};
use pin_project_lite::pin_project;

use crate::{body::BoxError, coding::DecodedBody, headers};

/// A rewriter of a body.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most responses are no errors, so a box would only add an allocation"
)]
pub(crate) enum Rewriter {
    Model(ModelRewriter),
    Error(IdRewriter),
}

impl Rewriter {
    fn push(&mut self, bytes: Bytes) -> Bytes {
        match self {
            Self::Model(rewriter) => rewriter.push(bytes),
            Self::Error(rewriter) => rewriter.push(bytes),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Model(rewriter) => rewriter.is_empty(),
            Self::Error(rewriter) => rewriter.is_empty(),
        }
    }

    fn flush(&mut self) -> Bytes {
        match self {
            Self::Model(rewriter) => rewriter.flush(),
            Self::Error(rewriter) => rewriter.flush(),
        }
    }
}

pin_project! {
    /// The inner body's frames, decoded, and rewritten.
    pub(super) struct RewritingBody<B> {
        #[pin]
        body: DecodedBody<B>,
        rewriter: Rewriter,
        // What follows the data that the rewriter had buffered.
        next: Option<Result<Frame<Bytes>, BoxError>>,
        is_done: bool,
    }
}

impl<B> RewritingBody<B> {
    pub(super) fn new(body: DecodedBody<B>, rewriter: Rewriter) -> Self {
        Self {
            body,
            rewriter,
            next: None,
            is_done: false,
        }
    }
}

impl<B> Body for RewritingBody<B>
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
        if let Some(next) = this.next.take() {
            return Poll::Ready(Some(next));
        }
        if *this.is_done {
            return Poll::Ready(None);
        }
        loop {
            let next = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = this.rewriter.push(data);
                        if data.is_empty() {
                            continue;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(mut other) => {
                        if let Some(trailers) = other.trailers_mut() {
                            headers::strip_stale_digests(trailers);
                        }
                        Some(Ok(other))
                    }
                },
                Some(Err(error)) => Some(Err(error.into())),
                None => {
                    *this.is_done = true;
                    None
                }
            };
            let buffered = this.rewriter.flush();
            if buffered.is_empty() {
                return Poll::Ready(next);
            }
            *this.next = next;
            return Poll::Ready(Some(Ok(Frame::data(buffered))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
            && (self.is_done || (self.body.is_end_stream() && self.rewriter.is_empty()))
    }

    fn size_hint(&self) -> SizeHint {
        // The length may change.
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::default()
        }
    }
}
