//! The layer under `nest`.
//!
//! axum's `nest` strips its prefix before inner layers see the path, and `Router::layer` on the
//! outer router sees the whole path. Most rows of the table of endpoints are endings, such as
//! `/chat/completions`, which fit both. The rows with a version, such as `/v1/messages`, also fit
//! if the prefix takes the version: `/messages` and `/responses` are rows as whole paths. For any
//! other path that a prefix cuts in two, [`add_endpoint`](crate::RoutingConfigBuilder::add_endpoint)
//! takes a whole path after `=`:
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::post};
//! use http_body_util::BodyExt;
//! use tower::ServiceExt;
//! use tower_model_routing::{
//!     BoxError, Endpoint, ModelRoutingLayer, RoutingConfig, registry::Catalog,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"command-r","Id":"0xc0"}]}"#)?;
//! let config = RoutingConfig::builder()
//!     .fixed_catalog(catalog)
//!     // Cohere's /v1/chat without the prefix. "/chat" as an ending would fit too much.
//!     .add_endpoint("=/chat", Endpoint::Llm)
//!     .build()?;
//! let v1 = Router::new()
//!     .route("/messages", post(async |body: String| body))
//!     .route("/chat", post(async |body: String| body))
//!     .layer(ModelRoutingLayer::new(config));
//! let app: Router = Router::new().nest("/v1", v1);
//!
//! for path in ["/v1/messages", "/v1/chat"] {
//!     let request = Request::post(path)
//!         .header("content-type", "application/json")
//!         .body(Body::from(r#"{"model":"command-r"}"#))?;
//!     let response = app.clone().oneshot(request).await?;
//!     let body = response.into_body().collect().await?.to_bytes();
//!     assert_eq!(body, r#"{"model":"0xc0"}"#, "{path}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The URI that a [`rejection_response`](crate::RoutingConfigBuilder::rejection_response) hook gets
//! is the one that the layer sees, without the prefix.
