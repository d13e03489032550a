//! Requests as an SDK sends them.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

/// The client's API key.
pub(crate) const KEY: &str = "sk-0123456789abcdef";

pub(crate) fn sdk_request(body: impl Into<Bytes>) -> http::Result<Request<Full<Bytes>>> {
    Request::post("/v1/chat/completions")
        .header("host", "gateway.example")
        .header("user-agent", "OpenAI/Python 2.8.1")
        .header("accept", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
}
