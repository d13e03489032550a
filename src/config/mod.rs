//! The settings of the layer: valid once built, and made without I/O.

mod builder;
mod choice;
mod environment;
mod error;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderName;

pub use self::{builder::RoutingConfigBuilder, error::ConfigError};
use crate::{
    endpoint::{Endpoint, OtherPaths},
    registry::Registry,
    request::{EndpointTable, UriTemplates},
    resolve::Policy,
    response::{RejectionHook, ResponseModel},
};

/// The settings of a [`ModelRoutingLayer`](crate::ModelRoutingLayer).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_model_routing::{Endpoint, RoutingConfig, UnknownModel};
///
/// # #[cfg(feature = "rustls")] {
/// let config = RoutingConfig::builder()
///     .models_url("https://active.dev.mor.org/active_models.json")
///     .ttl(Duration::from_secs(60))
///     .fallback(Endpoint::Llm, "llama-3.3-70b")
///     .without_fallback(Endpoint::Tts) // unknown names are 404
///     .unknown_model(UnknownModel::Fallback)
///     .add_endpoint("/rerank", Endpoint::Embedding)
///     .build()?;
/// assert_eq!(config.fallback(Endpoint::Llm), Some("llama-3.3-70b"));
/// assert_eq!(config.fallback(Endpoint::Tts), None);
/// # }
/// # Ok::<(), tower_model_routing::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RoutingConfig {
    pub(crate) registry: Registry,
    pub(crate) policy: Policy,
    pub(crate) endpoints: EndpointTable,
    pub(crate) uri_templates: UriTemplates,
    pub(crate) other_paths: OtherPaths,
    pub(crate) max_held_bytes: usize,
    pub(crate) max_total_held_bytes: usize,
    pub(crate) held_timeout: Option<Duration>,
    pub(crate) id_header: Option<HeaderName>,
    pub(crate) name_header: Option<HeaderName>,
    pub(crate) response_headers: bool,
    pub(crate) response_model: ResponseModel,
    pub(crate) rejection_hook: Option<RejectionHook>,
}

impl RoutingConfig {
    /// Returns a builder with every setting at its default.
    pub fn builder() -> RoutingConfigBuilder {
        RoutingConfigBuilder::default()
    }

    /// Returns the default settings, overridden by the environment.
    ///
    /// [`RoutingConfigBuilder::from_env`] lists the variables.
    ///
    /// # Errors
    ///
    /// Returns an error that names the variable if its value is not allowed.
    pub fn from_env() -> Result<Self, ConfigError> {
        RoutingConfigBuilder::from_env()?.build()
    }

    /// Returns the name of the fallback model for this kind of endpoint, if there is one.
    /// [`Endpoint::Other`] has none.
    pub fn fallback(&self, endpoint: Endpoint) -> Option<&str> {
        self.policy.fallbacks.get(endpoint)
    }

    /// Returns the registry that the layer will resolve names by.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
