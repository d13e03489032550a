//! The layer in AWS Lambda: a gateway behind API Gateway, a load balancer or a
//! function URL.
//!
//! ```sh
//! cargo build --release --example lambda --target x86_64-unknown-linux-musl
//! cp target/x86_64-unknown-linux-musl/release/examples/lambda bootstrap
//! zip lambda.zip bootstrap
//! ```
//!
//! That is a function for the runtime `provided.al2023`. Its environment:
//! `UPSTREAM_URL`, where requests go, and what `RoutingConfig::from_env` reads.
//! `INVOKE_MODE=RESPONSE_STREAM` streams answers, server-sent events as well;
//! the function URL or the REST API in front must then be set to stream too. By
//! default answers are buffered, which everything in front can do.

#[path = "proxy/hop_by_hop.rs"]
mod hop_by_hop;

use std::{env, time::Duration};

use hop_by_hop::remove_hop_by_hop;
use http::{Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lambda_http::{Body, Error, RequestExt, request::RequestContext};
use rustls::crypto::ring;
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceBuilder;
use tower_model_routing::{ModelRoutingLayer, RoutedBody, RoutingConfigBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    let config = RoutingConfigBuilder::from_env()?
        .response_headers(true)
        .restore_model_name(true)
        .build()?;
    // Once per process, not per invocation: warm invocations share the layer, and
    // with it the list of models. Between invocations the process is frozen, so
    // a refresh may be cut off; the registry starts over.
    let layer = ModelRoutingLayer::new(config);
    let upstream = Upstream::from_env()?;

    // The start of the process, for which Lambda allows 10 s, is the time to
    // fetch the list. Should it fail, a request tries again.
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

/// The server behind this gateway.
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
            .with_provider_and_native_roots(ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            // NAT gateways forget idle connections after 350 s.
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        Ok(Self { url, client })
    }

    async fn forward(
        self,
        request: Request<RoutedBody<Body>>,
    ) -> Result<Response<Either<Incoming, Full<Bytes>>>, Error> {
        let (mut head, body) = request.into_parts();
        head.uri = self.target(&head)?;
        // The upstream's own host takes its place.
        head.headers.remove(header::HOST);
        remove_hop_by_hop(&mut head.headers, None);
        match self.client.request(Request::from_parts(head, body)).await {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                remove_hop_by_hop(&mut head.headers, None);
                Ok(Response::from_parts(head, Either::Left(body)))
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no answer");
                Ok(unavailable())
            }
        }
    }

    /// Where a request goes: the upstream's path, then the request's.
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

/// API Gateway's stage is none of the upstream's business: the path of an HTTP
/// API begins with it, and `lambda_http` puts it before that of a REST API.
fn path_without_stage(head: &Parts) -> &str {
    let path = head.uri.path();
    let stage = match head.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context
            .stage
            .as_deref()
            // A path that happens to begin in this way is left as it is.
            .filter(|stage| !head.raw_http_path().starts_with(&format!("/{stage}/"))),
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        _ => None,
    };
    stage
        .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path)
}

fn unavailable() -> Response<Either<Incoming, Full<Bytes>>> {
    let error = json!({ "error": {
        "message": "The server behind this gateway cannot be reached. Try again shortly.",
        "type": "server_error",
        "param": null,
        "code": "upstream_unavailable",
    }});
    let mut response = Response::new(Either::Right(Full::from(error.to_string())));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
