//! The response future: Read → Resolve → Call. The one place where body and
//! registry meet.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{Request, Response, Uri, request::Parts};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tower_service::Service;

use crate::{
    body::BoxError,
    headers,
    pending::{CatalogWait, ForwardPlan, NextStep, PendingRequest},
    request::{BodyFormat, ModelReader, Requested, RoutedBody, Target},
    response::{Rejection, RejectionHook, ResponseBody, ResponseRewrite},
    shared::Shared,
    telemetry::RequestTelemetry,
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
        // Absent where the request is none of our business.
        observer: Option<RequestContext>,
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        /// Reading the body until its model is known, and then perhaps waiting
        /// for a catalog.
        Route {
            // There until the inner service is called.
            pending: Option<PendingRequest<S, B>>,
            waiting: Option<(Requested, CatalogWait)>,
        },
        /// The inner service is at work.
        Call {
            #[pin]
            inner: F,
            rewrite: Option<ResponseRewrite>,
            late_rejection_rx: Option<oneshot::Receiver<Rejection>>,
        },
        /// The layer answers itself.
        Refuse { rejection: Rejection },
    }
}

/// What is told of the request, and how a rejection is shown.
#[derive(Debug)]
pub(crate) struct RequestContext {
    telemetry: RequestTelemetry,
    // Boxed, because futures should be small.
    hook: Option<Box<(RejectionHook, Uri)>>,
}

impl RequestContext {
    pub(crate) fn new(head: &Parts, target: &Target, shared: &Shared) -> Self {
        let hook = shared.rejection_hook.clone();
        Self {
            telemetry: RequestTelemetry::begin(target.operation),
            hook: hook.map(|hook| Box::new((hook, head.uri.clone()))),
        }
    }

    fn response<B: Body>(&self, rejection: &Rejection) -> Response<ResponseBody<B>> {
        let response = match self.hook.as_deref() {
            Some((hook, uri)) => hook.response(rejection, uri),
            None => rejection.to_response(),
        };
        response.map(|body| ResponseBody::own(Full::new(body)))
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<RoutedBody<B>>>,
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// The inner service has been called with a request that is none of our
    /// business.
    pub(crate) fn passing(inner: S::Future) -> Self {
        let state = State::Call {
            inner,
            rewrite: None,
            late_rejection_rx: None,
        };
        Self {
            observer: None,
            state,
        }
    }

    /// The layer answers itself.
    pub(crate) fn refusing(rejection: Rejection, observer: RequestContext) -> Self {
        observer.telemetry.rejected(&rejection);
        Self {
            observer: Some(observer),
            state: State::Refuse { rejection },
        }
    }

    /// `service`, which is ready, is to be called once the model is known.
    pub(crate) fn reading(
        service: S,
        head: Parts,
        body: B,
        format: BodyFormat,
        target: Target,
        observer: RequestContext,
        shared: Arc<Shared>,
    ) -> Self {
        let exact = body.size_hint().exact();
        let expected = exact.or_else(|| headers::content_length(&head.headers));
        match ModelReader::new(body, format, expected, Arc::clone(&shared.budget)) {
            Ok(reader) => Self {
                observer: Some(observer),
                state: State::Route {
                    pending: Some(PendingRequest {
                        service,
                        request: Request::from_parts(head, reader),
                        target,
                        shared,
                    }),
                    waiting: None,
                },
            },
            Err(rejection) => Self::refusing(rejection, observer),
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
        let observer = this.observer.as_ref();
        let _entered = observer.map(|observer| observer.telemetry.span().enter());
        loop {
            let next = match state.as_mut().project() {
                StateProj::Route {
                    pending: slot,
                    waiting,
                } => {
                    let Some(pending) = slot else {
                        unreachable!("the request is there until the inner service is called")
                    };
                    let step = match waiting {
                        None => {
                            let reader = pending.request.body_mut().as_mut();
                            let requested = ready!(reader.poll_requested(cx));
                            requested.and_then(|requested| pending.start(requested))
                        }
                        Some((requested, CatalogWait::Catalog(wait))) => {
                            let catalog = ready!(wait.as_mut().poll(cx));
                            let catalog = catalog.map_err(Rejection::from);
                            catalog.and_then(|catalog| pending.resolve(&catalog, requested.clone()))
                        }
                        Some((requested, CatalogWait::Newer(wait))) => {
                            let catalog = ready!(wait.as_mut().poll(cx));
                            pending.resolve_finally(&catalog, requested)
                        }
                    };
                    let prepared = match step {
                        Ok(NextStep::Wait(requested, wait)) => {
                            *waiting = Some((requested, wait));
                            continue;
                        }
                        Ok(NextStep::Call(routed)) => pending.prepare(routed),
                        Err(rejection) => Err(rejection),
                    };
                    match prepared {
                        Ok(ForwardPlan {
                            rewrite,
                            late_rejection_rx,
                        }) => {
                            if let Some(observer) = observer {
                                let routed = rewrite.as_ref().map(ResponseRewrite::routed);
                                observer.telemetry.forwarding(routed);
                            }
                            let Some(pending) = slot.take() else {
                                unreachable!("it was there just now")
                            };
                            State::Call {
                                inner: pending.call(),
                                rewrite,
                                late_rejection_rx,
                            }
                        }
                        Err(rejection) => {
                            if let Some(observer) = observer {
                                observer.telemetry.rejected(&rejection);
                            }
                            State::Refuse { rejection }
                        }
                    }
                }
                StateProj::Call {
                    inner,
                    rewrite,
                    late_rejection_rx,
                } => {
                    let result = inner.poll(cx);
                    // A rest of the body that must not be served goes before
                    // whatever the inner service makes of its broken body.
                    if let Some(rejection) = poll_refused(late_rejection_rx, result.is_ready(), cx)
                    {
                        if let Some(observer) = observer {
                            observer.telemetry.refused_late(&rejection);
                        }
                        state.set(State::Refuse { rejection });
                        continue;
                    }
                    let response = ready!(result)?;
                    return Poll::Ready(Ok(match rewrite.take() {
                        Some(rewrite) => rewrite.finish(response),
                        None => response.map(ResponseBody::inner),
                    }));
                }
                StateProj::Refuse { rejection } => {
                    return Poll::Ready(Ok(match observer {
                        Some(observer) => observer.response(rejection),
                        None => rejection
                            .to_response()
                            .map(|body| ResponseBody::own(body.into())),
                    }));
                }
            };
            state.set(next);
        }
    }
}

/// The reason to refuse the rest of the body, if there is one.
fn poll_refused(
    late_rejection_rx: &mut Option<oneshot::Receiver<Rejection>>,
    is_last_chance: bool,
    cx: &mut Context<'_>,
) -> Option<Rejection> {
    let receiver = late_rejection_rx.as_mut()?;
    // A task that has used up its Tokio budget polls in vain, so that is only
    // for being woken.
    let outcome = match receiver.try_recv() {
        Ok(rejection) => Some(rejection),
        Err(TryRecvError::Empty) if is_last_chance => return None,
        Err(TryRecvError::Empty) => match Pin::new(receiver).poll(cx) {
            Poll::Pending => return None,
            Poll::Ready(outcome) => outcome.ok(),
        },
        // The body is gone: read, or given up.
        Err(TryRecvError::Closed) => None,
    };
    *late_rejection_rx = None;
    outcome
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<RoutedBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
