//! A proxy as anyone would write it first: hyper's server, hyper-util's client,
//! and nothing between them.

use std::net::SocketAddr;

use http::Request;
use hyper::body::Incoming;
use tower_model_routing::BoxError;

use super::hyper_proxy::{client, serve, target};

/// The argument that makes a process this proxy; the upstream comes after it.
pub(crate) const ROLE: &str = "plain-proxy";

#[tokio::main]
pub(crate) async fn run(upstream: SocketAddr) -> Result<(), BoxError> {
    let client = client::<Incoming>();
    serve(move |mut request: Request<Incoming>| {
        let uri = target(upstream, &request);
        let client = client.clone();
        async move {
            *request.uri_mut() = uri?;
            Ok(client.request(request).await?)
        }
    })
    .await
}
