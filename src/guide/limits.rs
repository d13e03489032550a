//! Limits, timeouts and the order of layers.
//!
//! The layer is always ready. It takes the inner service's readiness once the model is known, so a
//! client that sends its body slowly reserves nothing behind the layer.
//!
//! | layer | outside of this layer | inside |
//! |---|---|---|
//! | concurrency limit | counts requests from their heads on, slow bodies included | counts calls of the upstream only |
//! | `Buffer`, rate limit | as above | as above |
//! | `LoadShed` around a limit | sheds before the body is read | sheds once the model is known |
//! | timeout | includes the time until the model is known | starts when the model is known |
//! | request body limit | limits what the layer reads | limits what the upstream reads; the layer holds up to [`max_held_bytes`](crate::RoutingConfigBuilder::max_held_bytes) before |
//! | decompression of requests | the layer reads decoded bodies; the feature [`decompression`](crate#compression) does the same | without that feature, an encoded body that must be valid is a 415 |
//! | compression of responses | compresses what the layer rewrote | has no effect where the model is rewritten: the request goes on with `Accept-Encoding: identity` |
//! | authentication, CORS | rejects before the layer reads; CORS headers are on rejections too | does not see rejected requests |
//!
//! Eight calls of the upstream at a time, with four more in a queue, however many clients are slow:
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
//! use tower_model_routing::{ModelRoutingLayer, RoutedBody, RoutingConfig, registry::Catalog};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
//! let config = RoutingConfig::builder().fixed_catalog(catalog).build()?;
//! let mut service = ServiceBuilder::new()
//!     .layer(ModelRoutingLayer::new(config))
//!     .buffer(4)
//!     .concurrency_limit(8)
//!     .timeout(Duration::from_secs(600))
//!     .service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
//!         Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("served")))
//!     });
//!
//! let request = Request::post("/v1/chat/completions")
//!     .body(Full::from(r#"{"model":"venice-uncensored"}"#))?;
//! let response = service.ready().await?.call(request).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! A request that waits for the inner service holds the part of its body that was read, which
//! counts towards [`max_total_held_bytes`](crate::RoutingConfigBuilder::max_total_held_bytes). The
//! time of that wait is the inner service's: put a timeout or a `LoadShed` inside if it may be
//! long.
