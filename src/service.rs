//! The service: readiness, and the swap of the ready clone.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    body::BoxError,
    future::{RequestContext, ResponseFuture},
    headers::remove_cgi_equivalents,
    request::{Inspection, RoutedBody, inspect},
    response::ResponseBody,
    shared::Shared,
};

/// Middleware that puts the model's ID in the place of its name.
///
/// Made by [`ModelRoutingLayer`](crate::ModelRoutingLayer).
///
/// The inner service is called as soon as the model is known, while the rest
/// of the body is still coming; its readiness is held from `poll_ready` until
/// then. The inner service's errors stay its own: what this layer refuses, it
/// answers with a [`Rejection`](crate::Rejection)'s response.
#[derive(Clone, Debug)]
pub struct ModelRouting<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> ModelRouting<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for ModelRouting<S>
where
    S: Service<Request<RoutedBody<B>>, Response = Response<R>> + Clone,
    B: Body<Data: Buf, Error: Into<BoxError>>,
    R: Body<Data: Buf>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if let Some(id_header) = &self.shared.id_header {
            // Only this layer says which model a node serves.
            remove_cgi_equivalents(&mut head.headers, id_header);
        }
        match inspect(&head, &self.shared.endpoints) {
            Inspection::Pass => {
                let body = RoutedBody::untouched(body);
                ResponseFuture::passing(self.inner.call(Request::from_parts(head, body)))
            }
            Inspection::Refuse(target, rejection) => {
                // Whatever readiness reserved, others may need.
                self.inner = self.inner.clone();
                let observer = RequestContext::new(&head, &target, &self.shared);
                ResponseFuture::refusing(rejection, observer)
            }
            Inspection::Inspect(target, format) => {
                let observer = RequestContext::new(&head, &target, &self.shared);
                // The clone that was polled ready is the one to call.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let shared = Arc::clone(&self.shared);
                ResponseFuture::reading(ready, head, body, format, target, observer, shared)
            }
        }
    }
}
