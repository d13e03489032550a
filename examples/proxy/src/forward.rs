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
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{AUTHORIZATION, HOST},
    uri::PathAndQuery,
};
use http_body::Body as HttpBody;
use hyper_util::client::legacy;
use tokio::time::error::Elapsed;
use tower::Service;
use tower_model_routing::{BoxError, RoutedModel};

use crate::{
    body::{self, Body},
    error::{self, ErrorChain},
    headers,
    hop_by_hop::remove_hop_by_hop,
    response,
    upload::{Failure, TrackedBody},
    upstream::{self, Connector, UpstreamClient},
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
    authorization: Option<HeaderValue>,
    timeouts: Timeouts,
}

impl Forward {
    /// # Errors
    ///
    /// Returns an error if the upstream's URL has no host.
    pub(crate) fn new(
        connector: Connector,
        upstream: Uri,
        authorization: Option<HeaderValue>,
        timeouts: Timeouts,
    ) -> Result<Self, BoxError> {
        let host = upstream.authority().ok_or("the upstream has no host")?;
        let host = HeaderValue::from_str(host.as_str())?;
        Ok(Self(Arc::new(Inner {
            client: upstream::client(connector),
            upstream,
            host,
            authorization,
            timeouts,
        })))
    }
}

impl Inner {
    async fn forward<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        match self.upstream_uri(head.uri.path_and_query().cloned()) {
            Some(uri) if head.method != Method::CONNECT => head.uri = uri,
            _ => {
                return response::error(
                    StatusCode::BAD_REQUEST,
                    "invalid_request_target",
                    "This request target cannot be forwarded. Request a path.",
                );
            }
        }
        head.headers.insert(HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            head.headers.insert(AUTHORIZATION, authorization.clone());
        }
        head.version = Version::HTTP_11;
        let routed = head.extensions.get::<RoutedModel>().cloned();
        let (body, progress) = TrackedBody::new(body);
        let exchange = self.client.request(Request::from_parts(head, body));
        let result = tokio::select! {
            biased;
            result = exchange => result,
            () = progress.upstream_idle(self.timeouts.first_byte) => {
                let model = routed.as_ref().map(RoutedModel::name);
                tracing::warn!(upstream = %self.upstream, model, "upstream response timeout");
                return gateway_timeout();
            }
        };
        match result {
            Ok(response) if response.status().is_informational() => {
                tracing::warn!(status = %response.status(), "unexpected upgrade by the upstream");
                bad_gateway("The upstream sent a response that does not match the request.")
            }
            Ok(response) => self.response(response, routed),
            Err(error) => match progress.failure() {
                Some(failure) => invalid_body(&failure),
                None => self.upstream_error(&error, routed.as_ref()),
            },
        }
    }

    /// Prepares the upstream's response for the client.
    fn response(
        &self,
        response: Response<hyper::body::Incoming>,
        routed: Option<RoutedModel>,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        headers::remove_overridden_length(&mut head.headers);
        remove_hop_by_hop(&mut head.headers, None);
        head.version = Version::HTTP_11;
        Response::from_parts(head, body::from_upstream(body, self.timeouts.idle, routed))
    }

    /// Appends the request's target to the upstream's URL.
    fn upstream_uri(&self, target: Option<PathAndQuery>) -> Option<Uri> {
        let target = target.unwrap_or(PathAndQuery::from_static("/"));
        let prefix = self.upstream.path().trim_end_matches('/');
        let path = match target.as_str().as_bytes().first() {
            Some(b'/') if prefix.is_empty() => target,
            Some(b'/') => format!("{prefix}{target}").parse().ok()?,
            Some(b'?') => format!("{prefix}/{target}").parse().ok()?,
            // `OPTIONS *` is about this server, not about the upstream.
            _ => return None,
        };
        let mut parts = self.upstream.clone().into_parts();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).ok()
    }

    fn upstream_error(
        &self,
        error: &legacy::Error,
        routed: Option<&RoutedModel>,
    ) -> Response<Body> {
        let model = routed.map(RoutedModel::name);
        let chain = ErrorChain(error);
        tracing::warn!(upstream = %self.upstream, model, error = %chain, "upstream request failed");
        if error::chain(error).any(is_timeout) {
            gateway_timeout()
        } else if error::chain(error).any(is_untrusted) {
            bad_gateway(
                "The upstream's certificate is not trusted. The gateway's log has the reason.",
            )
        } else if error.is_connect() || error::chain(error).any(is_unsent) {
            bad_gateway("The upstream cannot be reached. Try again shortly.")
        } else {
            bad_gateway(
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

fn invalid_body(failure: &Failure) -> Response<Body> {
    match failure {
        Failure::IdleTimeout => response::error(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request body did not arrive in time. Send it without long pauses.",
        ),
        Failure::Invalid(cause) => response::error(
            StatusCode::BAD_REQUEST,
            "invalid_request_body",
            &format!("The request body cannot be read: {cause}."),
        ),
    }
}

fn bad_gateway(message: &str) -> Response<Body> {
    response::error(StatusCode::BAD_GATEWAY, "upstream_unavailable", message)
}

fn gateway_timeout() -> Response<Body> {
    response::error(
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

/// Returns whether the upstream's certificate was rejected.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        // It is not the source of the I/O error, but its source is.
        Some(inner) => is_untrusted(inner),
        None => matches!(
            error.downcast_ref(),
            Some(rustls::Error::InvalidCertificate(_))
        ),
    }
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.is::<Elapsed>()
        || error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
