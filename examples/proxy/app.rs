//! The proxy as one service: its own pages, then decompression, then the
//! routing layer, then the upstream.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, header::CONTENT_ENCODING, request::Parts};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_http::decompression::RequestDecompressionLayer;
use tower_model_routing::{BoxError, ModelRoutingLayer};

use crate::{
    body::{self, Body},
    forward::Forward,
    front::front,
    headers,
    health::{Page, Pages},
};

type BoxService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Puts the parts of the proxy together.
pub(crate) fn app(
    pages: Arc<Pages>,
    routing: ModelRoutingLayer,
    forward: Forward,
    client_idle_timeout: Duration,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl HttpBody<Data = Bytes, Error = BoxError> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let boxed = |response: Response<_>| response.map(BodyExt::boxed_unsync);
    let plain = ServiceBuilder::new()
        .map_response(boxed)
        .layer(routing)
        .service(forward);
    // An encoding that is not known here passes: the routing layer refuses it
    // where it would have to read the body.
    let encoded = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(BodyExt::boxed_unsync))
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .map_request(|request: Request<_>| request.map(BodyExt::boxed_unsync))
        .service(plain.clone());
    let app = Arc::new(App {
        pages,
        plain: BoxCloneSyncService::new(plain),
        encoded: BoxCloneSyncService::new(encoded),
        client_idle_timeout,
    });
    front(service_fn(move |request| {
        Arc::clone(&app).answer(request).map(Ok)
    }))
}

struct App {
    pages: Arc<Pages>,
    /// For bodies that are not encoded: of those the length is known on the
    /// other side as well.
    plain: BoxService,
    encoded: BoxService,
    client_idle_timeout: Duration,
}

impl App {
    /// Boxed, because the outer futures move it around.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        if let Some(page) = Page::at(request.uri().path()) {
            return Box::pin(async move { self.pages.answer(page, request).await });
        }
        let (mut head, body) = request.into_parts();
        headers::prepare_request(&mut head);
        let body = body::from_client(body, self.client_idle_timeout);
        let service = if head.headers.contains_key(CONTENT_ENCODING) {
            unify_encoding(&mut head);
            &self.encoded
        } else {
            &self.plain
        };
        let answer = service.clone().oneshot(Request::from_parts(head, body));
        Box::pin(answer.map(|Ok(response)| response))
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
