//! Request IDs, request spans, and responses after panics.

use std::{future::Future, panic::AssertUnwindSafe, time::Instant};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header::Entry};
use tracing::{Instrument, Span};

#[cfg(feature = "otlp")]
use crate::otlp;
use crate::{body::Body, observe::Observation, response};

/// The span of a request in the log, in its extensions. Inside the routing layer it is not the
/// current span.
#[derive(Clone, Debug)]
pub(crate) struct RequestSpan(pub(crate) Span);

/// What is recorded of a request besides its events and metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Records {
    /// Whether the access log has a line for the response.
    pub(crate) access_log: bool,
    /// Whether the request has a span, if traces are exported.
    #[cfg_attr(
        not(feature = "otlp"),
        expect(dead_code, reason = "only that feature exports them")
    )]
    pub(crate) trace: bool,
}

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Handles a request with `handler`.
///
/// A request without a usable `x-request-id` gets a random one. The ID goes upstream,
/// is in every log line about the request, and in the response, unless the upstream
/// set another one there.
pub(crate) fn handle<A, F>(
    mut request: Request<A>,
    records: Records,
    handler: impl FnOnce(Request<A>) -> F,
) -> impl Future<Output = Response<Body>>
where
    F: Future<Output = Response<Body>>,
{
    let start = Instant::now();
    let id = request_id(request.headers_mut());
    #[cfg(feature = "otlp")]
    let trace = match records.trace {
        true => otlp::start_span(&mut request, &id),
        false => Span::none(),
    };
    #[cfg(not(feature = "otlp"))]
    let trace = Span::none();
    let span = trace.in_scope(|| span(&request, &id));
    request.extensions_mut().insert(RequestSpan(span.clone()));
    let observed_trace = trace.clone();
    let handled = async move {
        let observation = Observation::new(start, observed_trace, records.access_log);
        let mut response = handler(request).await;
        response.headers_mut().entry(REQUEST_ID).or_insert(id);
        tracing::debug!(
            status = response.status().as_u16(),
            seconds = start.elapsed().as_secs_f64(),
            "response"
        );
        observation.observe(response)
    };
    handled.instrument(span).instrument(trace)
}

/// Returns the response of `handler`, or an error response to a request of this URI if it panics.
pub(crate) fn catch_panics<F>(
    uri: Uri,
    handler: impl FnOnce() -> F,
) -> impl Future<Output = Response<Body>>
where
    F: Future<Output = Response<Body>>,
{
    let handled = AssertUnwindSafe(async { handler().await }).catch_unwind();
    handled
        .map(move |response| response.unwrap_or_else(|_panic| response::internal_error(uri.path())))
}

/// Returns the request's ID, after replacing an unusable one.
fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    match headers.entry(REQUEST_ID) {
        Entry::Vacant(entry) => entry.insert(random_id()).clone(),
        Entry::Occupied(mut entry) => {
            if entry.iter().count() > 1 || !is_usable(entry.get().as_bytes()) {
                entry.insert(random_id());
            }
            entry.get().clone()
        }
    }
}

fn is_usable(id: &[u8]) -> bool {
    const MAX_LEN: usize = 128;

    // UUIDs, ULIDs, base64 and the trace IDs of clouds consist of these.
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=/+".contains(byte);
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(is_allowed)
}

fn random_id() -> HeaderValue {
    // Hexadecimal digits are a valid value.
    HeaderValue::try_from(format!("{:032x}", fastrand::u128(..)))
        .unwrap_or(HeaderValue::from_static("unknown"))
}

/// Returns the request's span. Its level is the highest, so that no filter separates
/// log lines from their ID. It leaves out the query, which may contain secrets.
fn span<A>(request: &Request<A>, id: &HeaderValue) -> Span {
    tracing::error_span!(
        "request",
        request_id = %id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = path_excerpt(request.uri()),
    )
}

/// Returns the beginning of the path.
pub(crate) fn path_excerpt(uri: &Uri) -> &str {
    const MAX_CHARS: usize = 1024;

    let path = uri.path();
    let end = path.char_indices().nth(MAX_CHARS);
    end.map_or(path, |(end, _)| &path[..end])
}

#[cfg(test)]
mod tests {
    use std::future::Ready;

    use http::StatusCode;
    use http_body_util::{BodyExt, Full};

    use super::*;

    async fn panics_later(_: Request<()>) -> Response<Body> {
        panic!("for a test")
    }

    fn panics_at_once(_: Request<()>) -> Ready<Response<Body>> {
        panic!("for a test")
    }

    async fn echoes_id(request: Request<()>) -> Response<Body> {
        let id = request.headers()[REQUEST_ID].as_bytes().to_owned();
        Response::new(response::boxed(Full::from(id)))
    }

    #[tokio::test]
    async fn panics_become_errors_with_request_id() {
        let later = handle(Request::new(()), Records::default(), |it| {
            catch_panics(Uri::default(), || panics_later(it))
        });
        let at_once = handle(Request::new(()), Records::default(), |it| {
            catch_panics(Uri::default(), || panics_at_once(it))
        });
        let (later, at_once) = (later.await, at_once.await);
        for response in [later, at_once] {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.headers()[REQUEST_ID].len(), 32);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["code"], "internal_error");
            assert_eq!(body["error"]["type"], "server_error");
            assert!(!body.to_string().contains("for a test"));
        }
    }

    #[tokio::test]
    async fn usable_ids_are_kept() {
        let long = "x".repeat(129);
        for (sent, is_kept) in [
            ("7", true),
            ("0b8f3d3e-1a55-4c3b-9f3c-8a4f2a6f0c11", true),
            ("Root=1-67891233-abcdef012345678912345678", true),
            (&long[1..], true),
            (&long, false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("caf\u{e9}", false),
        ] {
            let mut request = Request::new(());
            let value = HeaderValue::from_bytes(sent.as_bytes()).unwrap();
            request.headers_mut().insert(REQUEST_ID, value);
            let response = handle(request, Records::default(), echoes_id).await;
            let id = response.headers()[REQUEST_ID].clone();
            assert_eq!(id == sent, is_kept, "{sent:?} became {id:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, id.as_bytes());
        }
    }

    #[tokio::test]
    async fn repeated_ids_are_replaced() {
        let mut request = Request::new(());
        for id in ["1", "2"] {
            let id = HeaderValue::from_static(id);
            request.headers_mut().append(REQUEST_ID, id);
        }
        let response = handle(request, Records::default(), echoes_id).await;
        assert_eq!(response.headers()[REQUEST_ID].len(), 32);
    }
}
