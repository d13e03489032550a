//! A request whose model is being resolved: where body, registry and policy meet.

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc};

use bytes::Buf;
use http::Request;
use http_body::Body;
use model_scan::Replacement;
use tokio::sync::oneshot;

use crate::{
    body::BoxError,
    headers,
    registry::{Catalog, CatalogLookup, Unavailable},
    request::{ModelReader, Requested, RoutedBody, Target},
    resolve::{Outcome, ResolveError, RoutedModel, resolve_known, resolve_unknown},
    response::{Rejection, ResponseRewrite},
    shared::Shared,
};

/// A request whose model is being resolved, and the service to call with it.
pub(crate) struct PendingRequest<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<Pin<Box<ModelReader<B>>>>,
    pub(crate) target: Target,
    pub(crate) shared: Arc<Shared>,
}

/// The next step of a pending request.
pub(crate) enum NextStep {
    Wait(Requested, CatalogWait),
    /// Call the inner service for this model, or with the request unchanged.
    Call(Option<RoutedModel>),
}

/// The catalog that the request waits for.
pub(crate) enum CatalogWait {
    /// Any: there is none yet, or the last one has expired.
    Lookup(Pin<Box<dyn Future<Output = Result<Arc<Catalog>, Unavailable>> + Send>>),
    /// A newer one: the current catalog does not have the name.
    Miss(Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>),
}

/// A request to forward once the inner service is ready, and what becomes of the response.
pub(crate) struct ForwardPlan<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<RoutedBody<B>>,
    /// Whether the layer may reject the request while the inner service is not ready.
    pub(crate) can_reject: bool,
    /// `None` if the request is forwarded unchanged.
    pub(crate) rewrite: Option<ResponseRewrite>,
    /// `None` if the whole body has been scanned.
    pub(crate) late_rejection_rx: Option<oneshot::Receiver<Rejection>>,
}

impl<S, B> PendingRequest<S, B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// Starts to resolve the requested model.
    pub(crate) fn start(&mut self, requested: Requested) -> Result<NextStep, Rejection> {
        let needs_model = self.target.endpoint.is_inference();
        match requested {
            Requested::NotString { kind } if needs_model => Err(Rejection::model_not_string(kind)),
            // The inner service must see the same error.
            Requested::BodyFailed => Ok(NextStep::Call(None)),
            Requested::EmptyBody(rejection) if needs_model => Err(*rejection),
            Requested::EmptyBody(_) => Ok(NextStep::Call(None)),
            Requested::NotString { .. } | Requested::Absent if !needs_model => {
                Ok(NextStep::Call(None))
            }
            requested => match self.shared.registry.look_up() {
                CatalogLookup::Ready(catalog) => self.resolve(&catalog, requested),
                CatalogLookup::Wait(wait) => self.wait(requested, CatalogWait::Lookup(wait)),
                CatalogLookup::Unavailable(unavailable) => Err(unavailable.into()),
            },
        }
    }

    /// Resolves by this catalog, or asks for a newer one if that may have the name.
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
            Some(resolved) => self.next_step(resolved, name.as_deref()),
            None => match self.shared.registry.revalidate_for_miss() {
                Some(wait) => self.wait(requested, CatalogWait::Miss(wait)),
                None => self.resolve_finally(catalog, &requested),
            },
        }
    }

    /// Resolves by this catalog and the policy.
    pub(crate) fn resolve_finally(
        &self,
        catalog: &Catalog,
        requested: &Requested,
    ) -> Result<NextStep, Rejection> {
        let name = self.name(requested)?;
        let (policy, endpoint) = (&self.shared.policy, self.target.endpoint);
        let resolved = resolve_known(catalog, policy, name.as_deref(), endpoint)
            .unwrap_or_else(|| resolve_unknown(catalog, policy, name.as_deref(), endpoint));
        self.next_step(resolved, name.as_deref())
    }

    fn wait(&mut self, requested: Requested, wait: CatalogWait) -> Result<NextStep, Rejection> {
        self.request.body_mut().as_mut().reserve_shared()?;
        Ok(NextStep::Wait(requested, wait))
    }

    fn next_step(
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

    /// Returns the name that the body asks for, or `None` if it asks for none.
    pub(crate) fn name(&self, requested: &Requested) -> Result<Option<Cow<'_, str>>, Rejection> {
        match requested {
            Requested::Model { span, escaped } => {
                self.request.body().name(span, *escaped).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Puts the ID in the model's place and updates the request's head.
    pub(crate) fn prepare(
        self,
        routed: Option<RoutedModel>,
    ) -> Result<ForwardPlan<S, B>, Rejection> {
        let Self {
            service,
            mut request,
            target,
            shared,
        } = self;
        let rewrite = routed.clone().map(|routed| ResponseRewrite {
            routed,
            adds_headers: shared.response_headers,
            response_model: shared.response_model,
            event_model_parent: target.event_model_parent,
        });
        if let Some(routed) = routed {
            let entry = routed.entry();
            let id = Replacement {
                text: entry.id(),
                literal: entry.id_literal(),
            };
            if let Some(delta) = request.body_mut().as_mut().splice(id)? {
                headers::update_length_and_digests(request.headers_mut(), delta);
            }
            if let Some(id_header) = &shared.id_header {
                let id = entry.id_header_value().clone();
                request.headers_mut().insert(id_header, id);
            }
            request.extensions_mut().insert(routed);
        }
        let late_rejection_rx = request.body_mut().as_mut().late_rejection();
        Ok(ForwardPlan {
            service,
            request: request.map(RoutedBody::inspected),
            can_reject: target.endpoint.is_inference(),
            rewrite,
            late_rejection_rx,
        })
    }
}
