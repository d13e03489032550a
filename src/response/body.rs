//! The response body of the middleware.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::rewriting::{Rewriter, RewritingBody};
use crate::{
    body::{BoxError, into_bytes},
    coding::DecodedBody,
};

pin_project! {
    /// The response body of [`ModelRouting`](crate::ModelRouting): the inner service's, or the
    /// layer's own.
    ///
    /// It yields `Bytes`, copies them only to rewrite the model
    /// ([`ResponseModel`](crate::ResponseModel)), and forwards trailers and errors.
    ///
    /// # Errors
    ///
    /// The body fails with the error of the inner service's body, or, with the cargo feature
    /// `decompression`, if an encoded body whose `model` is rewritten cannot be decoded.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // Boxed, because it is ten times as large as most bodies, and all are moved at the size of
        // the largest.
        Rewriting { body: Pin<Box<RewritingBody<B>>> },
        Own { #[pin] body: Full<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(crate) fn rewriting(body: DecodedBody<B>, rewriter: Rewriter) -> Self {
        let body = Box::pin(RewritingBody::new(body, rewriter));
        Self {
            kind: Kind::Rewriting { body },
        }
    }

    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Own { body },
        }
    }
}

impl<B> Body for ResponseBody<B>
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
            KindProj::Inner { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map(into_bytes).map_err(Into::into))),
            KindProj::Rewriting { body } => body.as_mut().poll_frame(cx),
            KindProj::Own { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|e| match e {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Rewriting { body } => body.is_end_stream(),
            Kind::Own { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Rewriting { body } => body.size_hint(),
            Kind::Own { body } => body.size_hint(),
        }
    }
}

/// An empty body. Middleware that makes responses of its own, such as `tower_http`'s `Cors` and
/// `Timeout`, needs it.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::own(Full::default())
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client's data.
        let kind = match &self.kind {
            Kind::Inner { .. } => "inner",
            Kind::Rewriting { .. } => "rewriting",
            Kind::Own { .. } => "own",
        };
        f.debug_struct("ResponseBody")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}
