//! The proxy as one service: admin routes, decompression, the routing layer, and the
//! upstream.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, header::CONTENT_ENCODING, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Layer, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_http::decompression::RequestDecompressionLayer;
use tower_model_routing::{ModelRouting, ModelRoutingLayer};

use crate::{
    admin::{AdminRoutes, Route},
    body::{self, Body},
    forward::Forward,
    headers::{self, ClientIp},
    request_context,
};

/// The service of one worker.
pub(crate) struct App {
    admin: Arc<AdminRoutes>,
    /// For bodies without a content coding. Unlike decompressed ones they keep their
    /// length.
    plain: ModelRouting<Forward>,
    encoded: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    client_idle_timeout: Duration,
}

impl App {
    pub(crate) fn new(
        admin: Arc<AdminRoutes>,
        routing: &ModelRoutingLayer,
        forward: Forward,
        client_idle_timeout: Duration,
    ) -> Self {
        let plain = routing.layer(forward);
        // The routing layer rejects the remaining content codings, where it reads bodies.
        let encoded = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(BodyExt::boxed_unsync))
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
            .service(plain.clone());
        Self {
            admin,
            plain,
            encoded: BoxCloneSyncService::new(encoded),
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
        if let Some(route) = Route::new(request.uri().path()) {
            return Box::pin(async move { self.admin.handle(route, request).await });
        }
        let (mut head, body) = request.into_parts();
        headers::prepare_request(&mut head, client);
        let body = body::from_client(body, self.client_idle_timeout);
        if head.headers.contains_key(CONTENT_ENCODING) {
            normalize_encoding(&mut head);
            let request = Request::from_parts(head, body.boxed_unsync());
            let response = self.encoded.clone().oneshot(request);
            Box::pin(response.map(|Ok(response)| response))
        } else {
            let response = self.plain.clone().oneshot(Request::from_parts(head, body));
            Box::pin(response.map(|Ok(response)| response.map(BodyExt::boxed_unsync)))
        }
    }
}

/// Writes a known content coding as the decompression layer expects it. Codings are
/// case-insensitive, and `x-gzip` is equivalent to `gzip` (RFC 9110, 8.4.1).
fn normalize_encoding(head: &mut Parts) {
    let Some(encoding) = head.headers.get(CONTENT_ENCODING) else {
        return;
    };
    let normalized = match encoding
        .as_bytes()
        .trim_ascii()
        .to_ascii_lowercase()
        .as_slice()
    {
        b"gzip" | b"x-gzip" => "gzip",
        b"deflate" => "deflate",
        b"br" => "br",
        b"zstd" => "zstd",
        _ => return,
    };
    if head.headers.get_all(CONTENT_ENCODING).iter().count() == 1 {
        head.headers
            .insert(CONTENT_ENCODING, HeaderValue::from_static(normalized));
    }
}
