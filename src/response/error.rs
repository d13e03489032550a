//! Error responses.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use super::dialect::{Dialect, ErrorObject};

/// Builds an error response in the form of the API that `path` belongs to, as the layer's own
/// [`Rejection`](crate::Rejection)s have it.
///
/// This is for errors of the service around or inside of the layer, such as an upstream that cannot
/// be reached. `code` is for programs, in OpenAI's form only; `message` is for people.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
/// use tower_model_routing::error_response;
///
/// let status = StatusCode::BAD_GATEWAY;
/// let of = |path| error_response(path, status, "upstream_unavailable", "Try again.");
/// assert_eq!(
///     of("/v1/messages").body(),
///     r#"{"error":{"message":"Try again.","type":"api_error"},"type":"error"}"#
/// );
/// assert_eq!(
///     of("/v1beta/models/m:generateContent").body(),
///     r#"{"error":{"code":502,"message":"Try again.","status":"UNAVAILABLE"}}"#
/// );
/// assert_eq!(of("/v1/chat/completions").headers()["content-type"], "application/json");
/// ```
pub fn error_response(
    path: &str,
    status: StatusCode,
    code: &str,
    message: &str,
) -> Response<Bytes> {
    let error = ErrorObject {
        status,
        code,
        param: None,
        message,
        suggestions: &[],
    };
    error_response_in(Dialect::of(path), &error)
}

/// Builds an error response in the form of an API.
pub(crate) fn error_response_in(dialect: Dialect, error: &ErrorObject<'_>) -> Response<Bytes> {
    let body = dialect.render(error).to_string();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = error.status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
