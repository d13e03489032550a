//! Forwarding with reqwest as the client.
//!
//! A handler behind the layer receives the request with the ID in place. To forward it while it
//! streams, pass the body to `reqwest::Body::wrap_stream` (reqwest's feature `stream`).
//! `reqwest::Body::wrap` does not accept axum's body, which is not `Sync`:
//!
//! ```
//! use axum::{
//!     Router,
//!     body::Body,
//!     extract::{Request, State},
//!     http::{StatusCode, header},
//!     response::Response,
//!     routing::post,
//! };
//! use tower_model_routing::{ModelRoutingLayer, RoutingConfig, registry::Catalog};
//!
//! #[derive(Clone)]
//! struct Upstream {
//!     client: reqwest::Client,
//!     url: &'static str,
//! }
//!
//! async fn forward(
//!     State(upstream): State<Upstream>,
//!     request: Request,
//! ) -> Result<Response, StatusCode> {
//!     let (mut head, body) = request.into_parts();
//!     // These belong to the client's connection. The others, `Content-Length` included, are right
//!     // for the body with the ID.
//!     for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
//!         head.headers.remove(name);
//!     }
//!     let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
//!     let response = upstream
//!         .client
//!         .request(head.method, format!("{}{path}", upstream.url))
//!         .headers(head.headers)
//!         .body(reqwest::Body::wrap_stream(body.into_data_stream()))
//!         .send()
//!         .await
//!         .map_err(|_| StatusCode::BAD_GATEWAY)?;
//!     Ok(axum::http::Response::from(response).map(Body::new))
//! }
//!
//! # fn app() -> Result<Router, Box<dyn std::error::Error>> {
//! let upstream = Upstream {
//!     // An upstream's response goes on as it is: with its redirects, and compressed if it is.
//!     client: reqwest::Client::builder()
//!         .redirect(reqwest::redirect::Policy::none())
//!         .build()?,
//!     url: "http://127.0.0.1:9000",
//! };
//! let app: Router = Router::new()
//!     .route("/v1/chat/completions", post(forward))
//!     .layer(ModelRoutingLayer::new(RoutingConfig::from_env()?))
//!     .with_state(upstream);
//! # Ok(app)
//! # }
//! ```
//!
//! - If the body turns out to be invalid after its front was forwarded, the stream ends with an
//!   error, reqwest aborts the request, and the layer replaces the handler's response by its own.
//! - `into_data_stream` drops trailers. A proxy that must forward them uses hyper-util's client,
//!   which takes any body; the example proxy does.
//! - reqwest's features `gzip`, `brotli`, `deflate` and `zstd` decode responses. Leave them off in a
//!   proxy, or call `no_gzip` and its siblings.
