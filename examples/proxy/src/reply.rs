//! The answers that the proxy gives itself.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::body::Body;

/// A page in JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(whole(Full::from(value.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A body that is there as a whole.
pub(crate) fn whole(
    body: impl HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

/// An error as OpenAI clients expect it.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let kind = if status.is_client_error() {
        "invalid_request_error"
    } else {
        "server_error"
    };
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    json(status, &json!({ "error": error }))
}

/// The answer to a request whose handling panicked. The panic's message is on
/// stderr already; it is not the client's business.
pub(crate) fn panicked() -> Response<Body> {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "The gateway failed to handle this request. This is a bug in it.",
    )
}
