//! Choosing an upstream by the model.
//!
//! The layer puts the [`RoutedModel`](crate::RoutedModel) into the request's extensions before it
//! calls the inner service. A `tower::steer::Steer` behind the layer picks the upstream by it:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt, service_fn, steer::Steer, util::BoxCloneService};
//! use tower_model_routing::{
//!     BoxError, ModelRoutingLayer, RoutedBody, RoutedModel, RoutingConfig,
//!     registry::{Catalog, ModelType},
//! };
//!
//! type Upstream = BoxCloneService<Request<RoutedBody<Full<Bytes>>>, Response<String>, BoxError>;
//!
//! fn upstream(name: &'static str) -> Upstream {
//!     BoxCloneService::new(service_fn(async move |_| Ok(Response::new(name.to_owned()))))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let upstreams = [upstream("chat nodes"), upstream("embedding nodes")];
//! let by_model = |request: &Request<RoutedBody<Full<Bytes>>>, _: &[Upstream]| {
//!     match request.extensions().get::<RoutedModel>().map(RoutedModel::model_type) {
//!         Some(ModelType::Embedding) => 1,
//!         // Other models, and requests that pass through.
//!         _ => 0,
//!     }
//! };
//! let catalog = Catalog::parse(
//!     br#"{"models":[{"Name":"bge-m3","Id":"0xe1","ModelType":"EMBEDDING"}]}"#,
//! )?;
//! let config = RoutingConfig::builder().fixed_catalog(catalog).build()?;
//! let service = ModelRoutingLayer::new(config).layer(Steer::new(upstreams, by_model));
//!
//! let request = Request::post("/v1/embeddings").body(Full::from(r#"{"model":"bge-m3"}"#))?;
//! let response = service.oneshot(request).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert_eq!(body, "embedding nodes");
//! # Ok(())
//! # }
//! ```
//!
//! `Steer` is ready when all of its services are. If one upstream's readiness must not delay the
//! requests to another, wrap each in a `Buffer` or a `LoadShed`.
//!
//! Envoy and Gateway API route by headers: set
//! [`id_header`](crate::RoutingConfigBuilder::id_header).
