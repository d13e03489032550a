//! Tower middleware that routes LLM requests by their `model`.
//!
//! [`ModelRoutingLayer`] wraps any HTTP service. It finds the top-level `model`
//! of a JSON request while the body streams by, looks the name up in a cached
//! registry of active models, splices the model's ID into the body in place of
//! the name, and passes everything else on byte for byte.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, extract::Request, routing::post};
//! use tower_model_routing::{ModelRoutingLayer, RoutedModel, RoutingConfig};
//!
//! /// Stands for your upstream: sees {"model":"0xb603…"} for {"model":"venice-uncensored"}.
//! async fn forward(request: Request) -> Body {
//!     if let Some(model) = request.extensions().get::<RoutedModel>() {
//!         println!("{} is {} upstream", model.name(), model.id());
//!     }
//!     request.into_body()
//! }
//!
//! let app = Router::new()
//!     .route("/v1/chat/completions", post(forward))
//!     .layer(ModelRoutingLayer::new(RoutingConfig::from_env()?));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it guarantees
//!
//! - **Bytes.** Nothing is parsed into a tree and re-serialised. Only the
//!   model's bytes change, and what follows from them: `Content-Length`, and
//!   digests of the body, which are removed.
//! - **Streaming.** The inner service is called as soon as the model is known.
//!   What comes before the model is held, up to
//!   [a bound](RoutingConfigBuilder::max_held_bytes) and
//!   [for a while](RoutingConfigBuilder::held_timeout); what comes after it is
//!   only scanned as it passes.
//! - **One model.** A body that two parsers could read as naming different
//!   models (a second `model`, a `Model`, a comment, a bad escape) is refused,
//!   and the inner service never sees all of it.
//! - **Freshness.** The catalog is refreshed by requests, in tasks of their
//!   own; under steady traffic none of them ever waits. When the registry
//!   fails, the last good catalog serves on. A name that is not in the catalog
//!   refreshes it first, so that a model published a moment ago is found.
//! - **No silent fallback.** A request that another model serves is logged,
//!   marked in [`RoutedModel`], and in a response header
//!   [if you like](RoutingConfigBuilder::response_headers).
//!
//! # Which requests
//!
//! Only `POST`. The end of the path says what is asked for ([`Endpoint`]), and
//! the `Content-Type` how to read the body:
//!
//! | content type | on an inference endpoint | elsewhere |
//! |---|---|---|
//! | `application/json`, `application/*+json` | inspected | inspected |
//! | none | inspected as JSON | passes untouched |
//! | `multipart/form-data` | its `model` part is replaced | passes untouched, but on `/images/edits` and `/images/variations` |
//! | any other, or another charset than UTF-8 | 415 | passes untouched |
//!
//! So JSON is checked, and its model replaced, on *every* path: put the layer
//! on those routes that lead to models. A body with a `Content-Encoding` that
//! would have to be inspected is a 415.
//!
//! # What the layer answers itself
//!
//! | status | [`RejectionCode`] |
//! |---|---|
//! | 400 | `invalid_json`, `invalid_multipart`, `duplicate_model`, `ambiguous_model`, `invalid_model`, `model_type_mismatch` |
//! | 404 | `model_not_found` |
//! | 408 | `request_timeout` |
//! | 413 | `request_too_large` |
//! | 415 | `unsupported_media_type`, `unsupported_content_encoding` |
//! | 503 | `model_registry_unavailable`, `fallback_model_unavailable`, `overloaded` |
//!
//! Where the front of a body has gone on before its rest turns out to be wrong,
//! the inner service's body fails, and this answer takes the place of the inner
//! service's, unless that has been given already.
//!
//! # Where to put it
//!
//! The layer needs bodies that are not compressed: put
//! `tower_http::decompression::RequestDecompressionLayer` outside of it. It
//! holds the inner service's readiness from `poll_ready` until the model is
//! known, so a concurrency limit that is to count only upstream calls belongs
//! inside of it, behind a `Buffer`.
//!
//! # Runtime
//!
//! The refreshes of the catalog are Tokio tasks: the response futures must be
//! polled within a Tokio runtime with time enabled. Without a runtime they fall
//! back to the catalog at hand, or answer 503, and wait for bodies without a
//! limit of time; in one without time they panic.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `metrics` | no | metrics through the `metrics` facade; see [`ModelRoutingLayer::record_gauges`] |
//! | `reqwest` | yes | `ReqwestSource`: the registry over HTTP and HTTPS (rustls with ring, and the platform's certificates) |
//! | `simd` | yes | vector instructions in the JSON scanner, chosen at run time; without them it is 3 to 40 times slower |

mod body;
mod config;
mod endpoint;
mod future;
mod headers;
mod layer;
mod models;
mod pending;
mod registry;
mod request;
mod resolve;
mod response;
mod scan;
mod service;
mod shared;
mod telemetry;
mod text;

pub use body::BoxError;
pub use config::{ConfigError, RoutingConfig, RoutingConfigBuilder};
pub use endpoint::Endpoint;
pub use future::ResponseFuture;
pub use layer::ModelRoutingLayer;
pub use models::ModelListService;
pub use registry::{
    Catalog, CatalogError, FetchFuture, Fetched, ModelEntry, ModelType, Refreshed, Registry,
    RegistryError, RegistryHealth, RegistryPolicy, RegistrySource, RegistryStats, ResolvedBy,
    SourceError, Unavailable,
};
#[cfg(feature = "reqwest")]
pub use registry::{InvalidRegistryUrl, ReqwestSource};
pub use request::RoutedBody;
pub use resolve::{RoutedModel, UnknownModel};
pub use response::{ModelListBody, Rejection, RejectionCode, ResponseBody, ResponseModel};
pub use service::ModelRouting;

/// The README's snippets are tests too.
#[cfg(all(doctest, feature = "reqwest"))]
#[doc = include_str!("../README.md")]
mod readme {}
