//! What every request passes first: its ID, its place in the log, and a net for
//! panics.

use std::{future::Future, panic::AssertUnwindSafe, time::Instant};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::Entry};
use tracing::{Instrument, Level, Span};

use super::{body::Body, reply};

pub(crate) const ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers a request by `handler`.
///
/// Each request gets an `x-request-id`, unless it brought a sensible one. The
/// upstream sees it, the answer has it unless the upstream's has another, and so
/// has each line of the log about the request. At level `debug` every answer is
/// such a line.
pub(crate) fn answer<A, F>(
    mut request: Request<A>,
    handler: impl FnOnce(Request<A>) -> F,
) -> impl Future<Output = Response<Body>>
where
    F: Future<Output = Response<Body>>,
{
    let id = request_id(request.headers_mut());
    let span = span(&request, &id);
    let answered = async move {
        // The line below is the only one that wants it.
        let start = tracing::enabled!(Level::DEBUG).then(Instant::now);
        let answer = AssertUnwindSafe(async { handler(request).await }).catch_unwind();
        let mut response = answer.await.unwrap_or_else(|_| reply::panicked());
        response.headers_mut().entry(ID).or_insert(id);
        tracing::debug!(
            status = response.status().as_u16(),
            seconds = start.map(|start| start.elapsed().as_secs_f64()),
            "answered"
        );
        response
    };
    answered.instrument(span)
}

/// The request's ID: a new one, unless it has one that somebody could want in a
/// log.
fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    match headers.entry(ID) {
        Entry::Vacant(entry) => entry.insert(random_id()).clone(),
        Entry::Occupied(mut entry) => {
            if entry.iter().count() > 1 || !is_sensible(entry.get().as_bytes()) {
                entry.insert(random_id());
            }
            entry.get().clone()
        }
    }
}

fn is_sensible(id: &[u8]) -> bool {
    const MAX_LEN: usize = 128;

    // UUIDs, ULIDs, base64 and the trace IDs of clouds are made of these.
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=/+".contains(byte);
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(is_usual)
}

fn random_id() -> HeaderValue {
    // Digits and letters are a value.
    HeaderValue::try_from(format!("{:032x}", fastrand::u128(..)))
        .unwrap_or(HeaderValue::from_static("unknown"))
}

/// At the highest level, so that no filter parts a line from its ID. Queries may
/// contain secrets.
fn span<A>(request: &Request<A>, id: &HeaderValue) -> Span {
    tracing::error_span!(
        "request",
        request_id = %id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
    )
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
        let id = request.headers()[ID].as_bytes().to_owned();
        Response::new(reply::whole(Full::from(id)))
    }

    #[tokio::test]
    async fn a_panic_is_an_error_object_with_a_request_id() {
        let later = answer(Request::new(()), panics_later).await;
        let at_once = answer(Request::new(()), panics_at_once).await;
        for response in [later, at_once] {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.headers()[ID].len(), 32);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["code"], "internal_error");
            assert_eq!(body["error"]["type"], "server_error");
            assert!(!body.to_string().contains("for a test"));
        }
    }

    #[tokio::test]
    async fn a_sensible_id_stays_and_an_odd_one_is_replaced() {
        let long = "x".repeat(129);
        for (sent, stays) in [
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
            request.headers_mut().insert(ID, value);
            let response = answer(request, echoes_id).await;
            let id = response.headers()[ID].clone();
            assert_eq!(id == sent, stays, "{sent:?} became {id:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, id.as_bytes());
        }
    }

    #[tokio::test]
    async fn of_two_ids_none_stays() {
        let mut request = Request::new(());
        for id in ["1", "2"] {
            let id = HeaderValue::from_static(id);
            request.headers_mut().append(ID, id);
        }
        let response = answer(request, echoes_id).await;
        assert_eq!(response.headers()[ID].len(), 32);
    }
}
