//! The response future: Read → Resolve → Call. The one place where body and
//! registry meet.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::{
    answer::Answer,
    body::{BoxError, ModelReader, Requested, ResponseBody, RoutedBody},
    endpoint::Endpoint,
    head,
    inspect::Format,
    layer::Shared,
    registry::{Acquired, Catalog, Unavailable},
    rejection::{Rejection, abridge},
    resolve::{Outcome, ResolveError, RoutedModel, known, unknown},
};

pin_project! {
    /// The response future of [`ModelRouting`](crate::ModelRouting).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the request's body and the call to the inner service
    /// with it. A refresh of the catalog that it has started goes on for the
    /// others.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<RoutedBody<B>>>,
    {
        // There until the inner service is called.
        routing: Option<Routing<S, B>>,
        #[pin]
        state: State<S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        /// Reading the body until its model is known.
        Read,
        /// Waiting for a catalog.
        Resolve { requested: Requested, wait: Wait },
        /// The inner service is at work.
        Call {
            #[pin]
            inner: F,
            answer: Option<Answer>,
            refused: Option<oneshot::Receiver<Rejection>>,
        },
        /// The layer answers itself.
        Refuse { rejection: Rejection },
    }
}

/// A request on its way to the inner service.
struct Routing<S, B> {
    service: S,
    head: Parts,
    reader: ModelReader<B>,
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

/// What is to become of the request next.
enum Step {
    Wait(Requested, Wait),
    Call(Option<RoutedModel>),
}

/// What a request waits for.
enum Wait {
    /// Any catalog at all.
    Catalog(Pin<Box<dyn Future<Output = Result<Arc<Catalog>, Unavailable>> + Send>>),
    /// A newer catalog, because the present one does not know the name.
    Newer(Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>),
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<RoutedBody<B>>>,
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// The inner service has been called.
    pub(crate) fn calling(inner: S::Future) -> Self {
        let state = State::Call {
            inner,
            answer: None,
            refused: None,
        };
        Self {
            routing: None,
            state,
        }
    }

    /// The layer answers itself.
    pub(crate) fn refusing(rejection: Rejection) -> Self {
        Self {
            routing: None,
            state: State::Refuse { rejection },
        }
    }

    /// `service`, which is ready, is to be called once the model is known.
    pub(crate) fn reading(
        service: S,
        head: Parts,
        body: B,
        endpoint: Endpoint,
        format: Format,
        shared: Arc<Shared>,
    ) -> Self {
        let expected = head::content_length(&head.headers);
        match ModelReader::new(body, format, expected, Arc::clone(&shared.budget)) {
            Ok(reader) => Self {
                routing: Some(Routing {
                    service,
                    head,
                    reader,
                    endpoint,
                    shared,
                }),
                state: State::Read,
            },
            Err(rejection) => Self::refusing(rejection),
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<RoutedBody<B>>, Response = Response<R>>,
    B: Body<Data: Buf, Error: Into<BoxError>>,
    R: Body<Data: Buf>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut state = this.state;
        loop {
            let step = match (state.as_mut().project(), this.routing.as_mut()) {
                (StateProj::Read, Some(routing)) => {
                    let requested = ready!(routing.reader.poll_requested(cx));
                    requested.and_then(|requested| routing.start(requested))
                }
                (
                    StateProj::Resolve {
                        requested,
                        wait: Wait::Catalog(wait),
                    },
                    Some(routing),
                ) => {
                    let catalog = ready!(wait.as_mut().poll(cx));
                    let requested = requested.clone();
                    catalog
                        .map_err(Rejection::from)
                        .and_then(|catalog| routing.resolve(&catalog, requested))
                }
                (
                    StateProj::Resolve {
                        requested,
                        wait: Wait::Newer(wait),
                    },
                    Some(routing),
                ) => {
                    let catalog = ready!(wait.as_mut().poll(cx));
                    routing.resolve_finally(&catalog, requested)
                }
                (
                    StateProj::Call {
                        inner,
                        answer,
                        refused,
                    },
                    _,
                ) => {
                    let result = inner.poll(cx);
                    // A rest of the body that must not be served goes before
                    // whatever the inner service makes of its broken body.
                    if let Some(Poll::Ready(outcome)) =
                        refused.as_mut().map(|refused| Pin::new(refused).poll(cx))
                    {
                        *refused = None;
                        // An error: the rest has been read, or given up.
                        if let Ok(rejection) = outcome {
                            log(&rejection);
                            state.set(State::Refuse { rejection });
                            continue;
                        }
                    }
                    let response = ready!(result)?;
                    return Poll::Ready(Ok(match answer.take() {
                        Some(answer) => answer.finish(response),
                        None => response.map(ResponseBody::inner),
                    }));
                }
                (StateProj::Refuse { rejection }, _) => {
                    let response = rejection.to_response().map(ResponseBody::own);
                    return Poll::Ready(Ok(response));
                }
                (StateProj::Read | StateProj::Resolve { .. }, None) => {
                    unreachable!("the request is there until the inner service is called")
                }
            };
            let next = match step {
                Ok(Step::Wait(requested, wait)) => State::Resolve { requested, wait },
                Ok(Step::Call(routed)) => match this.routing.take() {
                    Some(routing) => routing.call(routed).unwrap_or_else(|rejection| {
                        log(&rejection);
                        State::Refuse { rejection }
                    }),
                    None => unreachable!("a step is only taken while the request is there"),
                },
                Err(rejection) => {
                    log(&rejection);
                    *this.routing = None;
                    State::Refuse { rejection }
                }
            };
            state.set(next);
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<RoutedBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S, B> Routing<S, B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    fn start(&self, requested: Requested) -> Result<Step, Rejection> {
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
    fn resolve(&self, catalog: &Catalog, requested: Requested) -> Result<Step, Rejection> {
        let name = self.name(&requested)?;
        match known(catalog, &self.shared.policy, name.as_deref(), self.endpoint) {
            Some(resolved) => self.settle(resolved, name.as_deref()),
            None => match self.shared.registry.revalidate_for_miss() {
                Some(wait) => Ok(Step::Wait(requested, Wait::Newer(wait))),
                None => self.resolve_finally(catalog, &requested),
            },
        }
    }

    fn resolve_finally(&self, catalog: &Catalog, requested: &Requested) -> Result<Step, Rejection> {
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
            Ok(Outcome::Route(routed)) => {
                if routed.is_fallback() {
                    // `?`: a client's text must not forge a line of the log.
                    tracing::warn!(
                        requested = ?name.map(abridge),
                        served = ?routed.name(),
                        endpoint = %self.endpoint,
                        "routing to the fallback model"
                    );
                }
                Ok(Step::Call(Some(routed)))
            }
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
    fn call(self, routed: Option<RoutedModel>) -> Result<State<S::Future>, Rejection> {
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
        Ok(State::Call {
            inner: service.call(Request::from_parts(head, body)),
            answer,
            refused,
        })
    }
}

fn log(rejection: &Rejection) {
    let code = rejection.code().as_str();
    if rejection.status().is_server_error() {
        let cause = std::error::Error::source(rejection);
        tracing::warn!(code, cause, "{}", rejection.message());
    } else {
        tracing::debug!(code, "{}", rejection.message());
    }
}
