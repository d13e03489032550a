//! One request on its way to the inner service: what its model is, and what
//! changes for it.

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc};

use bytes::Buf;
use http::Request;
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::{
    body::BoxError,
    headers,
    registry::{Acquired, Catalog, Unavailable},
    request::{ModelReader, Requested, RoutedBody, Target},
    resolve::{Outcome, ResolveError, RoutedModel, resolve_known, resolve_unknown},
    response::{Rejection, ResponseRewrite},
    scan::Id,
    shared::Shared,
};

/// A request whose model is being found out.
pub(crate) struct PendingRequest<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<Pin<Box<ModelReader<B>>>>,
    pub(crate) target: Target,
    pub(crate) shared: Arc<Shared>,
}

/// What is to become of the request next.
pub(crate) enum NextStep {
    Wait(Requested, CatalogWait),
    /// Call the inner service: for this model, or with the request as it came.
    Call(Option<RoutedModel>),
}

/// What a request waits for.
pub(crate) enum CatalogWait {
    /// Any catalog at all.
    Catalog(Pin<Box<dyn Future<Output = Result<Arc<Catalog>, Unavailable>> + Send>>),
    /// A newer catalog, because the present one does not know the name.
    Newer(Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>),
}

/// What is kept for when the inner service has been called.
pub(crate) struct ForwardPlan {
    pub(crate) rewrite: Option<ResponseRewrite>,
    /// Tells if the rest of the body must be late_rejection_rx.
    pub(crate) late_rejection_rx: Option<oneshot::Receiver<Rejection>>,
}

impl<S, B> PendingRequest<S, B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn start(&mut self, requested: Requested) -> Result<NextStep, Rejection> {
        let needs_model = self.target.endpoint.is_inference();
        match requested {
            Requested::NotString { kind } if needs_model => Err(Rejection::model_not_text(kind)),
            // The inner service is to see the body fail just as it did.
            Requested::BodyFailed => Ok(NextStep::Call(None)),
            Requested::EmptyBody(rejection) if needs_model => Err(*rejection),
            Requested::EmptyBody(_) => Ok(NextStep::Call(None)),
            Requested::NotString { .. } | Requested::Absent if !needs_model => {
                Ok(NextStep::Call(None))
            }
            requested => match self.shared.registry.acquire() {
                Acquired::Ready(catalog) => self.resolve(&catalog, requested),
                Acquired::Wait(wait) => self.wait(requested, CatalogWait::Catalog(wait)),
                Acquired::Unavailable(unavailable) => Err(unavailable.into()),
            },
        }
    }

    /// Resolves, with a refresh first if the name is not in the catalog and
    /// that may be too old to have it.
    pub(crate) fn resolve(
        &mut self,
        catalog: &Catalog,
        requested: Requested,
    ) -> Result<NextStep, Rejection> {
        let name = self.name(&requested)?;
        match resolve_known(
            catalog,
            &self.shared.policy,
            name.as_deref(),
            self.target.endpoint,
        ) {
            Some(resolved) => self.into_step(resolved, name.as_deref()),
            None => match self.shared.registry.revalidate_for_miss() {
                Some(wait) => self.wait(requested, CatalogWait::Newer(wait)),
                None => self.resolve_finally(catalog, &requested),
            },
        }
    }

    pub(crate) fn resolve_finally(
        &self,
        catalog: &Catalog,
        requested: &Requested,
    ) -> Result<NextStep, Rejection> {
        let name = self.name(requested)?;
        let (policy, endpoint) = (&self.shared.policy, self.target.endpoint);
        let resolved = resolve_known(catalog, policy, name.as_deref(), endpoint)
            .unwrap_or_else(|| resolve_unknown(catalog, policy, name.as_deref(), endpoint));
        self.into_step(resolved, name.as_deref())
    }

    fn wait(&mut self, requested: Requested, wait: CatalogWait) -> Result<NextStep, Rejection> {
        self.request.body_mut().as_mut().hold()?;
        Ok(NextStep::Wait(requested, wait))
    }

    fn into_step(
        &self,
        resolved: Result<Outcome, ResolveError>,
        name: Option<&str>,
    ) -> Result<NextStep, Rejection> {
        match resolved {
            Ok(Outcome::Route(routed)) => Ok(NextStep::Call(Some(routed))),
            Ok(Outcome::Forward) => Ok(NextStep::Call(None)),
            Err(error) => Err(Rejection::unresolved(error, name, self.target.endpoint)),
        }
    }

    fn name(&self, requested: &Requested) -> Result<Option<Cow<'_, str>>, Rejection> {
        match requested {
            Requested::Model { span, escaped } => {
                self.request.body().name(span, *escaped).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Puts the ID in the model's place, and makes the head true of it.
    pub(crate) fn prepare(
        &mut self,
        routed: Option<RoutedModel>,
    ) -> Result<ForwardPlan, Rejection> {
        let Self {
            request,
            target,
            shared,
            ..
        } = self;
        let rewrite = routed
            .clone()
            .map(|routed| ResponseRewrite::new(routed, target, shared));
        if let Some(routed) = routed {
            let entry = routed.entry();
            let id = Id {
                text: entry.id(),
                literal: entry.id_literal(),
            };
            if let Some(change) = request.body_mut().as_mut().splice(id)? {
                headers::update_length_and_digests(request.headers_mut(), change);
            }
            if let Some(id_header) = &shared.id_header {
                let id = entry.id_header_value().clone();
                request.headers_mut().insert(id_header, id);
            }
            request.extensions_mut().insert(routed);
        }
        let late_rejection_rx = request.body_mut().as_mut().late_rejection();
        Ok(ForwardPlan {
            rewrite,
            late_rejection_rx,
        })
    }

    /// Calls the inner service with what was prepared.
    pub(crate) fn call(mut self) -> S::Future
    where
        S: Service<Request<RoutedBody<B>>>,
    {
        self.service.call(self.request.map(RoutedBody::inspected))
    }
}
