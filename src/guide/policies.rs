//! Policies per tenant, per route, and at run time.
//!
//! A policy belongs to a layer: fallbacks, [`UnknownModel`](crate::UnknownModel),
//! [`MissingModel`](crate::MissingModel), endpoints, limits. The catalog belongs to a
//! [`Registry`](crate::registry::Registry), which any number of layers share: one catalog, one
//! fetch in a TTL. Each layer has its own limit on held bytes.
//!
//! # Per route
//!
//! ```
//! use axum::{Router, routing::post};
//! use tower_model_routing::{ModelRoutingLayer, RoutingConfig, UnknownModel};
//!
//! # #[cfg(feature = "reqwest")]
//! # fn app() -> Result<Router, tower_model_routing::ConfigError> {
//! let lenient = ModelRoutingLayer::new(RoutingConfig::from_env()?);
//! let strict = ModelRoutingLayer::new(
//!     RoutingConfig::builder()
//!         .registry(lenient.registry().clone())
//!         .unknown_model(UnknownModel::Reject)
//!         .build()?,
//! );
//! let app: Router = Router::new()
//!     .route("/v1/chat/completions", post(async |body: String| body).layer(lenient))
//!     .route("/v1/embeddings", post(async |body: String| body).layer(strict));
//! # Ok(app)
//! # }
//! ```
//!
//! A layer on a shared registry has no default fallbacks: it names its own.
//!
//! # Per tenant
//!
//! Tenants share routes, so the request decides the layer. Apply each tenant's layer to the same
//! inner service, and choose among the services with a `tower::steer::Steer`:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use tower::{BoxError, Layer, ServiceExt, service_fn, steer::Steer};
//! use tower_model_routing::{
//!     ModelRouting, ModelRoutingLayer, RoutedBody, RoutingConfig, UnknownModel,
//!     registry::{Catalog, Registry},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"mistral-31-24b","Id":"0xaf"}]}"#)?;
//! let registry = Registry::fixed(catalog);
//! let layer = |unknown_model| -> Result<_, BoxError> {
//!     let config = RoutingConfig::builder()
//!         .registry(registry.clone())
//!         .unknown_model(unknown_model)
//!         .build()?;
//!     Ok(ModelRoutingLayer::new(config))
//! };
//! let upstream = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
//!     Ok::<_, BoxError>(http::Response::new(request.into_body()))
//! });
//! let tenants = [
//!     layer(UnknownModel::Forward)?.layer(upstream),
//!     layer(UnknownModel::Reject)?.layer(upstream),
//! ];
//! // An authentication layer outside would put the tenant into the extensions.
//! let by_tenant = |request: &Request<Full<Bytes>>, _: &[ModelRouting<_>]| {
//!     usize::from(request.headers().get("x-tenant").is_some_and(|tenant| tenant == "strict"))
//! };
//! let service = Steer::new(tenants, by_tenant);
//!
//! for (tenant, status) in [("lenient", StatusCode::OK), ("strict", StatusCode::NOT_FOUND)] {
//!     let request = Request::post("/v1/chat/completions")
//!         .header("x-tenant", tenant)
//!         .body(Full::from(r#"{"model":"gpt-4"}"#))?;
//!     assert_eq!(service.clone().oneshot(request).await?.status(), status);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # At run time
//!
//! A layer never changes. To change a policy, build a second layer on the same registry, which is
//! warm already, and swap the service that new requests are sent through. Requests in flight keep
//! the layer that they began with:
//!
//! ```
//! use std::sync::{Arc, RwLock};
//!
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//! use tower_model_routing::{
//!     ModelRoutingLayer, RoutedBody, RoutingConfig, UnknownModel,
//!     registry::{Catalog, Registry},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"mistral-31-24b","Id":"0xaf"}]}"#)?;
//! let registry = Registry::fixed(catalog);
//! let layer = |unknown_model| -> Result<_, BoxError> {
//!     let config = RoutingConfig::builder()
//!         .registry(registry.clone())
//!         .unknown_model(unknown_model)
//!         .build()?;
//!     Ok(ModelRoutingLayer::new(config))
//! };
//! let current = Arc::new(RwLock::new(layer(UnknownModel::Forward)?));
//! let shared = Arc::clone(&current);
//! let service = service_fn(move |request: Request<Full<Bytes>>| {
//!     let layer = shared.read().expect("nothing panics under this lock").clone();
//!     let upstream = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
//!         Ok::<_, BoxError>(http::Response::new(request.into_body()))
//!     });
//!     layer.layer(upstream).oneshot(request)
//! });
//!
//! let request = || {
//!     Request::post("/v1/chat/completions").body(Full::<Bytes>::from(r#"{"model":"gpt-4"}"#))
//! };
//! assert_eq!(service.clone().oneshot(request()?).await?.status(), StatusCode::OK);
//! *current.write().expect("nothing panics under this lock") = layer(UnknownModel::Reject)?;
//! assert_eq!(service.oneshot(request()?).await?.status(), StatusCode::NOT_FOUND);
//! # Ok(())
//! # }
//! ```
