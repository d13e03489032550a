//! Where the model is: the whole table, what is not covered, and how to add to it.
//!
//! The layer finds the model in the body or in the URI. The path says which, what kind of inference
//! it asks for, and how strictly the body is read.
//!
//! # In the body
//!
//! The path decides what a request asks for: the [`Endpoint`](crate::Endpoint), and whether a
//! missing model is subject to the [`MissingModel`](crate::MissingModel) policy, because elsewhere,
//! as in a stored prompt, it need not be in the body.
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
//! The longest row that fits decides. Paths are compared as the most lenient server would:
//! percent-decoded, ignoring case, empty and dot segments, parameters of segments (`;x`), a slash at
//! the end, and one file extension (`.json`). Models of an unknown type can serve every endpoint.
//!
//! # In the URI
//!
//! Templates say where a URI names the model. The name is percent-decoded, resolved, and replaced by
//! the ID, percent-encoded; nothing else in the URI changes.
//!
//! | URI, after any prefix | endpoint | body |
//! |---|---|---|
//! | `/openai/deployments/{model}/…`, `/engines/{model}/…` | by the table above | read if it is JSON, or the table says that it must be valid |
//! | `/models/{model}:generateContent`, `…:streamGenerateContent`, `…:countTokens` | LLM | passes unread |
//! | `/models/{model}:embedContent`, `…:batchEmbedContents` | embedding | passes unread |
//! | `/models/{model}:predict`, `…:rawPredict`, `…:streamRawPredict` | other | passes unread |
//! | `/realtime?model={model}`, also of `GET` requests | other | passes unread |
//!
//! Methods are those of inference endpoints, and `{model}` is one segment: a slash in a name must be
//! encoded, as `%2F`. A path of an inference endpoint whose encoded slashes or dot segments make
//! servers differ in where the model is, such as `/engines/;x%2Fa/completions`, is a 400
//! `ambiguous_model`. Unknown names are subject to the [`UnknownModel`](crate::UnknownModel) policy,
//! and pass unchanged where the endpoint is other. A parameter of the query that names the model, too,
//! is a 400 `ambiguous_model`.
//!
//! Where the body is read, a `model` in it must be the same entry of the catalog as the URI's, or the
//! same unknown name; another one is a 400 `ambiguous_model`. It gets the ID too, and a body without
//! a model gets none. A body is held until its model is found, and forwarded without one when a limit
//! on held bytes or their time is reached; if its model comes after that, the request gets the 413,
//! 503 or 408 late.
//!
//! # Which requests are read
//!
//! On inference endpoints (all rows but the last two) requests of any method but `GET`, `HEAD`,
//! `OPTIONS`, `DELETE`, `TRACE` and `CONNECT` are inspected, and a method such as `post`, which some
//! servers take for `POST`, is a 400 `ambiguous_model`. Elsewhere only `POST` is inspected. Where the
//! body must be valid, a parameter `model` in the query is a 400 `ambiguous_model` too, as some
//! servers prefer it to the body's. The `Content-Type` decides the format of the body:
//!
//! | content type | inference endpoints and paths with strict bodies | other paths |
//! |---|---|---|
//! | `application/json`, `application/*+json`, with no parameter but a `charset` of UTF-8 or ASCII | inspected | inspected with best effort |
//! | none | inspected as JSON | passes unread |
//! | `multipart/form-data`, with one parameter, `boundary`, both in lower case | its `model` part is replaced | passes unread |
//! | any other | 415, forms 400 | passes unread |
//! | any, with a `Content-Encoding` | [decoded](crate#compression), or 415 | passes unread |
//!
//! The documentation of [`model_scan`] lists what clients emit that is rejected, such as `NaN`, with
//! a remedy for each.
//!
//! Paths with strict bodies take any model: an unknown one, or a value that is not a string, passes
//! unchanged.
//!
//! On other paths the layer replaces a model that is in the catalog, and all other requests pass
//! unchanged, whether their model is unknown, missing or no string, their body is
//! invalid, or the catalog is unavailable. At most 64 KiB are read, and a request is held for at
//! most a second. Once a model is replaced, the rest of the body must be valid.
//! [`OtherPaths::Pass`](crate::OtherPaths::Pass) turns this off.
//!
//! # What is not covered
//!
//! These requests pass, and the model in them stays as it is:
//!
//! | request | why |
//! |---|---|
//! | batch files (JSONL) in `/files`, and the requests inside `/messages/batches` | a body names many models, not at its top level |
//! | `session.model` in the bodies of Realtime sessions, and messages inside WebSockets | the model is nested, or not in a request |
//! | a `model` in the query, in a header or in a nested object, where no template names it | other paths are read at their top level only |
//! | requests that are signed over the URI or the body, such as by AWS Signature Version 4 | a signature fails once anything is replaced: sign behind the layer |
//! | bodies of other paths past 64 KiB, or encoded | the layer does no harm where it knows nothing |
//!
//! # How to add to it
//!
//! [`add_endpoint`](crate::RoutingConfigBuilder::add_endpoint) and `MODEL_ENDPOINTS` make a path an
//! inference endpoint, and [`add_uri_template`](crate::RoutingConfigBuilder::add_uri_template) says
//! where a URI names the model, as that of Amazon Bedrock does:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//! use tower_model_routing::{
//!     Endpoint, ModelRoutingLayer, RoutedBody, RoutingConfig, registry::Catalog,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
//! let config = RoutingConfig::builder()
//!     .fixed_catalog(catalog)
//!     .add_endpoint("/rerank", Endpoint::Embedding)
//!     .add_uri_template("/model/{model}/converse", Endpoint::Llm)
//!     .build()?;
//! let upstream = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(request.uri().to_string())))
//! });
//! let service = ModelRoutingLayer::new(config).layer(upstream);
//!
//! let request = Request::post("/model/venice-uncensored/converse").body(Full::from("{}"))?;
//! let response = service.oneshot(request).await?;
//! let uri = response.into_body().collect().await?.to_bytes();
//! assert_eq!(uri, "/model/0xb603/converse");
//! # Ok(())
//! # }
//! ```
