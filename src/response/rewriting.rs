//! An answer's body on its way through a [`Restorer`].

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use model_scan::restore::Restorer;
use pin_project_lite::pin_project;

use crate::{body::into_bytes, headers};

pin_project! {
    /// The inner body's frames, one for one, with the model's name restored in
    /// their data.
    pub(super) struct Restoring<B: Body> {
        #[pin]
        body: B,
        restorer: Restorer,
        // What came when data was held back, which must go first.
        next: Option<Result<Frame<Bytes>, B::Error>>,
        is_done: bool,
    }
}

impl<B: Body> Restoring<B> {
    pub(super) fn new(body: B, restorer: Restorer) -> Self {
        Self {
            body,
            restorer,
            next: None,
            is_done: false,
        }
    }
}

impl<B> Body for Restoring<B>
where
    B: Body<Data: Buf>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(next) = this.next.take() {
            return Poll::Ready(Some(next));
        }
        if *this.is_done {
            return Poll::Ready(None);
        }
        loop {
            let next = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match into_bytes(frame).into_data() {
                    Ok(data) => {
                        let data = this.restorer.push(data);
                        if data.is_empty() {
                            continue;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(mut other) => {
                        if let Some(trailers) = other.trailers_mut() {
                            // They are of the body as it was.
                            headers::strip_stale_digests(trailers);
                        }
                        Some(Ok(other))
                    }
                },
                Some(Err(error)) => Some(Err(error)),
                None => {
                    *this.is_done = true;
                    None
                }
            };
            let held = this.restorer.flush();
            if held.is_empty() {
                return Poll::Ready(next);
            }
            *this.next = next;
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
            && (self.is_done || (self.body.is_end_stream() && self.restorer.holds_nothing()))
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
