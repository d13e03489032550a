//! Tower middleware that routes LLM requests by their `model`.

mod endpoint;
mod json;
mod multipart;
mod registry;
mod resolve;

pub use endpoint::Endpoint;
pub use registry::{
    Catalog, CatalogError, FetchFuture, Fetched, ModelEntry, ModelType, Refreshed, Registry,
    RegistryError, RegistryHealth, RegistryPolicy, RegistrySource, RegistryStats, ResolvedBy,
    SourceError, Unavailable,
};
#[cfg(feature = "reqwest")]
pub use registry::{InvalidRegistryUrl, ReqwestSource};
pub use resolve::{RoutedModel, UnknownModel};
