//! An LLM gateway in AWS Lambda, behind API Gateway, a load balancer or a function URL.

use std::{env, time::Duration};

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lambda_http::{Body, Error, RequestExt, request::RequestContext, tracing};
use rustls::crypto::ring;
use tokio::time::timeout;
use tower::ServiceBuilder;
use tower_model_routing::{
    ModelRoutingLayer, ResponseModel, RoutedBody, RoutingConfigBuilder, error_response,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    // For TLS to the upstream and to the registry. It fails only if there is one already.
    let _ = ring::default_provider().install_default();
    let config = RoutingConfigBuilder::from_env()?
        .response_headers(true)
        .response_model(ResponseModel::Served)
        .build()?;
    // One layer per process, so that invocations share its catalog. Lambda freezes the process
    // between invocations; a refresh that this interrupts fails and is retried.
    let layer = ModelRoutingLayer::new(config);
    let upstream = Upstream::from_env()?;

    // Lambda allows 10 s for the start. If this fetch fails, the first request fetches again.
    let _ = timeout(Duration::from_secs(5), layer.registry().refresh()).await;

    let service = ServiceBuilder::new()
        .layer(layer)
        .service_fn(move |request| upstream.clone().forward(request));
    match env::var("INVOKE_MODE").as_deref() {
        Err(_) | Ok("BUFFERED") => lambda_http::run(service).await,
        Ok("RESPONSE_STREAM") => lambda_http::run_with_streaming_response(service).await,
        Ok(_) => Err("INVOKE_MODE must be BUFFERED or RESPONSE_STREAM".into()),
    }
}

/// The server that requests are forwarded to.
#[derive(Clone)]
struct Upstream {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, RoutedBody<Body>>,
}

impl Upstream {
    fn from_env() -> Result<Self, Error> {
        let url = env::var("UPSTREAM_URL").map_err(|error| format!("UPSTREAM_URL: {error}"))?;
        let url: Uri = url.parse().map_err(|e| format!("UPSTREAM_URL: {e}"))?;
        if url.host().is_none() || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err("UPSTREAM_URL must be a URL such as https://api.example.com".into());
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            // NAT gateways drop connections that are idle for 350 s.
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        Ok(Self { url, client })
    }

    async fn forward(
        self,
        request: Request<RoutedBody<Body>>,
    ) -> Result<Response<Either<Incoming, Full<Bytes>>>, Error> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        head.uri = self.target(&head)?;
        // The client sets the upstream's own host.
        head.headers.remove(header::HOST);
        remove_hop_by_hop(&mut head.headers);
        match self.client.request(Request::from_parts(head, body)).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                Ok(response.map(Either::Left))
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "no response from the upstream");
                Ok(unavailable(&path))
            }
        }
    }

    /// Returns the URI of the request at the upstream.
    fn target(&self, head: &Parts) -> Result<Uri, http::Error> {
        let prefix = self.url.path().trim_end_matches('/');
        let path = path_without_stage(head);
        let query = head.uri.query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(format!("{prefix}{path}{query}").parse()?);
        Ok(Uri::from_parts(parts)?)
    }
}

/// Returns the path without API Gateway's stage. The path of an HTTP API begins with it, and
/// `lambda_http` puts it before the path of a REST API.
fn path_without_stage(head: &Parts) -> &str {
    let path = head.uri.path();
    let stage = match head.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context
            .stage
            .as_deref()
            // `lambda_http` does not repeat a path segment that equals the stage.
            .filter(|stage| !head.raw_http_path().starts_with(&format!("/{stage}/"))),
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        _ => None,
    };
    stage
        .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path)
}

/// Removes the headers that belong to one connection (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    static HOP_BY_HOP: [HeaderName; 8] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];

    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn unavailable(path: &str) -> Response<Either<Incoming, Full<Bytes>>> {
    let response = error_response(
        path,
        StatusCode::BAD_GATEWAY,
        "upstream_unavailable",
        "The upstream cannot be reached. Try again shortly.",
    );
    response.map(|body| Either::Right(Full::from(body)))
}
