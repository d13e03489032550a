//! Tower middleware that routes LLM requests by their `model`.

mod endpoint;
mod json;
mod multipart;
mod registry;
mod resolve;

pub use endpoint::Endpoint;
pub use registry::{Catalog, CatalogError, ModelEntry, ModelType, ResolvedBy};
pub use resolve::{RoutedModel, UnknownModel};
