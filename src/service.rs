//! The service: decides which requests are inspected.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Buf;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    body::BoxError,
    coding::{DecodedBody, Decoder},
    future::{RequestContext, ResponseFuture},
    headers::{self, remove_cgi_equivalents},
    request::{Inspection, Reservation, RoutedBody, inspect},
    response::ResponseBody,
    shared::Shared,
};

/// Middleware that replaces the model's name in a request by its ID.
///
/// [`ModelRoutingLayer`](crate::ModelRoutingLayer) applies it.
///
/// The inner service is called as soon as the model is known and the service is ready, while the
/// rest of the body still streams. Its errors pass through, those of `poll_ready` included. A
/// request that the layer rejects gets the response of a [`Rejection`](crate::Rejection).
///
/// # Readiness
///
/// `poll_ready` always succeeds. The [`ResponseFuture`] owns a clone of the inner service, and polls
/// it until it is ready once the model is known, so a slow body reserves nothing of a concurrency
/// limit or a `Buffer` inside of the layer. Requests that the layer rejects never poll the inner
/// service.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_model_routing::{
///     BoxError, ModelRouting, ModelRoutingLayer, RoutedBody, RoutedModel, RoutingConfig,
///     UnknownModel, registry::Catalog,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
/// let config = RoutingConfig::builder()
///     .fixed_catalog(catalog)
///     .unknown_model(UnknownModel::Reject)
///     .build()?;
/// let upstream = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
///     let routed = request.extensions().get::<RoutedModel>().cloned();
///     let id = routed.map_or_else(String::new, |routed| routed.id().into());
///     Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(id))))
/// });
/// let service: ModelRouting<_> = ModelRoutingLayer::new(config).layer(upstream);
///
/// for (model, status) in [("venice-uncensored", StatusCode::OK), ("x", StatusCode::NOT_FOUND)] {
///     let request = Request::post("/v1/chat/completions")
///         .body(Full::from(format!(r#"{{"model":"{model}"}}"#)))?;
///     let response = service.clone().oneshot(request).await?;
///     assert_eq!(response.status(), status);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ModelRouting<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> ModelRouting<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
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

    /// Always ready: the response future waits for the inner service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        // Clients must not choose the model by a header of their own.
        for name in &*self.shared.model_headers {
            remove_cgi_equivalents(&mut head.headers, name);
        }
        let shared = &self.shared;
        match inspect(
            &head,
            &shared.endpoints,
            &shared.uri_templates,
            shared.other_paths,
        ) {
            Inspection::Pass => {
                let body = RoutedBody::untouched(body, Arc::clone(&shared.model_headers));
                // A response to HEAD has no body, and its headers describe that to GET.
                let changes = (head.method != Method::HEAD)
                    .then(|| self.shared.unrouted_changes(None))
                    .flatten();
                ResponseFuture::pass(self.inner.clone(), Request::from_parts(head, body), changes)
            }
            Inspection::Reject(target, rejection) => {
                let context = RequestContext::new(&head, &target, &self.shared);
                ResponseFuture::reject(rejection, context)
            }
            Inspection::Inspect(inspected) => {
                let decoder = inspected.coding.map(|coding| {
                    headers::remove_coding(&mut head.headers);
                    let budget = Arc::clone(&self.shared.budget);
                    Decoder::new(coding, Some(Reservation::new(budget)))
                });
                let body = DecodedBody::new(body, decoder);
                let context = RequestContext::new(&head, &inspected.target, &self.shared);
                let shared = Arc::clone(&self.shared);
                let service = self.inner.clone();
                ResponseFuture::resolve(service, head, body, inspected, context, shared)
            }
        }
    }
}
