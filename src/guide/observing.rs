//! Observing every resolution.
//!
//! Each response that passes the layer has one of these in its extensions:
//!
//! | extension | the request |
//! |---|---|
//! | [`RoutedModel`](crate::RoutedModel) | was routed: the requested name, the model that served, and why |
//! | [`Rejection`](crate::Rejection) | was rejected by the layer: the code and the message |
//! | neither | passed through unchanged |
//!
//! A layer outside sees all of them, for billing or an access log:
//!
//! ```
//! use axum::{Router, body::Body, http::Request, middleware::map_response, response::Response,
//!     routing::post};
//! use tower::ServiceExt;
//! use tower_model_routing::{
//!     BoxError, ModelRoutingLayer, Rejection, RoutedModel, RoutingConfig, registry::Catalog,
//! };
//!
//! /// Stands for a line in the access log.
//! async fn observe(mut response: Response) -> Response {
//!     let extensions = response.extensions();
//!     let line = if let Some(routed) = extensions.get::<RoutedModel>() {
//!         format!("{} by {}", routed.name(), routed.resolved_by())
//!     } else if let Some(rejection) = extensions.get::<Rejection>() {
//!         format!("rejected: {}", rejection.code())
//!     } else {
//!         "passed through".to_owned()
//!     };
//!     response.headers_mut().insert("x-line", line.parse().expect("it is ASCII"));
//!     response
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
//! let config = RoutingConfig::builder().fixed_catalog(catalog).build()?;
//! let app: Router = Router::new()
//!     .route("/v1/chat/completions", post(async |body: String| body))
//!     .layer(ModelRoutingLayer::new(config))
//!     .layer(map_response(observe));
//!
//! for (body, line) in [
//!     (r#"{"model":"Venice-Uncensored"}"#, "venice-uncensored by name"),
//!     (r#"{"model":"a","model":"b"}"#, "rejected: duplicate_model"),
//! ] {
//!     let request = Request::post("/v1/chat/completions").body(Body::from(body))?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(response.headers()["x-line"], line);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Not every request has a response: the inner service may return an error, or the client may go
//! away. What must be counted when the inner service is *called* reads the `RoutedModel` in the
//! request's extensions, in a layer inside. [`RoutedModel::requested`](crate::RoutedModel::requested)
//! is the client's text: do not use it as a metric label, and escape it in logs.
//!
//! For dashboards and alerts the [metrics](crate#metrics) and the [span](crate#tracing) have the
//! same facts without code.
