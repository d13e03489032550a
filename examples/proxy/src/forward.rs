//! The reverse proxy service: forwards requests to the upstream, and its responses.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{HOST, TRANSFER_ENCODING, UPGRADE},
};
use http_body::Body as HttpBody;
use http_body_util::Empty;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy;
use tokio::time::error::Elapsed;
use tower::Service;
use tower_model_routing::{BoxError, RoutedModel};
use tracing::Span;

use crate::{
    body::{self, Body},
    error::{self, ErrorChain},
    headers,
    hop_by_hop::remove_hop_by_hop,
    request_context::RequestSpan,
    response,
    upload::{Failure, TrackedBody},
    upstream::{self, Connector, UpstreamClient},
    websocket::{self, Tunnel},
};

/// Timeouts of the upstream's responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
}

/// Forwards requests to one upstream. Failures become error responses.
#[derive(Clone, Debug)]
pub(crate) struct Forward(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: UpstreamClient,
    upstream: Uri,
    /// The upstream's `Host`.
    host: HeaderValue,
    /// Replace the client's headers of the same names.
    headers: HeaderMap,
    timeouts: Timeouts,
}

impl Forward {
    /// # Errors
    ///
    /// Returns an error if the upstream's URL has no host.
    pub(crate) fn new(
        connector: Connector,
        upstream: Uri,
        headers: HeaderMap,
        timeouts: Timeouts,
    ) -> Result<Self, BoxError> {
        let host = upstream.authority().ok_or("the upstream has no host")?;
        let host = HeaderValue::from_str(host.as_str())?;
        Ok(Self(Arc::new(Inner {
            client: upstream::client(connector),
            upstream,
            host,
            headers,
            timeouts,
        })))
    }
}

impl Inner {
    async fn forward<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let client = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        // The client's path, which says what its errors look like.
        let target = head.uri.clone();
        let path = target.path();
        let Some(uri) = self.upstream_uri(&head.uri) else {
            return response::error(
                path,
                StatusCode::BAD_REQUEST,
                "invalid_request_target",
                "This request target cannot be forwarded: it is too long.",
            );
        };
        head.uri = uri;
        head.headers.insert(HOST, self.host.clone());
        // No other upgrade is forwarded.
        let opens_websocket = head.headers.contains_key(UPGRADE);
        // Replaces those of the client; a name that has several values is there several times.
        head.headers.extend(self.headers.clone());
        head.version = Version::HTTP_11;
        let routed = head.extensions.get::<RoutedModel>().cloned();
        let span = head.extensions.get::<RequestSpan>();
        let span = span.map_or_else(Span::none, |span| span.0.clone());
        let (body, progress) = TrackedBody::new(body);
        // Without this, hyper omits a body of unknown length.
        if matches!(head.method, Method::GET | Method::HEAD)
            && !body.is_end_stream()
            && body.size_hint().exact().is_none()
        {
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
        }
        let exchange = self.client.request(Request::from_parts(head, body));
        let result = tokio::select! {
            biased;
            result = exchange => result,
            () = progress.upstream_idle(self.timeouts.first_byte) => {
                let model = routed.as_ref().map(RoutedModel::name);
                tracing::warn!(upstream = %self.upstream, model, "upstream response timeout");
                return gateway_timeout(path);
            }
        };
        match result {
            Ok(response) if opens_websocket && accepts_websocket(&response) => {
                self.websocket(client, response, span)
            }
            Ok(response) if response.status().is_informational() => {
                tracing::warn!(status = %response.status(), "unexpected upgrade by the upstream");
                bad_gateway(
                    path,
                    "The upstream sent a response that does not match the request.",
                )
            }
            Ok(response) => self.response(response, routed, span),
            Err(error) => match progress.failure() {
                Some(failure) => invalid_body(path, &failure),
                None => self.upstream_error(path, &error, routed.as_ref()),
            },
        }
    }

    /// Prepares the upstream's response for the client.
    fn response(
        &self,
        response: Response<hyper::body::Incoming>,
        routed: Option<RoutedModel>,
        span: Span,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        headers::remove_overridden_length(&mut head.headers);
        remove_hop_by_hop(&mut head.headers, None);
        head.version = Version::HTTP_11;
        let body = body::from_upstream(body, self.timeouts.idle, routed, span);
        Response::from_parts(head, body)
    }

    /// Prepares the response that accepts a WebSocket.
    fn websocket(
        &self,
        client: OnUpgrade,
        mut response: Response<hyper::body::Incoming>,
        span: Span,
    ) -> Response<Body> {
        let upstream = hyper::upgrade::on(&mut response);
        let headers = response.headers_mut();
        remove_hop_by_hop(headers, None);
        websocket::set_upgrade(headers);
        let tunnel = Tunnel::new(client, upstream, self.timeouts.idle, span);
        response.extensions_mut().insert(tunnel);
        response.map(|_| response::boxed(Empty::new()))
    }

    /// Appends the request's target to the upstream's URL. Returns `None` if that is too long.
    fn upstream_uri(&self, target: &Uri) -> Option<Uri> {
        let target = target.path_and_query()?;
        let prefix = self.upstream.path().trim_end_matches('/');
        let path = match prefix {
            "" => target.clone(),
            _ => format!("{prefix}{target}").parse().ok()?,
        };
        let mut parts = self.upstream.clone().into_parts();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).ok()
    }

    fn upstream_error(
        &self,
        path: &str,
        error: &legacy::Error,
        routed: Option<&RoutedModel>,
    ) -> Response<Body> {
        let model = routed.map(RoutedModel::name);
        let chain = ErrorChain(error);
        tracing::warn!(upstream = %self.upstream, model, error = %chain, "upstream request failed");
        if error::chain(error).any(is_timeout) {
            gateway_timeout(path)
        } else if let Some(rustls::Error::InvalidCertificate(_)) = error::find(error) {
            bad_gateway(
                path,
                "The upstream's certificate is not trusted. The gateway's log has the reason.",
            )
        } else if error.is_connect() || error::chain(error).any(is_unsent) {
            bad_gateway(path, "The upstream cannot be reached. Try again shortly.")
        } else {
            bad_gateway(
                path,
                "The upstream closed the connection before it responded. It may have processed \
                 the request or not.",
            )
        }
    }
}

impl<B> Service<Request<B>> for Forward
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = Arc::clone(&self.0);
        Box::pin(async move { Ok(this.forward(request).await) })
    }
}

fn invalid_body(path: &str, failure: &Failure) -> Response<Body> {
    match failure {
        Failure::IdleTimeout => response::error(
            path,
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request body did not arrive in time. Send it without long pauses.",
        ),
        Failure::Invalid(cause) => response::error(
            path,
            StatusCode::BAD_REQUEST,
            "invalid_request_body",
            &format!("The request body cannot be read: {cause}."),
        ),
    }
}

fn accepts_websocket<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && websocket::is_upgrade(response.headers())
}

fn bad_gateway(path: &str, message: &str) -> Response<Body> {
    let status = StatusCode::BAD_GATEWAY;
    response::error(path, status, "upstream_unavailable", message)
}

fn gateway_timeout(path: &str) -> Response<Body> {
    response::error(
        path,
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_timeout",
        "The upstream did not respond in time.",
    )
}

/// Returns whether the connection ended before any of the request was sent.
fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<hyper::Error>()
        .is_some_and(|error| error.is_canceled() || error.is_closed())
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.is::<Elapsed>()
        || error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
