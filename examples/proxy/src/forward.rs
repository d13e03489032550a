//! The reverse proxy proper: a request to the upstream, its answer to the
//! client, both streaming. Upgraded connections such as WebSockets are none of
//! it: the request to upgrade stops here.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io, iter,
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
use tower::Service;
use tower_model_routing::{BoxError, RoutedModel};

use crate::{
    body::{self, Body},
    headers,
    hop_by_hop::remove_hop_by_hop,
    reply,
    upload::{Failure, Upload},
    upstream::{self, Connector, UpstreamClient},
};

/// How long each step of the upstream may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
}

/// Forwards requests to one upstream. What goes wrong becomes an answer.
#[derive(Clone, Debug)]
pub(crate) struct Forward(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: UpstreamClient,
    upstream: Uri,
    /// The upstream's, for each request.
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
        // A tunnel is none of a reverse proxy's business.
        let is_tunnel = head.method == Method::CONNECT;
        match self.uri(head.uri.path_and_query().cloned()) {
            Some(uri) if !is_tunnel => head.uri = uri,
            _ => {
                return reply::error(
                    StatusCode::BAD_REQUEST,
                    "invalid_request_target",
                    "This request target cannot be forwarded. Ask for a path.",
                );
            }
        }
        head.headers.insert(HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            head.headers.insert(AUTHORIZATION, authorization.clone());
        }
        head.version = Version::HTTP_11;
        let routed = head.extensions.get::<RoutedModel>().cloned();
        let (body, progress) = Upload::new(body);
        let exchange = self.client.request(Request::from_parts(head, body));
        let result = tokio::select! {
            biased;
            result = exchange => result,
            () = progress.upstream_silent(self.timeouts.first_byte) => {
                let model = routed.as_ref().map(RoutedModel::name);
                tracing::warn!(upstream = %self.upstream, model, "the upstream has not answered in time");
                return timed_out();
            }
        };
        match result {
            Ok(response) if response.status().is_informational() => {
                tracing::warn!(status = %response.status(), "the upstream upgraded unasked");
                unavailable("The server behind this gateway gave an answer to another question.")
            }
            Ok(response) => self.answer(response, routed),
            Err(error) => match progress.failure() {
                Some(failure) => refuse(&failure),
                None => self.explain(&error, routed.as_ref()),
            },
        }
    }

    /// The upstream's answer on its way to the client.
    fn answer(
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

    /// Where the request goes: the upstream's path, then the request's.
    fn uri(&self, target: Option<PathAndQuery>) -> Option<Uri> {
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

    /// The answer when the upstream did not give one.
    fn explain(&self, error: &legacy::Error, routed: Option<&RoutedModel>) -> Response<Body> {
        let model = routed.map(RoutedModel::name);
        tracing::warn!(upstream = %self.upstream, model, error = %Chain(error), "the upstream failed");
        if sources(error).any(is_timeout) {
            return timed_out();
        }
        let message = if error.is_connect() {
            "The server behind this gateway cannot be reached. Try again shortly."
        } else {
            "The server behind this gateway broke off before it answered. The request may have \
             been carried out or not."
        };
        unavailable(message)
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

/// The answer to a request whose body could not be read.
fn refuse(failure: &Failure) -> Response<Body> {
    match failure {
        Failure::Idle => reply::error(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request's body stopped coming. Send it without long pauses.",
        ),
        Failure::Broken(problem) => reply::error(
            StatusCode::BAD_REQUEST,
            "invalid_request_body",
            &format!("The request's body could not be read: {problem}."),
        ),
    }
}

fn unavailable(message: &str) -> Response<Body> {
    reply::error(StatusCode::BAD_GATEWAY, "upstream_unavailable", message)
}

fn timed_out() -> Response<Body> {
    reply::error(
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_timeout",
        "The server behind this gateway did not answer in time.",
    )
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.is::<tower::timeout::error::Elapsed>()
        || error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The error and all its causes.
fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// Shows an error and all its causes in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (depth, error) in sources(self.0).enumerate() {
            let separator = if depth == 0 { "" } else { ": " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}
