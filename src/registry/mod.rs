//! Under construction.

mod catalog;
mod entry;

pub(crate) use catalog::slug;
pub use catalog::{Catalog, CatalogError, ResolvedBy};
pub use entry::{ModelEntry, ModelType};
