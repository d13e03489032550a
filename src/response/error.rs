//! The error object that OpenAI clients expect.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

/// Builds a response with `{"error":{"message","type","param","code"}}`; the type follows from the
/// status.
pub(crate) fn error_response(
    status: StatusCode,
    code: &str,
    param: Option<&str>,
    message: &str,
) -> Response<Bytes> {
    let kind = if status.is_client_error() {
        "invalid_request_error"
    } else {
        "server_error"
    };
    let body = json!({
        "error": { "message": message, "type": kind, "param": param, "code": code }
    });
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
