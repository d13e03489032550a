//! Error responses.

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};

use super::dialect::{Dialect, ErrorObject};

/// Builds an error response in the form of an API.
pub(crate) fn error_response(dialect: Dialect, error: &ErrorObject<'_>) -> Response<Bytes> {
    let body = dialect.render(error).to_string();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = error.status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
