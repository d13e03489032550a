//! Tower middleware that routes LLM requests by their `model`.
//!
//! [`ModelRoutingLayer`] wraps any HTTP service. It finds the top-level `model` of a request while
//! the body streams by, looks the name up in a cached [`registry`] of active models, splices the
//! model's ID into the body in place of the name, and passes everything else to the inner service
//! byte for byte.
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
//! # Guarantees
//!
//! - **Bytes.** Nothing is parsed into a tree and re-serialised. Only the model's bytes change, and
//!   what follows from them: `Content-Length`, and digests of the body, which are removed.
//! - **Streaming.** The inner service is called as soon as the model is known. Bytes before the
//!   model are buffered, within [a limit](RoutingConfigBuilder::max_held_bytes) and
//!   [a timeout](RoutingConfigBuilder::held_timeout). Bytes after it are only scanned.
//! - **One model.** On [inference endpoints](#endpoints) a body that two parsers could read as
//!   naming different models (a second `model`, a `Model`, a comment, a bad escape) is rejected, and
//!   the inner service never sees it complete.
//! - **Freshness.** Requests refresh the catalog, in tasks of their own; under steady traffic no
//!   request waits for one. If the registry fails, the last good catalog is used. A name that is
//!   not in the catalog refreshes it first, so that a model published a moment ago is found.
//! - **No silent fallback.** A request that another model serves is logged, marked in
//!   [`RoutedModel`], and in a response header
//!   [if enabled](RoutingConfigBuilder::response_headers).
//!
//! # Endpoints
//!
//! The path decides what a request asks for: the [`Endpoint`], and whether a missing model is
//! subject to the [`MissingModel`] policy, because elsewhere, as in a stored prompt, it need not be
//! in the body.
//!
//! | the path ends in | endpoint | a missing model | rejected model types |
//! |---|---|---|---|
//! | `/chat/completions`, `/completions` | LLM | by the policy | `EMBEDDING`, `TTS`, `STT` |
//! | `/v1/messages`, or is `/messages` | LLM | by the policy | the same |
//! | `/v1/messages/count_tokens` | LLM | left missing | the same |
//! | `/v1/responses`, `/openai/responses`, `/responses/input_tokens`, `/responses/compact`, or is `/responses` | LLM | left missing | the same |
//! | `/api/chat`, `/api/generate`, `/v1/chat`, `/v2/chat` | LLM | left missing | the same |
//! | `/embeddings`, `/api/embed`, `/v1/embed`, `/v2/embed` | embedding | by the policy | `LLM`, `TTS`, `STT` |
//! | `/audio/speech` | TTS | by the policy | `LLM`, `EMBEDDING` |
//! | `/audio/transcriptions`, `/audio/translations` | STT | by the policy | `LLM`, `EMBEDDING` |
//! | `/images/edits`, `/images/variations`, `/videos` | other, with strict bodies | left missing | none |
//! | `/agents/completions`, and all other paths | other | left missing | none |
//!
//! The longest row that fits decides, and [`add_endpoint`](RoutingConfigBuilder::add_endpoint) adds
//! more. Paths are compared as the most lenient server would: percent-decoded, ignoring case, empty
//! and dot segments, parameters of segments (`;x`), a slash at the end, and one file extension
//! (`.json`). Models of an unknown type can serve every endpoint.
//!
//! # Inspected requests
//!
//! On inference endpoints (all rows but the last two) requests of any method but `GET`, `HEAD`,
//! `OPTIONS`, `DELETE`, `TRACE` and `CONNECT` are inspected. Servers differ about a method such as
//! `post`, and about which of two models holds if the query has a parameter `model` too, so both
//! are a 400 `ambiguous_model`. Elsewhere only `POST` is inspected. The `Content-Type` decides the
//! format of the body:
//!
//! | content type | inference endpoints and paths with strict bodies | other paths |
//! |---|---|---|
//! | `application/json`, `application/*+json` | inspected | inspected with best effort |
//! | none | inspected as JSON | passes unread |
//! | `multipart/form-data` | its `model` part is replaced | passes unread |
//! | any other, or a charset other than UTF-8 | 415 | passes unread |
//! | any, with a `Content-Encoding` | [decoded](#compression), or 415 | passes unread |
//!
//! Paths with strict bodies take any model: an unknown one, or a value that is not a string, passes
//! unchanged.
//!
//! On other paths the layer does no harm: it replaces a model that is in the catalog, and all other
//! requests pass unchanged, whether their model is unknown, missing or no string, their body is
//! invalid, or the catalog is unavailable. At most 64 KiB are read, and a request is held for at
//! most a second. Once a model is replaced, the rest of the body must be valid.
//! [`OtherPaths::Pass`] turns this off.
//!
//! # Rejections
//!
//! [`MissingModel`] has a table of what happens to unknown and missing models.
//!
//! | status | [`RejectionCode`] |
//! |---|---|
//! | 400 | `invalid_json`, `invalid_multipart`, `duplicate_model`, `ambiguous_model`, `invalid_model`, `model_required`, `model_type_mismatch` |
//! | 404 | `model_not_found` |
//! | 408 | `request_timeout` |
//! | 413 | `request_too_large` |
//! | 415 | `unsupported_media_type`, `unsupported_content_encoding` |
//! | 503 | `model_registry_unavailable`, `fallback_model_unavailable`, `overloaded` |
//!
//! If part of a body was already forwarded when the rest turns out to be invalid, the inner
//! service's body ends with an error, and the rejection replaces the inner service's response
//! unless that was already returned.
//!
//! # Compression
//!
//! With the cargo feature `decompression`, bodies in `gzip`, `deflate` (the zlib format), `br` and
//! `zstd` are decoded where they are inspected; the inner service gets the decoded body without
//! `Content-Encoding`, `Content-Length` and digests. Requests that pass unread stay encoded. The
//! remaining codings, more than one, and all without the feature are a 415; `identity` is none.
//!
//! | encoded body | response |
//! |---|---|
//! | corrupt, truncated, or with data after its end | 400 `invalid_json`, or `invalid_multipart` of a form |
//! | zstd with a window over 8 MiB (RFC 9659), brotli with one over 16 MiB | 415 |
//! | decoder over [`max_total_held_bytes`](RoutingConfigBuilder::max_total_held_bytes) | 503 |
//!
//! All members of gzip and all frames of zstd are decoded. Decoders produce at most 32 KiB at a
//! time, so a body that expands a thousandfold is limited like any other, and
//! [`max_held_bytes`](RoutingConfigBuilder::max_held_bytes) counts decoded bytes. The memory that
//! the encoded data declares for its window is part of the held bytes of all requests until the
//! body ends. A body makes progress by the bytes that are received, not by those that are decoded.
//!
//! Where [`ResponseModel`] changes the response, the request goes on with
//! `Accept-Encoding: identity`. A response that is encoded all the same is decoded with the feature;
//! otherwise its model stays as it is, and it is counted as
//! [`model_routing_responses_unread_total`](#metrics). Compress responses for clients outside of
//! the layer.
//!
//! # Order of layers
//!
//! The layer holds the inner service's readiness from `poll_ready` until the model is known. Put a concurrency limit that is
//! to count only upstream calls inside, behind a `Buffer`.
//!
//! # Runtime
//!
//! Refreshes of the catalog are Tokio tasks. The response futures must be polled within a Tokio
//! runtime with time enabled. Without a runtime they use the current catalog or return a 503, and
//! do not time out bodies. In a runtime without time they panic.
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `decompression` | no | [decoding](#compression) of compressed bodies; compiles zstd's C code |
//! | `metrics` | no | [metrics](#metrics) through the `metrics` facade |
//! | `reqwest` | yes | `registry::ReqwestSource`: the registry over HTTP and HTTPS (rustls with ring, and the platform's certificates) |
//! | `simd` | yes | vector instructions in the JSON scanner, chosen at run time; without them it is 3 to 40 times slower |
//!
//! # Metrics
//!
//! With the feature `metrics`; call `ModelRoutingLayer::record_gauges` before each export. No label
//! holds a client's text: a name that is not in the catalog is `unknown`.
//!
//! | name | type | labels | meaning |
//! |---|---|---|---|
//! | `model_routing_requests_total` | counter | `outcome`: `id`, `name`, `alias`, `slug`, `fallback`, `unchanged`, `rejected`; `model`: catalog name or `unknown` | inspected requests |
//! | `model_routing_rejections_total` | counter | `code` | rejections; a late one also has the outcome that it had before |
//! | `model_routing_layer_seconds` | histogram | | time from arrival until the inner service is called |
//! | `model_routing_responses_unread_total` | counter | | responses whose model stays as it is, because their content coding is not supported |
//! | `model_routing_held_bytes` | gauge | | bytes of request bodies whose model is not known yet, and memory of decoders |
//! | `model_registry_refreshes_total` | counter | `result`: `changed`, `unchanged`, `failed` | refreshes of the catalog |
//! | `model_registry_age_seconds` | gauge | | time since the catalog was fetched or confirmed |
//! | `model_registry_models` | gauge | | models in the catalog |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod coding;
mod config;
mod endpoint;
mod future;
mod headers;
mod layer;
mod models;
mod pending;
pub mod registry;
mod request;
mod resolve;
mod response;
mod service;
mod shared;
mod telemetry;
mod text;

pub use body::BoxError;
pub use config::{ConfigError, RoutingConfig, RoutingConfigBuilder};
pub use endpoint::{Endpoint, OtherPaths};
pub use future::ResponseFuture;
pub use layer::ModelRoutingLayer;
pub use models::ModelListService;
pub use request::RoutedBody;
pub use resolve::{MissingModel, RoutedModel, UnknownModel};
pub use response::{ModelListBody, Rejection, RejectionCode, ResponseBody, ResponseModel};
pub use service::ModelRouting;

/// The README's snippets are tests too.
#[cfg(all(doctest, feature = "reqwest"))]
#[doc = include_str!("../README.md")]
mod readme {}
