//! What the response says: which model it names, and where.
//!
//! The inner service sees IDs, and its responses name them. Clients compare what a response names
//! with what they asked for, so the layer can put the name back, while the response streams.
//!
//! # Which name
//!
//! [`response_model`](crate::RoutingConfigBuilder::response_model) sets it:
//!
//! | the request | `Unchanged` | `Served` | `Requested` |
//! |---|---|---|---|
//! | names a model | what the inner service says | the catalog name | the name as the client spelled it |
//! | names a model, and a fallback serves | the catalog name | the catalog name | the catalog name |
//! | names none, as `GET /v1/responses/{id}` | what the inner service says | the catalog name of an ID | the catalog name of an ID |
//!
//! `Unchanged` is the default of the library, `Requested` that of the proxy.
//!
//! # Where
//!
//! | response | replaced |
//! |---|---|
//! | JSON | the top-level `model` |
//! | server-sent events | the top-level `model` of each `data:` line; `response.model` in the events of `/responses`, `message.model` in those of `/messages` |
//! | newline-delimited JSON (`application/x-ndjson`, `application/jsonl`) | the top-level `model` of each line |
//! | an error (4xx, 5xx) of at most 64 KiB, JSON or `text/plain` | the ID, wherever it stands as a word |
//! | partial content (206), any other type, larger errors | nothing |
//!
//! Nothing else changes, and no event is delayed. A `model` that is absent or no string stays as it
//! is, as do invalid JSON and what follows it. `Content-Length` and digests are removed where the
//! length may change.
//!
//! # Compressed responses
//!
//! Where the response of a request with a model is to be rewritten, the request goes on with
//! `Accept-Encoding: identity`. A response that is encoded all the same is decoded with the cargo
//! feature `decompression`. Otherwise it passes, and is counted as
//! [`model_routing_responses_unread_total`](crate#metrics). Compress for clients outside of the
//! layer.
//!
//! # Headers and extensions
//!
//! [`response_headers`](crate::RoutingConfigBuilder::response_headers) adds `x-model-id`,
//! `x-model-name` and, of a fallback, `x-model-fallback: true`. The response's extensions have the
//! [`RoutedModel`](crate::RoutedModel), or the [`Rejection`](crate::Rejection), which is in the form
//! of the path's API.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, header::CONTENT_TYPE};
//! use http_body_util::{BodyExt, Full};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//! use tower_model_routing::{
//!     ModelRoutingLayer, ResponseModel, RoutedBody, RoutingConfig, registry::Catalog,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
//! let config = RoutingConfig::builder()
//!     .fixed_catalog(catalog)
//!     .response_model(ResponseModel::Requested)
//!     .build()?;
//! let upstream = service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
//!     let response = Response::builder().header(CONTENT_TYPE, "application/json");
//!     response.body(Full::<Bytes>::from(r#"{"model":"0xb603","n":1.0}"#))
//! });
//! let service = ModelRoutingLayer::new(config).layer(upstream);
//!
//! let request = Request::post("/v1/chat/completions")
//!     .body(Full::from(r#"{"model":"Venice-Uncensored"}"#))?;
//! let response = service.oneshot(request).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert_eq!(body, r#"{"model":"Venice-Uncensored","n":1.0}"#);
//! # Ok(())
//! # }
//! ```
