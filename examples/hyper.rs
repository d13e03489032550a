//! The layer around a plain hyper service.
//!
//! ```sh
//! cargo run --example hyper
//! curl http://127.0.0.1:3000/v1/chat/completions \
//!   -H 'Content-Type: application/json' -d '{"model": "venice-uncensored"}'
//! ```

use std::env;

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_model_routing::{
    BoxError, ModelRoutingLayer, RoutedBody, RoutingConfigBuilder, registry::Catalog,
};

/// The catalog until the published one has been fetched.
const CATALOG: &[u8] = br#"{"models": [{
    "Name": "venice-uncensored",
    "Id": "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d",
    "ModelType": "LLM"
}]}"#;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let config = RoutingConfigBuilder::from_env()?
        .initial_catalog(Catalog::parse(CATALOG)?)
        .build()?;
    let service = ServiceBuilder::new()
        .layer(ModelRoutingLayer::new(config))
        .service_fn(echo);

    let address = env::var("LISTEN_ADDR").unwrap_or("127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Echoes the body while it streams in.
async fn echo(
    request: Request<RoutedBody<Incoming>>,
) -> Result<Response<RoutedBody<Incoming>>, BoxError> {
    Ok(Response::new(request.into_body()))
}
