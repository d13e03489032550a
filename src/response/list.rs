//! The body of the model list.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

/// The response body of [`ModelListService`](crate::ModelListService), complete in memory.
// A type of its own, so that `http-body-util` is no part of the public API.
#[derive(Clone)]
pub struct ModelListBody(Full<Bytes>);

impl ModelListBody {
    pub(crate) fn new(body: Bytes) -> Self {
        Self(Full::new(body))
    }
}

impl Body for ModelListBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for ModelListBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelListBody").finish_non_exhaustive()
    }
}
