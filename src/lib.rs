//! Tower middleware that routes LLM requests by their `model`.

mod body;
mod config;
mod endpoint;
mod future;
mod inspect;
mod json;
mod layer;
mod multipart;
mod registry;
mod rejection;
mod resolve;
mod scan;
mod service;

pub use body::{BoxError, ResponseBody, RoutedBody};
pub use config::{ConfigError, RoutingConfig, RoutingConfigBuilder};
pub use endpoint::Endpoint;
pub use future::ResponseFuture;
pub use layer::ModelRoutingLayer;
pub use registry::{
    Catalog, CatalogError, FetchFuture, Fetched, ModelEntry, ModelType, Refreshed, Registry,
    RegistryError, RegistryHealth, RegistryPolicy, RegistrySource, RegistryStats, ResolvedBy,
    SourceError, Unavailable,
};
#[cfg(feature = "reqwest")]
pub use registry::{InvalidRegistryUrl, ReqwestSource};
pub use rejection::{Rejection, RejectionCode};
pub use resolve::{RoutedModel, UnknownModel};
pub use service::ModelRouting;
