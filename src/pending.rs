//! A request whose model is being resolved: where body, registry and policy meet.

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::Request;
use http_body::Body;
use model_scan::Replacement;
use tokio::sync::oneshot;

use crate::{
    body::BoxError,
    headers,
    registry::{Catalog, CatalogLookup, Unavailable},
    request::{ModelReader, Requested, RoutedBody, Target, UriModel},
    resolve::{
        Outcome, ResolveError, RoutedModel, resolve_known, resolve_missing, resolve_unknown,
    },
    response::{Rejection, ResponseChanges, ResponseRewrite},
    shared::Shared,
};

/// A request whose model is being resolved, and the service to call with it.
pub(crate) struct PendingRequest<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<Pin<Box<ModelReader<B>>>>,
    pub(crate) target: Target,
    /// The model in the URI, which one in the body must agree with.
    pub(crate) uri_model: Option<UriModel>,
    /// Whether the body names a model, too.
    pub(crate) is_in_body: bool,
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
    Lookup(CatalogFuture),
    /// A newer one: the current catalog does not have the name.
    Miss(Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>),
}

type CatalogFuture = Pin<Box<dyn Future<Output = Result<Arc<Catalog>, Unavailable>> + Send>>;

/// A request to forward once the inner service is ready, and what becomes of the response.
pub(crate) struct ForwardPlan<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<RoutedBody<B>>,
    /// Whether the layer may reject the request while the inner service is not ready.
    pub(crate) can_reject: bool,
    /// `None` if the response passes as it is.
    pub(crate) changes: Option<ResponseChanges>,
    /// `None` if nothing is left to scan.
    pub(crate) late_rejection_rx: Option<oneshot::Receiver<Rejection>>,
}

impl<S, B> PendingRequest<S, B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// Starts to resolve the requested model.
    pub(crate) fn start(&mut self, requested: Requested) -> Result<NextStep, Rejection> {
        let endpoint = self.target.endpoint;
        self.is_in_body = matches!(requested, Requested::Model { .. });
        match requested {
            Requested::NotString { kind } if endpoint.is_inference() => {
                Err(Rejection::model_not_string(kind))
            }
            Requested::EmptyBody(rejection) if endpoint.is_inference() => Err(*rejection),
            _ if self.uri_model.is_some() => self.look_up(requested),
            Requested::NotString { .. } | Requested::EmptyBody(_) => Ok(NextStep::Call(None)),
            // The inner service must see the same error.
            Requested::BodyFailed => Ok(NextStep::Call(None)),
            Requested::Absent if !self.target.has_default_model => Ok(NextStep::Call(None)),
            Requested::Absent => match resolve_missing(&self.shared.policy, endpoint) {
                Some(resolved) => self.next_step(resolved, None),
                None => self.look_up(requested),
            },
            Requested::Model { .. } => self.look_up(requested),
        }
    }

    fn look_up(&mut self, requested: Requested) -> Result<NextStep, Rejection> {
        match self.shared.registry.look_up() {
            CatalogLookup::Ready(catalog) => self.resolve(&catalog, requested),
            CatalogLookup::Wait(wait) => self.wait(requested, CatalogWait::Lookup(wait)),
            CatalogLookup::Unavailable(unavailable) => Err(unavailable.into()),
        }
    }

    /// Waits for the catalog; with best effort at most until the request's timeout, and then takes
    /// the expired one, if there is one.
    pub(crate) fn poll_catalog(
        &mut self,
        wait: &mut CatalogFuture,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<Catalog>, Rejection>> {
        match wait.as_mut().poll(cx) {
            Poll::Ready(catalog) => Poll::Ready(catalog.map_err(Rejection::from)),
            Poll::Pending if self.target.is_strict => Poll::Pending,
            Poll::Pending => {
                let reader = self.request.body_mut().as_mut();
                let rejection = ready!(reader.poll_timed_out(cx));
                Poll::Ready(self.shared.registry.usable().ok_or(rejection))
            }
        }
    }

    /// Turns a rejection before the inner service is called into a call with the request unchanged
    /// where the body need not be valid.
    pub(crate) fn settle(
        &mut self,
        step: Result<NextStep, Rejection>,
    ) -> Result<NextStep, Rejection> {
        if self.target.is_strict {
            return step;
        }
        let step = step.unwrap_or(NextStep::Call(None));
        if let NextStep::Call(None) = step {
            self.request.body_mut().as_mut().stop_scanning();
        }
        Ok(step)
    }

    /// Resolves by this catalog, or asks for a newer one if that may have the name.
    pub(crate) fn resolve(
        &mut self,
        catalog: &Catalog,
        requested: Requested,
    ) -> Result<NextStep, Rejection> {
        self.shared.warn_of_absent_aliases(catalog);
        let name = self.name(&requested)?;
        let (policy, endpoint) = (&self.shared.policy, self.target.endpoint);
        // A newer catalog may also have another name of the same model.
        let known = match self.agrees(catalog, &requested)? {
            true => resolve_known(catalog, policy, name.as_deref(), endpoint),
            false => None,
        };
        match known {
            Some(resolved) => self.next_step(resolved, name.as_deref()),
            // Most names on other paths do not name a model.
            None if !self.target.is_strict => Ok(NextStep::Call(None)),
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
        if !self.agrees(catalog, requested)? {
            return Err(Rejection::models_disagree());
        }
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

    /// Returns `false` if the body names another entry of the catalog than the URI, or another name
    /// that the catalog does not have.
    fn agrees(&self, catalog: &Catalog, requested: &Requested) -> Result<bool, Rejection> {
        let Some(of_uri) = &self.uri_model else {
            return Ok(true);
        };
        let Some(in_body) = self.name_in_body(requested)? else {
            return Ok(true);
        };
        Ok(
            match (
                self.shared.policy.find(catalog, &of_uri.name),
                self.shared.policy.find(catalog, &in_body),
            ) {
                (Some(a), Some(b)) => Arc::ptr_eq(a.entry, b.entry),
                (None, None) => of_uri.name.trim().to_lowercase() == in_body.trim().to_lowercase(),
                _ => false,
            },
        )
    }

    /// Returns the name that the URI or the body asks for, or `None` if they ask for none.
    pub(crate) fn name(&self, requested: &Requested) -> Result<Option<Cow<'_, str>>, Rejection> {
        match &self.uri_model {
            Some(model) => Ok(Some(Cow::Borrowed(&model.name))),
            None => self.name_in_body(requested),
        }
    }

    fn name_in_body(&self, requested: &Requested) -> Result<Option<Cow<'_, str>>, Rejection> {
        match requested {
            Requested::Model { span, escaped } => {
                self.request.body().name(span, *escaped).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Puts the ID in the model's places and updates the request's head.
    pub(crate) fn prepare(
        self,
        routed: Option<RoutedModel>,
    ) -> Result<ForwardPlan<S, B>, Rejection> {
        let Self {
            service,
            mut request,
            target,
            uri_model,
            is_in_body,
            shared,
        } = self;
        let changes = match routed {
            Some(routed) => {
                let routed = routed.for_operation(target.gen_ai_operation());
                let entry = routed.entry();
                let id = Replacement {
                    text: entry.id(),
                    literal: entry.id_literal(),
                };
                // A body without a model gets none where the URI names it.
                if (uri_model.is_none() || is_in_body)
                    && let Some(delta) = request.body_mut().as_mut().splice(id)?
                {
                    headers::update_length_and_digests(request.headers_mut(), delta);
                }
                if let Some(model) = uri_model {
                    let uri = model.replace(request.uri(), entry.id());
                    *request.uri_mut() = uri.map_err(|_| Rejection::uri_too_long())?;
                }
                if let Some(id_header) = &shared.id_header {
                    let id = entry.id_header_value().clone();
                    request.headers_mut().insert(id_header, id);
                }
                if let Some(name_header) = &shared.name_header {
                    let name = entry.name_header_value().clone();
                    request.headers_mut().insert(name_header, name);
                }
                request.extensions_mut().insert(routed.clone());
                let rewrite = ResponseRewrite {
                    routed,
                    adds_headers: shared.response_headers,
                    response_model: shared.response_model,
                    event_model_parent: target.event_model_parent,
                };
                rewrite.set_accept_encoding(request.headers_mut());
                Some(ResponseChanges::Routed(rewrite))
            }
            None => shared.unrouted_changes(target.event_model_parent),
        };
        let late_rejection_rx = request.body_mut().as_mut().late_rejection();
        Ok(ForwardPlan {
            service,
            request: request
                .map(|body| RoutedBody::inspected(body, Arc::clone(&shared.model_headers))),
            can_reject: target.is_strict,
            changes,
            late_rejection_rx,
        })
    }
}
