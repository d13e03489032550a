//! Testing code around the layer.
//!
//! # The layer with a fixed catalog
//!
//! [`fixed_catalog`](crate::RoutingConfigBuilder::fixed_catalog) takes the place of the registry: no
//! source, no fetch, no Tokio runtime, and never stale.
//!
//! ```
//! use bytes::Bytes;
//! use futures_util::FutureExt;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_model_routing::{
//!     BoxError, ModelRoutingLayer, RoutedBody, RoutingConfig,
//!     registry::{Catalog, ModelEntry},
//! };
//!
//! # fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::from_entries([ModelEntry::new("venice-uncensored", "0xb603")])?;
//! let config = RoutingConfig::builder().fixed_catalog(catalog).build()?;
//! let echo = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
//!     Ok::<_, BoxError>(Response::new(request.into_body()))
//! });
//! let service = ModelRoutingLayer::new(config).layer(echo);
//!
//! let request = Request::post("/v1/chat/completions")
//!     .body(Full::from(r#"{"model":"venice-uncensored"}"#))?;
//! // Nothing waits here, so the test needs no runtime.
//! let response = service.oneshot(request).now_or_never().expect("it is ready")?;
//! let body = response.into_body().collect().now_or_never().expect("it is ready")?;
//! assert_eq!(body.to_bytes(), r#"{"model":"0xb603"}"#);
//! # Ok(())
//! # }
//! ```
//!
//! # A handler without the layer
//!
//! A handler that takes `Extension<RoutedModel>` gets one made by
//! [`RoutedModel::new`](crate::RoutedModel::new):
//!
//! ```
//! use axum::{Extension, Router, body::Body, http::Request, routing::post};
//! use http_body_util::BodyExt;
//! use tower::ServiceExt;
//! use tower_model_routing::{BoxError, RoutedModel, registry::ModelEntry};
//!
//! async fn complete(Extension(model): Extension<RoutedModel>) -> String {
//!     format!("{} is {}", model.requested().unwrap_or("nothing"), model.id())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let entry = ModelEntry::new("venice-uncensored", "0xb603");
//! let routed = RoutedModel::new(entry, Some("Venice Uncensored"));
//! let app: Router = Router::new().route("/", post(complete)).layer(Extension(routed));
//!
//! let response = app.oneshot(Request::post("/").body(Body::empty())?).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert_eq!(body, "Venice Uncensored is 0xb603");
//! # Ok(())
//! # }
//! ```
