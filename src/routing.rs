//! One request on its way to the inner service: what its model is, and what
//! changes for it.

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc};

use bytes::Buf;
use http::{Request, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::{
    answer::Answer,
    body::{BoxError, ModelReader, Requested, RoutedBody},
    endpoint::Endpoint,
    head,
    layer::Shared,
    registry::{Acquired, Catalog, Unavailable},
    rejection::Rejection,
    resolve::{Outcome, ResolveError, RoutedModel, known, unknown},
};

/// A request whose model is being found out.
pub(crate) struct Routing<S, B> {
    pub(crate) service: S,
    pub(crate) head: Parts,
    pub(crate) reader: ModelReader<B>,
    pub(crate) endpoint: Endpoint,
    pub(crate) shared: Arc<Shared>,
}

/// What is to become of the request next.
pub(crate) enum Step {
    Wait(Requested, Wait),
    /// Call the inner service: for this model, or with the request as it came.
    Call(Option<RoutedModel>),
}

/// What a request waits for.
pub(crate) enum Wait {
    /// Any catalog at all.
    Catalog(Pin<Box<dyn Future<Output = Result<Arc<Catalog>, Unavailable>> + Send>>),
    /// A newer catalog, because the present one does not know the name.
    Newer(Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>),
}

/// The inner service at work.
pub(crate) struct Called<F> {
    pub(crate) future: F,
    pub(crate) answer: Option<Answer>,
    /// Tells if the rest of the body must be refused.
    pub(crate) refused: Option<oneshot::Receiver<Rejection>>,
}

impl<S, B> Routing<S, B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn start(&self, requested: Requested) -> Result<Step, Rejection> {
        let needs_model = self.endpoint.is_inference();
        match requested {
            Requested::NotText { kind } if needs_model => Err(Rejection::model_not_text(kind)),
            // The inner service is to see the body fail just as it did.
            Requested::Broken => Ok(Step::Call(None)),
            Requested::NotText { .. } | Requested::Nothing if !needs_model => Ok(Step::Call(None)),
            requested => match self.shared.registry.acquire() {
                Acquired::Ready(catalog) => self.resolve(&catalog, requested),
                Acquired::Wait(wait) => Ok(Step::Wait(requested, Wait::Catalog(wait))),
                Acquired::Unavailable(unavailable) => Err(unavailable.into()),
            },
        }
    }

    /// Resolves, with a refresh first if the name is not in the catalog and
    /// that may be too old to have it.
    pub(crate) fn resolve(
        &self,
        catalog: &Catalog,
        requested: Requested,
    ) -> Result<Step, Rejection> {
        let name = self.name(&requested)?;
        match known(catalog, &self.shared.policy, name.as_deref(), self.endpoint) {
            Some(resolved) => self.settle(resolved, name.as_deref()),
            None => match self.shared.registry.revalidate_for_miss() {
                Some(wait) => Ok(Step::Wait(requested, Wait::Newer(wait))),
                None => self.resolve_finally(catalog, &requested),
            },
        }
    }

    pub(crate) fn resolve_finally(
        &self,
        catalog: &Catalog,
        requested: &Requested,
    ) -> Result<Step, Rejection> {
        let name = self.name(requested)?;
        let (policy, endpoint) = (&self.shared.policy, self.endpoint);
        let resolved = known(catalog, policy, name.as_deref(), endpoint)
            .unwrap_or_else(|| unknown(catalog, policy, name.as_deref(), endpoint));
        self.settle(resolved, name.as_deref())
    }

    fn settle(
        &self,
        resolved: Result<Outcome, ResolveError>,
        name: Option<&str>,
    ) -> Result<Step, Rejection> {
        match resolved {
            Ok(Outcome::Route(routed)) => Ok(Step::Call(Some(routed))),
            Ok(Outcome::Forward) => Ok(Step::Call(None)),
            Err(error) => Err(Rejection::unresolved(error, name, self.endpoint)),
        }
    }

    fn name(&self, requested: &Requested) -> Result<Option<Cow<'_, str>>, Rejection> {
        match requested {
            Requested::Model { span, escaped } => self.reader.name(span, *escaped).map(Some),
            _ => Ok(None),
        }
    }
}

impl<S, B> Routing<S, B>
where
    S: Service<Request<RoutedBody<B>>>,
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn call(self, routed: Option<RoutedModel>) -> Result<Called<S::Future>, Rejection> {
        let Self {
            mut service,
            mut head,
            mut reader,
            shared,
            ..
        } = self;
        let answer = routed
            .clone()
            .map(|routed| Answer::new(routed, &head, &shared));
        if let Some(routed) = routed {
            if let Some(change) = reader.splice(routed.entry())? {
                head::body_has_changed(&mut head.headers, change);
            }
            if let Some(id_header) = &shared.id_header {
                head.headers
                    .insert(id_header, routed.entry().id_header_value().clone());
            }
            head.extensions.insert(routed);
        }
        let (body, refused) = reader.into_body();
        let future = service.call(Request::from_parts(head, body));
        Ok(Called {
            future,
            answer,
            refused,
        })
    }
}
