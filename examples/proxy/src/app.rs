//! The proxy as one service: admin routes, the routing layer, and the upstream.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, ServiceExt};
use tower_http::cors::CorsLayer;
use tower_model_routing::{BoxError, ModelRouting, ModelRoutingLayer};

use crate::{
    admin::{AdminRoutes, Route},
    body::{self, Body},
    compression::{self, Compressed},
    cors,
    forward::Forward,
    headers::{self, ClientIp},
    request_context::{self, Records},
    response, validate,
    websocket::Tunnel,
};

/// What all workers have in common.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Whether some routes are on the admin listener only.
    pub(crate) has_admin_listener: bool,
    pub(crate) cors: Option<CorsLayer>,
    pub(crate) access_log: bool,
    pub(crate) client_idle_timeout: Duration,
    /// A permit for each request in flight.
    pub(crate) requests: Arc<Semaphore>,
}

/// The service of one worker.
pub(crate) struct App {
    admin: Arc<AdminRoutes>,
    routing: Compressed<ModelRouting<Forward>>,
    settings: Settings,
}

impl App {
    pub(crate) fn new(
        admin: Arc<AdminRoutes>,
        routing: &ModelRoutingLayer,
        forward: Forward,
        settings: Settings,
    ) -> Self {
        Self {
            admin,
            // Responses are compressed after the layer has read them.
            routing: compression::layer().layer(routing.layer(forward)),
            settings,
        }
    }

    /// Handles a client's request.
    pub(crate) fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: ClientIp,
    ) -> impl Future<Output = Response<Body>> + Send {
        let own_route = self.own_route(&request);
        let records = Records {
            access_log: self.settings.access_log,
            // The proxy's own routes have no spans.
            trace: own_route.is_none(),
        };
        request_context::handle(request, records, move |request| {
            cors::handle(self.settings.cors.clone(), request, move |request| {
                let this = Arc::clone(&self);
                let client = client.clone();
                let uri = request.uri().clone();
                request_context::catch_panics(uri, move || this.route(request, own_route, client))
            })
        })
    }

    /// The future is boxed, because the outer futures move it.
    fn route(
        self: Arc<Self>,
        request: Request<Incoming>,
        own_route: Option<Route>,
        client: ClientIp,
    ) -> BoxFuture<'static, Response<Body>> {
        if let Some(response) = validate::rejection(&request) {
            return self.reject(request, response);
        }
        if let Some(route) = own_route {
            return Box::pin(async move { self.admin.handle(route, request).await });
        }
        let Ok(permit) = Arc::clone(&self.settings.requests).try_acquire_owned() else {
            let response = response::overloaded(request.uri().path());
            return self.reject(request, response);
        };
        let (mut head, body) = request.into_parts();
        headers::prepare_request(&mut head, client);
        let body = body::from_client(body, self.settings.client_idle_timeout);
        let request = Request::from_parts(head, body);
        let response = self.routing.clone().oneshot(request);
        Box::pin(response.map(|Ok(mut response)| {
            let mut permit = Some(permit);
            if let Some(tunnel) = response.extensions_mut().get_mut::<Tunnel>() {
                tunnel.keep(permit.take());
            }
            response.map(|body| until_end(permit, body))
        }))
    }

    /// Returns the proxy's own route for the request, or `None` if it goes upstream.
    fn own_route(&self, request: &Request<Incoming>) -> Option<Route> {
        let route = Route::new(request.method(), request.uri().path())?;
        match self.settings.has_admin_listener {
            true => route.public(),
            false => Some(route),
        }
    }

    /// Responds to a request that is not forwarded, and drains its body.
    fn reject(
        &self,
        request: Request<Incoming>,
        response: Response<Body>,
    ) -> BoxFuture<'static, Response<Body>> {
        let body = request.into_body();
        drop(body::from_client(body, self.settings.client_idle_timeout));
        Box::pin(ready(response))
    }
}

/// Keeps the permit until the body is dropped.
fn until_end<B>(permit: Option<OwnedSemaphorePermit>, body: B) -> Body
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
{
    body.map_err(move |error| {
        let _ = &permit;
        error
    })
    .boxed_unsync()
}
