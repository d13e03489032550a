//! Responses that the proxy makes itself.

use std::convert::Infallible;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower_model_routing::error_response;

use crate::body::Body;

/// Returns a JSON response.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(boxed(Full::from(value.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Boxes a body that cannot fail.
pub(crate) fn boxed(
    body: impl HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

/// Returns an error response in the format of the API that the path belongs to.
pub(crate) fn error(path: &str, status: StatusCode, code: &str, message: &str) -> Response<Body> {
    error_response(path, status, code, message).map(|body| boxed(Full::from(body)))
}

/// Returns the response to a request past `--max-requests`.
pub(crate) fn overloaded(path: &str) -> Response<Body> {
    let mut response = error(
        path,
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "The gateway has too many requests in flight. Try again shortly.",
    );
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Returns the response after a panic, whose message is in the log only.
pub(crate) fn internal_error(path: &str) -> Response<Body> {
    error(
        path,
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "The gateway failed to handle this request. This is a bug in it.",
    )
}
