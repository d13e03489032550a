//! The proxy as one service: admin routes, the routing layer, and the upstream.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Layer, ServiceExt};
use tower_model_routing::{ModelRouting, ModelRoutingLayer};

use crate::{
    admin::{AdminRoutes, Route},
    body::{self, Body},
    compression::{self, Compressed},
    forward::Forward,
    headers::{self, ClientIp},
    request_context, validate,
};

/// The service of one worker.
pub(crate) struct App {
    admin: Arc<AdminRoutes>,
    routing: Compressed<ModelRouting<Forward>>,
    client_idle_timeout: Duration,
}

impl App {
    pub(crate) fn new(
        admin: Arc<AdminRoutes>,
        routing: &ModelRoutingLayer,
        forward: Forward,
        client_idle_timeout: Duration,
    ) -> Self {
        Self {
            admin,
            // Responses are compressed after the layer has read them.
            routing: compression::layer().layer(routing.layer(forward)),
            client_idle_timeout,
        }
    }

    /// Handles a client's request.
    pub(crate) fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: ClientIp,
    ) -> impl Future<Output = Response<Body>> + Send {
        request_context::handle(request, |request| self.route(request, client))
    }

    /// The future is boxed, because the outer futures move it.
    fn route(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: ClientIp,
    ) -> BoxFuture<'static, Response<Body>> {
        if let Some(response) = validate::rejection(&request) {
            // Drains it.
            drop(body::from_client(
                request.into_body(),
                self.client_idle_timeout,
            ));
            return Box::pin(ready(response));
        }
        if let Some(route) = Route::new(request.method(), request.uri().path()) {
            return Box::pin(async move { self.admin.handle(route, request).await });
        }
        let (mut head, body) = request.into_parts();
        headers::prepare_request(&mut head, client);
        let body = body::from_client(body, self.client_idle_timeout);
        let request = Request::from_parts(head, body);
        let response = self.routing.clone().oneshot(request);
        Box::pin(response.map(|Ok(response)| response.map(BodyExt::boxed_unsync)))
    }
}
