//! The response future: reads the model, resolves it, waits for the inner service and calls it.

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
    coding::DecodedBody,
    headers,
    pending::{CatalogWait, ForwardPlan, NextStep, PendingRequest},
    request::{Inspected, ModelReader, Requested, RoutedBody, Target},
    response::{Dialect, Rejection, RejectionHook, ResponseBody, ResponseChanges},
    shared::Shared,
    telemetry::RequestTelemetry,
};

pin_project! {
    /// The response future of [`ModelRouting`](crate::ModelRouting).
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a Tokio runtime without a timer.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the request's body, what it reserved of the inner service, and
    /// the call to it are dropped with it. A refresh of the catalog that it started continues for
    /// other requests.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<RoutedBody<B>>>,
    {
        // `None` for requests that pass through.
        context: Option<RequestContext>,
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        /// Reads the model, and perhaps waits for a catalog.
        Resolve {
            // Taken when the model is known.
            pending: Option<PendingRequest<S, B>>,
            waiting: Option<(Requested, CatalogWait)>,
        },
        /// Waits until the inner service is ready.
        Ready {
            // Taken when the inner service is called.
            plan: Option<ForwardPlan<S, B>>,
        },
        /// Waits for the inner service's response.
        Call {
            #[pin]
            inner: F,
            changes: Option<ResponseChanges>,
            late_rejection_rx: Option<oneshot::Receiver<Rejection>>,
        },
        Reject { rejection: Rejection },
    }
}

/// The part of an inspected request that outlives its head and body.
#[derive(Debug)]
pub(crate) struct RequestContext {
    telemetry: RequestTelemetry,
    dialect: Dialect,
    // Boxed to keep the future small.
    hook: Option<Box<(RejectionHook, Uri)>>,
}

impl RequestContext {
    pub(crate) fn new(head: &Parts, target: &Target, shared: &Shared) -> Self {
        let hook = shared.rejection_hook.clone();
        Self {
            telemetry: RequestTelemetry::start(
                target.gen_ai_operation(),
                Arc::clone(&shared.fallback_warnings),
            ),
            dialect: target.dialect,
            hook: hook.map(|hook| Box::new((hook, head.uri.clone()))),
        }
    }

    fn response<B: Body>(&self, rejection: &Rejection) -> Response<ResponseBody<B>> {
        let response = match self.hook.as_deref() {
            Some((hook, uri)) => hook.response(rejection, uri),
            None => rejection.response_in(self.dialect),
        };
        response.map(|body| ResponseBody::own(Full::new(body)))
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<RoutedBody<B>>>,
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    /// Calls `service` with an untouched request once it is ready, and makes these changes to the
    /// response.
    pub(crate) fn pass(
        service: S,
        request: Request<RoutedBody<B>>,
        changes: Option<ResponseChanges>,
    ) -> Self {
        let plan = ForwardPlan {
            service,
            request,
            can_reject: false,
            changes,
            late_rejection_rx: None,
        };
        Self {
            context: None,
            state: State::Ready { plan: Some(plan) },
        }
    }

    pub(crate) fn reject(rejection: Rejection, context: RequestContext) -> Self {
        context.telemetry.rejected(&rejection);
        Self {
            context: Some(context),
            state: State::Reject { rejection },
        }
    }

    /// Calls `service` once the model is known and the service is ready.
    pub(crate) fn resolve(
        service: S,
        head: Parts,
        body: DecodedBody<B>,
        inspected: Inspected,
        context: RequestContext,
        shared: Arc<Shared>,
    ) -> Self {
        let Inspected {
            target,
            uri_model,
            format,
            ..
        } = inspected;
        let exact = body.size_hint().exact();
        let expected = exact.or_else(|| headers::content_length(&head.headers));
        let budget = Arc::clone(&shared.budget);
        let is_named = uri_model.is_some();
        match ModelReader::new(body, format, expected, target.is_strict, is_named, budget) {
            Ok(reader) => Self {
                context: Some(context),
                state: State::Resolve {
                    pending: Some(PendingRequest {
                        service,
                        request: Request::from_parts(head, reader),
                        target,
                        uri_model,
                        is_in_body: false,
                        shared,
                    }),
                    waiting: None,
                },
            },
            Err(rejection) => Self::reject(rejection, context),
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
        let context = this.context.as_ref();
        let _entered = context.map(|context| context.telemetry.span().enter());
        loop {
            let next = match state.as_mut().project() {
                StateProj::Resolve {
                    pending: slot,
                    waiting,
                } => {
                    let Some(pending) = slot else {
                        unreachable!("the request is taken only when the state changes")
                    };
                    let step = match waiting {
                        None => {
                            let reader = pending.request.body_mut().as_mut();
                            let requested = ready!(reader.poll_requested(cx));
                            requested.and_then(|requested| {
                                if let Some(context) = context {
                                    context.telemetry.requested(|| pending.name(&requested));
                                }
                                pending.start(requested)
                            })
                        }
                        Some((requested, CatalogWait::Lookup(wait))) => {
                            let catalog = ready!(pending.poll_catalog(wait, cx));
                            catalog.and_then(|catalog| pending.resolve(&catalog, requested.clone()))
                        }
                        Some((requested, CatalogWait::Miss(wait))) => {
                            let catalog = ready!(wait.as_mut().poll(cx));
                            pending.resolve_finally(&catalog, requested)
                        }
                    };
                    let plan = match pending.settle(step) {
                        Ok(NextStep::Wait(requested, wait)) => {
                            *waiting = Some((requested, wait));
                            continue;
                        }
                        Ok(NextStep::Call(routed)) => {
                            let Some(pending) = slot.take() else {
                                unreachable!("the slot was filled above")
                            };
                            pending.prepare(routed)
                        }
                        Err(rejection) => Err(rejection),
                    };
                    match plan {
                        Ok(plan) => State::Ready { plan: Some(plan) },
                        Err(rejection) => reject(rejection, context),
                    }
                }
                StateProj::Ready { plan: slot } => {
                    let Some(plan) = slot else {
                        unreachable!("the plan is taken only when the state changes")
                    };
                    match plan.service.poll_ready(cx) {
                        Poll::Ready(result) => {
                            result?;
                            if let Some(context) = context {
                                let changes = plan.changes.as_ref();
                                let routed = changes.and_then(ResponseChanges::routed);
                                context.telemetry.forwarded(routed);
                            }
                            let Some(mut plan) = slot.take() else {
                                unreachable!("the slot was filled above")
                            };
                            State::Call {
                                inner: plan.service.call(plan.request),
                                changes: plan.changes,
                                late_rejection_rx: plan.late_rejection_rx,
                            }
                        }
                        Poll::Pending => match plan.request.body_mut().reserve_shared() {
                            Err(rejection) if plan.can_reject => reject(rejection, context),
                            _ => return Poll::Pending,
                        },
                    }
                }
                StateProj::Call {
                    inner,
                    changes,
                    late_rejection_rx,
                } => {
                    let result = inner.poll(cx);
                    // Takes precedence over the inner service's response to a failed body.
                    if let Some(rejection) =
                        poll_late_rejection(late_rejection_rx, result.is_ready(), cx)
                    {
                        if let Some(context) = context {
                            context.telemetry.rejected_late(&rejection);
                        }
                        state.set(State::Reject { rejection });
                        continue;
                    }
                    let response = ready!(result)?;
                    return Poll::Ready(Ok(match changes.take() {
                        Some(changes) => changes.apply(response),
                        None => response.map(ResponseBody::inner),
                    }));
                }
                StateProj::Reject { rejection } => {
                    return Poll::Ready(Ok(match context {
                        Some(context) => context.response(rejection),
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

fn reject<S, B, F>(rejection: Rejection, context: Option<&RequestContext>) -> State<S, B, F> {
    if let Some(context) = context {
        context.telemetry.rejected(&rejection);
    }
    State::Reject { rejection }
}

/// Returns the rejection of the part of the body that was streaming, if there is one.
fn poll_late_rejection(
    late_rejection_rx: &mut Option<oneshot::Receiver<Rejection>>,
    is_last_chance: bool,
    cx: &mut Context<'_>,
) -> Option<Rejection> {
    let receiver = late_rejection_rx.as_mut()?;
    // `poll` is only for the wake-up: it returns `Pending` once the task has used up its Tokio
    // budget.
    let outcome = match receiver.try_recv() {
        Ok(rejection) => Some(rejection),
        Err(TryRecvError::Empty) if is_last_chance => return None,
        Err(TryRecvError::Empty) => match Pin::new(receiver).poll(cx) {
            Poll::Pending => return None,
            Poll::Ready(outcome) => outcome.ok(),
        },
        // The body has been read or dropped.
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
