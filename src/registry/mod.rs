//! The registry of active models and its cached copy.
//!
//! A [`Registry`] fetches a [`Catalog`] from a [`RegistrySource`], caches it, and refreshes it
//! while requests use it. [`ModelRoutingLayer`](crate::ModelRoutingLayer) resolves model names by
//! a registry, which also works without the layer.
//!
//! # Examples
//!
//! ```no_run
//! # #[cfg(feature = "rustls")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_model_routing::registry::{Registry, ReqwestSource};
//!
//! let source = ReqwestSource::new("https://active.mor.org/active_models.json")?;
//! let registry = Registry::builder(source)
//!     .ttl(Duration::from_secs(60))
//!     .build()?;
//! let catalog = registry.catalog().await?;
//! let found = catalog.find("venice-uncensored").ok_or("not in the catalog")?;
//! println!("{} by {}", found.entry.id(), found.resolved_by);
//! # Ok(())
//! # }
//! ```

mod builder;
mod catalog;
mod entry;
mod error;
mod freshness;
mod handle;
#[cfg(feature = "reqwest")]
mod http;
mod policy;
mod refresh;
mod single_flight;
mod snapshot;
mod source;
mod state;
mod stats;
mod sync;

#[cfg(feature = "reqwest")]
pub use self::http::{ReqwestSource, ReqwestSourceError};
#[cfg(feature = "metrics")]
pub(crate) use self::single_flight::REFRESHES;
pub use self::{
    builder::RegistryBuilder,
    catalog::{Catalog, CatalogError, CatalogMatch, ResolvedBy},
    entry::{ModelEntry, ModelType},
    error::{RegistryError, SourceError, Unavailable},
    handle::Registry,
    policy::{PolicyError, RegistryPolicy},
    snapshot::Refreshed,
    source::{FetchFuture, Fetched, RegistrySource},
    stats::{RegistryHealth, RegistryStats},
};
pub(crate) use self::{
    catalog::{hex, slug},
    policy::{MIN_DURATION, check_bounds},
    refresh::CatalogLookup,
};
