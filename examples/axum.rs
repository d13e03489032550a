//! The layer around an axum router.
//!
//! ```sh
//! cargo run --example axum
//! curl http://127.0.0.1:3000/v1/chat/completions \
//!   -H 'Content-Type: application/json' -d '{"model": "venice-uncensored"}'
//! ```

use std::env;

use axum::{Extension, Json, Router, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_model_routing::{
    BoxError, ModelRoutingLayer, RoutedModel, RoutingConfigBuilder, registry::Catalog,
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
        .response_headers(true)
        .build()?;
    let app = Router::new()
        .route("/v1/chat/completions", post(complete))
        .layer(ModelRoutingLayer::new(config));

    let address = env::var("LISTEN_ADDR").unwrap_or("127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Receives the request with the model's ID, and the model as an extension.
async fn complete(
    Extension(model): Extension<RoutedModel>,
    Json(request): Json<Value>,
) -> Json<Value> {
    Json(json!({ "served_by": model.name(), "request": request }))
}
