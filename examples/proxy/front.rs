//! What every request passes first: its ID, its place in the log, and a net for
//! panics.

use std::{array, convert::Infallible, time::Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use tower::{Service, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
};
use tower_model_routing::BoxError;
use tracing::{Instrument, Span};

use super::{body::Body, reply};

pub(crate) const ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts the service behind them.
///
/// Each request gets an `x-request-id`, unless it brought a sensible one. The
/// upstream sees it, the answer has it unless the upstream's has another, and so
/// has each line of the log about the request. At level `debug` every answer is
/// such a line.
pub(crate) fn front<S, A>(
    service: S,
) -> impl Service<
    Request<A>,
    Response = Response<impl HttpBody<Data = Bytes, Error = BoxError> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static
where
    S: Service<Request<A>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    A: Send + 'static,
{
    ServiceBuilder::new()
        .map_request(without_odd_id)
        .layer(SetRequestIdLayer::new(ID, RandomId))
        .layer(PropagateRequestIdLayer::new(ID))
        .layer(layer_fn(traced))
        .layer(CatchPanicLayer::custom(reply::panicked))
        .service(service)
}

/// Gives what is logged until the answer begins a span. `tower_http`'s
/// `TraceLayer` would enter it for each frame of the body again, which costs
/// as much as all else that is done with an event.
fn traced<S, A, B>(
    service: S,
) -> impl Service<Request<A>, Response = Response<B>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    A: Send + 'static,
{
    service_fn(move |request: Request<A>| {
        let start = Instant::now();
        let span = span(&request);
        let answer = service.clone().oneshot(request);
        let logged = async move {
            let Ok(response) = answer.await;
            tracing::debug!(
                status = response.status().as_u16(),
                seconds = start.elapsed().as_secs_f64(),
                "answered"
            );
            Ok(response)
        };
        logged.instrument(span)
    })
}

#[derive(Clone, Copy, Debug)]
struct RandomId;

impl MakeRequestId for RandomId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";

        let random = fastrand::u128(..);
        let id: [u8; 32] = array::from_fn(|place| DIGITS[(random >> (4 * place)) as usize % 16]);
        HeaderValue::from_bytes(&id).ok().map(RequestId::new)
    }
}

/// Removes an ID that nobody could want in a log.
fn without_odd_id<B>(mut request: Request<B>) -> Request<B> {
    let mut ids = request.headers().get_all(ID).iter();
    if let Some(first) = ids.next()
        && (ids.next().is_some() || !is_sensible(first.as_bytes()))
    {
        request.headers_mut().remove(ID);
    }
    request
}

fn is_sensible(id: &[u8]) -> bool {
    const MAX_LEN: usize = 128;

    // UUIDs, ULIDs, base64 and the trace IDs of clouds are made of these.
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=/+".contains(byte);
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(is_usual)
}

/// At the highest level, so that no filter parts a line from its ID. Queries may
/// contain secrets.
fn span<B>(request: &Request<B>) -> Span {
    let id = request.headers().get(ID);
    tracing::error_span!(
        "request",
        request_id = id.and_then(|id| id.to_str().ok()),
        method = %request.method(),
        path = request.uri().path(),
    )
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::{BodyExt, Empty, Full};

    use super::*;

    type Answer = Result<Response<Body>, Infallible>;

    async fn panics(_: Request<Empty<Bytes>>) -> Answer {
        panic!("for a test")
    }

    async fn echoes_id(request: Request<Empty<Bytes>>) -> Answer {
        let id = request.headers()[ID].as_bytes().to_owned();
        Ok(Response::new(reply::whole(Full::from(id))))
    }

    #[tokio::test]
    async fn a_panic_is_an_error_object_with_a_request_id() {
        let request = Request::new(Empty::new());
        let Ok(response) = front(service_fn(panics)).oneshot(request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()[ID].len(), 32);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "internal_error");
        assert_eq!(body["error"]["type"], "server_error");
        assert!(!body.to_string().contains("for a test"));
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
            let mut request = Request::new(Empty::new());
            let value = HeaderValue::from_bytes(sent.as_bytes()).unwrap();
            request.headers_mut().insert(ID, value);
            let Ok(response) = front(service_fn(echoes_id)).oneshot(request).await;
            let id = response.headers()[ID].clone();
            assert_eq!(id == sent, stays, "{sent:?} became {id:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, id.as_bytes());
        }
    }

    #[tokio::test]
    async fn of_two_ids_none_stays() {
        let mut request = Request::new(Empty::new());
        for id in ["1", "2"] {
            let id = HeaderValue::from_static(id);
            request.headers_mut().append(ID, id);
        }
        let Ok(response) = front(service_fn(echoes_id)).oneshot(request).await;
        assert_eq!(response.headers()[ID].len(), 32);
    }
}
