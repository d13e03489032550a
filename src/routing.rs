//! One request on its way to the inner service: what its model is, and what
//! changes for it.

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc};

use bytes::Buf;
use http::{Request, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;

use crate::{
    answer::Answer,
    body::{BoxError, ModelReader, Requested, RoutedBody},
    endpoint::Target,
    head,
    registry::{Acquired, Catalog, Unavailable},
    rejection::Rejection,
    resolve::{Outcome, ResolveError, RoutedModel, known, unknown},
    scan::Id,
    shared::Shared,
};

/// A request whose model is being found out.
pub(crate) struct Routing<S, B> {
    pub(crate) service: S,
    pub(crate) head: Parts,
    pub(crate) reader: ModelReader<B>,
    pub(crate) target: Target,
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

/// All that is needed to call the inner service.
pub(crate) struct Prepared<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<RoutedBody<B>>,
    pub(crate) answer: Option<Answer>,
    /// Tells if the rest of the body must be refused.
    pub(crate) refused: Option<oneshot::Receiver<Rejection>>,
}

impl<S, B> Routing<S, B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn start(&mut self, requested: Requested) -> Result<Step, Rejection> {
        let needs_model = self.target.endpoint.is_inference();
        match requested {
            Requested::NotText { kind } if needs_model => Err(Rejection::model_not_text(kind)),
            // The inner service is to see the body fail just as it did.
            Requested::Broken => Ok(Step::Call(None)),
            Requested::NoBody(rejection) if needs_model => Err(*rejection),
            Requested::NoBody(_) => Ok(Step::Call(None)),
            Requested::NotText { .. } | Requested::Nothing if !needs_model => Ok(Step::Call(None)),
            requested => match self.shared.registry.acquire() {
                Acquired::Ready(catalog) => self.resolve(&catalog, requested),
                Acquired::Wait(wait) => self.wait(requested, Wait::Catalog(wait)),
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
    ) -> Result<Step, Rejection> {
        let name = self.name(&requested)?;
        match known(
            catalog,
            &self.shared.policy,
            name.as_deref(),
            self.target.endpoint,
        ) {
            Some(resolved) => self.settle(resolved, name.as_deref()),
            None => match self.shared.registry.revalidate_for_miss() {
                Some(wait) => self.wait(requested, Wait::Newer(wait)),
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
        let (policy, endpoint) = (&self.shared.policy, self.target.endpoint);
        let resolved = known(catalog, policy, name.as_deref(), endpoint)
            .unwrap_or_else(|| unknown(catalog, policy, name.as_deref(), endpoint));
        self.settle(resolved, name.as_deref())
    }

    fn wait(&mut self, requested: Requested, wait: Wait) -> Result<Step, Rejection> {
        self.reader.hold()?;
        Ok(Step::Wait(requested, wait))
    }

    fn settle(
        &self,
        resolved: Result<Outcome, ResolveError>,
        name: Option<&str>,
    ) -> Result<Step, Rejection> {
        match resolved {
            Ok(Outcome::Route(routed)) => Ok(Step::Call(Some(routed))),
            Ok(Outcome::Forward) => Ok(Step::Call(None)),
            Err(error) => Err(Rejection::unresolved(error, name, self.target.endpoint)),
        }
    }

    fn name(&self, requested: &Requested) -> Result<Option<Cow<'_, str>>, Rejection> {
        match requested {
            Requested::Model { span, escaped } => self.reader.name(span, *escaped).map(Some),
            _ => Ok(None),
        }
    }

    /// Puts the ID in the model's place, and makes the head true of it.
    pub(crate) fn prepare(self, routed: Option<RoutedModel>) -> Result<Prepared<S, B>, Rejection> {
        let Self {
            service,
            mut head,
            mut reader,
            target,
            shared,
        } = self;
        let answer = routed
            .clone()
            .map(|routed| Answer::new(routed, &target, &shared));
        if let Some(routed) = routed {
            let entry = routed.entry();
            let id = Id {
                text: entry.id(),
                literal: entry.id_literal(),
            };
            if let Some(change) = reader.splice(id)? {
                head::body_has_changed(&mut head.headers, change);
            }
            if let Some(id_header) = &shared.id_header {
                head.headers
                    .insert(id_header, routed.entry().id_header_value().clone());
            }
            head.extensions.insert(routed);
        }
        let (body, refused) = reader.into_body();
        Ok(Prepared {
            service,
            request: Request::from_parts(head, body),
            answer,
            refused,
        })
    }
}
