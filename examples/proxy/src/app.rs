//! The proxy as one service: its own pages, then decompression, then the
//! routing layer, then the upstream.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, header::CONTENT_ENCODING, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Layer, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_http::decompression::RequestDecompressionLayer;
use tower_model_routing::{ModelRouting, ModelRoutingLayer};

use crate::{
    body::{self, Body},
    forward::Forward,
    front,
    headers::{self, Client},
    health::{Page, Pages},
};

/// The parts of the proxy, put together.
pub(crate) struct App {
    pages: Arc<Pages>,
    /// For bodies that are not encoded: of those the length is known on the
    /// other side as well.
    plain: ModelRouting<Forward>,
    encoded: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    client_idle_timeout: Duration,
}

impl App {
    pub(crate) fn new(
        pages: Arc<Pages>,
        routing: &ModelRoutingLayer,
        forward: Forward,
        client_idle_timeout: Duration,
    ) -> Self {
        let plain = routing.layer(forward);
        // An encoding that is not known here passes: the routing layer refuses it
        // where it would have to read the body.
        let encoded = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(BodyExt::boxed_unsync))
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
            .service(plain.clone());
        Self {
            pages,
            plain,
            encoded: BoxCloneSyncService::new(encoded),
            client_idle_timeout,
        }
    }

    /// Answers a request that came from this client.
    pub(crate) fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Body>> + Send {
        front::answer(request, |request| self.route(request, client))
    }

    /// Boxed, because the outer futures move it around.
    fn route(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: Client,
    ) -> BoxFuture<'static, Response<Body>> {
        if let Some(page) = Page::at(request.uri().path()) {
            return Box::pin(async move { self.pages.answer(page, request).await });
        }
        let (mut head, body) = request.into_parts();
        headers::prepare_request(&mut head, client);
        let body = body::from_client(body, self.client_idle_timeout);
        if head.headers.contains_key(CONTENT_ENCODING) {
            unify_encoding(&mut head);
            let request = Request::from_parts(head, body.boxed_unsync());
            let answer = self.encoded.clone().oneshot(request);
            Box::pin(answer.map(|Ok(response)| response))
        } else {
            let answer = self.plain.clone().oneshot(Request::from_parts(head, body));
            Box::pin(answer.map(|Ok(response)| response.map(BodyExt::boxed_unsync)))
        }
    }
}

/// Spells a known encoding as the decompression layer does: the names have no
/// case, and `x-gzip` is another one of gzip's (RFC 9110, 8.4.1).
fn unify_encoding(head: &mut Parts) {
    let Some(encoding) = head.headers.get(CONTENT_ENCODING) else {
        return;
    };
    let unified = match encoding
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
            .insert(CONTENT_ENCODING, HeaderValue::from_static(unified));
    }
}
