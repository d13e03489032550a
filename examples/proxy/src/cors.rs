//! CORS headers, for browsers.

use std::{convert::Infallible, future::Future};

use futures_util::FutureExt;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, RETRY_AFTER,
    },
};
use tower::{Layer, ServiceExt, service_fn, util::option_layer};
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer};

use crate::{body::Body, request_context::REQUEST_ID};

/// Returns the layer for this origin, or for all if it is `*`.
///
/// It responds to every OPTIONS request.
pub(crate) fn layer(origin: HeaderValue) -> CorsLayer {
    // All of them, by `*`, and by name for browsers that do not know it.
    let exposed = [
        HeaderName::from_static("*"),
        HeaderName::from_static("x-model-id"),
        HeaderName::from_static("x-model-name"),
        HeaderName::from_static("x-model-fallback"),
        REQUEST_ID,
        RETRY_AFTER,
    ];
    CorsLayer::new()
        .allow_origin(origin)
        // `*` does not include `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .expose_headers(exposed)
}

/// Handles a request with `handler` inside of the layer.
pub(crate) fn handle<A, F>(
    layer: Option<CorsLayer>,
    request: Request<A>,
    mut handler: impl FnMut(Request<A>) -> F,
) -> impl Future<Output = Response<Body>>
where
    F: Future<Output = Response<Body>>,
{
    let replaces = layer.is_some();
    let service = service_fn(move |request| {
        handler(request).map(move |mut response| {
            if replaces {
                remove_cors(response.headers_mut());
            }
            Ok::<_, Infallible>(response)
        })
    });
    let response = option_layer(layer).layer(service).oneshot(request);
    response.map(|Ok(response)| response)
}

/// Removes the upstream's own CORS headers: the gateway has another origin.
fn remove_cors(headers: &mut HeaderMap) {
    for name in [
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
}
