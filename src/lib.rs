//! Tower middleware that routes LLM requests by their `model`.
//!
//! [`ModelRoutingLayer`] wraps any HTTP service. It finds the top-level `model` of a request while
//! the body streams by, looks the name up in a cached [`registry`] of active models, splices the
//! model's ID into the body in place of the name, and passes everything else to the inner service
//! byte for byte.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{
//!     Router,
//!     body::Body,
//!     extract::Request,
//!     routing::{get, post},
//! };
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
//! // The layer is on the routes that lead to models, and on no other.
//! let models = Router::new()
//!     .route("/v1/chat/completions", post(forward))
//!     .layer(ModelRoutingLayer::new(RoutingConfig::from_env()?));
//! let app = Router::new()
//!     .route("/health", get(async || "ok"))
//!     .merge(models);
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
//! - **One model.** On [inference endpoints](guide::where_the_model_is) a body is valid JSON or a
//!   strictly spelled form, whole. One that some server could read as naming another model (a second
//!   `model`, a `Model`, a comment, a bad escape) is rejected, and the inner service never sees it
//!   complete.
//! - **Other paths.** On paths that are no inference endpoint a model of the catalog is replaced,
//!   and every other request passes as sent.
//! - **Freshness.** Requests refresh the catalog, in tasks of their own; under steady traffic no
//!   request waits for one. If the registry fails, the last good catalog is used. A name that is
//!   not in the catalog refreshes it first, so that a model published a moment ago is found; other
//!   paths do not wait for that.
//! - **No silent fallback.** A request that another model serves is logged, marked in
//!   [`RoutedModel`], and in a response header
//!   [if enabled](RoutingConfigBuilder::response_headers).
//!
//! The module [`guide`] has both tables, and whole programs: reqwest as the client, upstreams by
//! model, policies per tenant, limits, `nest`, observing, testing.
//!
//! # Where the model is
//!
//! On inference endpoints, such as `/chat/completions`, `/v1/messages`, `/embeddings` or
//! `/audio/transcriptions`, the model is in the body, JSON or a form; on `/openai/deployments/…`,
//! `/models/…:generateContent` and `/realtime` in the URI. The guide
//! [where the model is](guide::where_the_model_is) has the whole table, what is not covered, and how
//! to add to it; [what the response says](guide::what_the_response_says) has the way back.
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
//! The error object is that of the path's API ([`Rejection`] has the table), unless
//! [`rejection_response`](RoutingConfigBuilder::rejection_response) is set.
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
//! remaining codings, more than one, and all without the feature are a 415; `identity` counts as no
//! coding.
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
//! Where [`ResponseModel`] changes the response, or a fallback serves, the request goes on with
//! `Accept-Encoding: identity`; requests that name no model keep theirs. A response that is encoded
//! all the same is decoded with the feature; otherwise its model stays as it is, and it is counted
//! as [`model_routing_responses_unread_total`](#metrics). Compress responses for clients outside of
//! the layer.
//!
//! # Order of layers
//!
//! The guide to [limits](guide::limits) has a table of layers, inside and outside of this one.
//!
//! `poll_ready` of [`ModelRouting`] always succeeds. The inner service's readiness is taken once the
//! model is known, on the clone that is called, so a slow body reserves nothing of a limit inside.
//! What was buffered of a body that waits for the inner service counts towards
//! [the limit on held bytes](RoutingConfigBuilder::max_total_held_bytes): past it the response is a
//! 503, except on other paths, where up to 64 KiB and a frame of each request may be held past the
//! limit. The wait itself has no timeout of this layer. Because `poll_ready` always succeeds, a
//! `LoadShed` belongs directly around the limit that it guards, not around this layer.
//!
//! ## One `ServiceBuilder` or two `Router::layer`s
//!
//! `axum::Router::layer` converts the bodies of requests and responses, and `ServiceBuilder` does
//! not. The layers of `tower-http` work on either side of this layer in one `ServiceBuilder`, with
//! two exceptions:
//!
//! - **`axum::middleware::from_fn` inside** takes requests with axum's body only. The compiler says
//!   ``the trait `Service<Request<RoutedBody<Body>>>` is not implemented for `FromFn<…>` ``.
//! - **`CorsLayer` or `TimeoutLayer` directly outside of `TraceLayer`**, with or without this layer,
//!   lack a default of the body of `TraceLayer`. The compiler says
//!   ``the trait bound `ResponseBody<ResponseBody<Body>, …>: Default` is not satisfied``. Put
//!   `TraceLayer` outside of the two.
//!
//! Two calls of `Router::layer`, of which the last is the outermost, need neither:
//!
//! ```
//! use axum::{Router, extract::Request, middleware, response::Response};
//! use tower_model_routing::ModelRoutingLayer;
//!
//! async fn log(request: Request, next: middleware::Next) -> Response {
//!     println!("{}", request.uri());
//!     next.run(request).await
//! }
//!
//! fn with_layers(router: Router, routing: ModelRoutingLayer) -> Router {
//!     router
//!         .layer(middleware::from_fn(log))
//!         .layer(routing)
//! }
//! ```
//!
//! In one `ServiceBuilder`, `.map_request(|request: Request<RoutedBody<Body>>|
//! request.map(Body::new))` between the two does the same.
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
//! | `reqwest` | yes | `registry::ReqwestSource`: the registry over HTTP |
//! | `rustls` | yes | HTTPS for it, by reqwest's feature `rustls`: see [TLS](#tls) |
//! | `rustls-no-provider` | no | HTTPS for it, by reqwest's feature `rustls-no-provider` |
//! | `simd` | yes | vector instructions in the JSON scanner, chosen at run time; without them, or with `lto = "off"`, it is 4 to 100 times slower |
//!
//! # TLS
//!
//! Only `registry::ReqwestSource` uses TLS, and only for an `https` URL. The features `rustls` and
//! `rustls-no-provider` are reqwest's of the same names, so that a program has what reqwest by itself
//! would bring, and nothing else.
//!
//! | the program has | features of this crate | and |
//! |---|---|---|
//! | reqwest without TLS, reqwest with its default TLS, rustls with aws-lc-rs, or none of these | the default ones | |
//! | rustls with *ring* or another crypto provider | `default-features = false`, `rustls-no-provider` | it installs the provider at its start: `rustls::crypto::ring::default_provider().install_default()` |
//! | native TLS | `default-features = false`, `reqwest` | it gives its own client: `registry::ReqwestSource::with_client` |
//! | a registry over plain HTTP only | `default-features = false`, `reqwest` | |
//! | a source of its own | `default-features = false` | |
//!
//! Add `simd` wherever the default features are off.
//!
//! rustls picks its crypto provider by itself only if exactly one is compiled in. A program that
//! compiles in *ring* and installs none, and takes this crate with default features, has two, and
//! panics where it builds a TLS configuration: see the second row.
//!
//! These tables look at this crate's features only. If another crate of the program turns on
//! reqwest's TLS, use `ReqwestSource::with_client`, or turn on the same feature of this crate.
//!
//! Without one of the two features an `https` URL is a [`ConfigError`]. So is any URL with
//! `rustls-no-provider` alone and no provider installed.
//!
//! # Tracing
//!
//! Each inspected request has a span `route_model`, of level `INFO` and target
//! `tower_model_routing`, as long as its [`ResponseFuture`] lives. The inner service's spans are its
//! children.
//!
//! | field | value |
//! |---|---|
//! | `gen_ai.operation.name` | `chat`, `text_completion`, `generate_content`, `count_tokens`, `embeddings`, `text_to_speech`, `speech_to_text`; absent on other paths |
//! | `gen_ai.request.model`, `model_routing.requested` | the name that the client sent; absent if it sent none, and on other paths if the catalog does not have it |
//! | `model_routing.served` | the catalog name of the model that the request is routed to |
//! | `model_routing.id` | its ID, as the inner service receives it |
//! | `model_routing.resolved_by` | `id`, `name`, `alias`, `slug` or `fallback` |
//! | `error.type` | the [`RejectionCode`] of a rejection |
//!
//! `gen_ai.*` and `error.type` are those of OpenTelemetry's semantic conventions. There is no
//! `gen_ai.response.model`, because the span ends before the response's body is read. `served`, `id`
//! and `resolved_by` are recorded when the inner service is called, unless the request is forwarded
//! unchanged. Names are cut at 128 characters, and control characters in them replaced.
//!
//! | event | level | target | fields |
//! |---|---|---|---|
//! | an [alias](RoutingConfigBuilder::alias) whose model the catalog does not have, once for each catalog | `WARN` | `tower_model_routing` | `alias`, `model` |
//! | routing to the fallback model, at most once a second for each requested name | `WARN` | `tower_model_routing` | `requested`, `served`, `left_out` (warnings since the last one) |
//! | a rejection with a 5xx status: its message | `WARN` | `tower_model_routing` | `code`, `cause` |
//! | another rejection: its message | `DEBUG` | `tower_model_routing` | `code` |
//! | a response whose content coding hides its model | `DEBUG` | `tower_model_routing` | `coding` |
//! | a refresh of the catalog | `INFO` if it changed, `DEBUG` if not, `WARN` if the refresh failed or names are ambiguous | begins with `tower_model_routing::registry` | `registry` and others |
//!
//! In code, an outer service sees each resolution as [`RoutedModel`], and each rejection as
//! [`Rejection`], in the response's extensions.
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
//! | `model_routing_layer_seconds` | histogram | | time from arrival until the inner service is called, including the wait for its readiness, or until the rejection |
//! | `model_routing_responses_unread_total` | counter | | responses whose model stays as it is, because their content coding is not supported |
//! | `model_routing_held_bytes` | gauge | | buffered bytes of request bodies that wait for their model or the inner service, and memory of decoders |
//! | `model_registry_refreshes_total` | counter | `result`: `changed`, `unchanged`, `failed` | refreshes of the catalog |
//! | `model_registry_age_seconds` | gauge | | time since the catalog was fetched or confirmed |
//! | `model_registry_models` | gauge | | models in the catalog |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod coding;
mod config;
mod endpoint;
mod future;
#[cfg(doc)]
pub mod guide;
mod headers;
mod layer;
mod models;
mod path;
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
pub use response::{
    ModelListBody, Rejection, RejectionCode, ResponseBody, ResponseModel, error_response,
};
pub use service::ModelRouting;

/// The README's snippets are tests too.
#[cfg(all(doctest, feature = "rustls"))]
#[doc = include_str!("../README.md")]
mod readme {}
