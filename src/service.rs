//! The service: inspects requests and calls the clone that was polled ready.

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
/// The inner service is called as soon as the model is known, while the rest of the body still
/// streams. Its readiness is held from `poll_ready` until then. Its errors pass through: a request
/// that the layer rejects gets the response of a [`Rejection`](crate::Rejection).
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
/// # #[cfg(feature = "reqwest")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
/// let config = RoutingConfig::builder()
///     .initial_catalog(catalog)
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
/// # #[cfg(not(feature = "reqwest"))]
/// # fn main() {}
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

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if let Some(id_header) = &self.shared.id_header {
            // Clients must not choose the model by a header of their own.
            remove_cgi_equivalents(&mut head.headers, id_header);
        }
        match inspect(&head, &self.shared.endpoints, self.shared.other_paths) {
            Inspection::Pass => {
                let body = RoutedBody::untouched(body);
                ResponseFuture::pass(self.inner.call(Request::from_parts(head, body)))
            }
            Inspection::Reject(target, rejection) => {
                // Releases what the inner service reserved when it became ready.
                self.inner = self.inner.clone();
                let context = RequestContext::new(&head, &target, &self.shared);
                ResponseFuture::reject(rejection, context)
            }
            Inspection::Inspect(target, format, coding) => {
                let decoder = coding.map(|coding| {
                    headers::remove_coding(&mut head.headers);
                    let budget = Arc::clone(&self.shared.budget);
                    Decoder::new(coding, Some(Reservation::new(budget)))
                });
                let body = DecodedBody::new(body, decoder);
                let context = RequestContext::new(&head, &target, &self.shared);
                // Calls the clone that was polled ready.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let shared = Arc::clone(&self.shared);
                ResponseFuture::resolve(ready, head, body, format, target, context, shared)
            }
        }
    }
}
