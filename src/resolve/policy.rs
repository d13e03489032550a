//! The operator's policies: unknown names, missing models, fallbacks.

use std::fmt;

use super::Aliases;
use crate::{
    endpoint::Endpoint,
    registry::{Catalog, CatalogMatch},
};

/// The policy for a name that is not in the catalog.
///
/// [`MissingModel`] has a table of what each policy does where. A name that the catalog has is
/// never subject to it, and on [other paths](Endpoint::Other) unknown names pass unchanged.
///
/// # Examples
///
/// Never serve another model than the requested one:
///
/// ```
/// use tower_model_routing::{RoutingConfig, UnknownModel};
///
/// let builder = RoutingConfig::builder().unknown_model(UnknownModel::Reject);
/// # drop(builder);
/// assert_eq!("suggest".parse(), Ok(UnknownModel::default()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownModel {
    /// Route to the endpoint's fallback model.
    Fallback,
    /// Return 404 with suggestions if a catalog name is similar, else route to the fallback: a
    /// typo must not end at another model.
    #[default]
    Suggest,
    /// Return 404, with suggestions if there are any.
    Reject,
    /// Forward the request unchanged.
    Forward,
}

impl UnknownModel {
    pub(crate) const ALL: [Self; 4] = [Self::Fallback, Self::Suggest, Self::Reject, Self::Forward];

    /// Returns the policy in lower case, as the variable `UNKNOWN_MODEL` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::Suggest => "suggest",
            Self::Reject => "reject",
            Self::Forward => "forward",
        }
    }
}

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The policy for a request that names no model: its `model` is missing, `null` or blank.
///
/// It is independent of [`UnknownModel`]. Together they decide, by the kind of endpoint:
///
/// | a request with | policy | endpoint with a fallback | endpoint without one | [other paths](Endpoint::Other) |
/// |---|---|---|---|---|
/// | an unknown name | [`UnknownModel::Suggest`] | 404 if a catalog name is similar, else the fallback | 404 | unchanged |
/// | an unknown name | [`UnknownModel::Fallback`] | the fallback | 404 | unchanged |
/// | an unknown name | [`UnknownModel::Reject`] | 404 | 404 | unchanged |
/// | an unknown name | [`UnknownModel::Forward`] | unchanged | unchanged | unchanged |
/// | no model | [`MissingModel::Fallback`] | the fallback | 400 `model_required` | unchanged |
/// | no model | [`MissingModel::Reject`] | 400 `model_required` | 400 `model_required` | unchanged |
/// | no model | [`MissingModel::Forward`] | unchanged | unchanged | unchanged |
///
/// Where a request need not name its model, as on `/v1/responses`, whose stored prompt may have
/// it, a request without one passes unchanged whatever the policy: the
/// [guide](crate::guide::where_the_model_is) lists these paths.
///
/// # Examples
///
/// ```
/// use tower_model_routing::{MissingModel, RoutingConfig};
///
/// let builder = RoutingConfig::builder().missing_model(MissingModel::Reject);
/// # drop(builder);
/// assert_eq!("forward".parse(), Ok(MissingModel::Forward));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingModel {
    /// Route to the endpoint's fallback model.
    #[default]
    Fallback,
    /// Return 400 `model_required`.
    Reject,
    /// Forward the request unchanged.
    Forward,
}

impl MissingModel {
    pub(crate) const ALL: [Self; 3] = [Self::Fallback, Self::Reject, Self::Forward];

    /// Returns the policy in lower case, as the variable `MISSING_MODEL` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::Reject => "reject",
            Self::Forward => "forward",
        }
    }
}

impl fmt::Display for MissingModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The operator's settings for names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) unknown: UnknownModel,
    pub(crate) missing: MissingModel,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) aliases: Aliases,
}

impl Policy {
    /// Returns the entry that this name stands for by the catalog, or else by an alias.
    pub(crate) fn find<'a>(&self, catalog: &'a Catalog, name: &str) -> Option<CatalogMatch<'a>> {
        catalog
            .find(name)
            .or_else(|| self.aliases.find(catalog, name))
    }
}

/// The fallback model of each endpoint. [`Endpoint::Other`] has none: a name never falls back to a
/// model of another kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fallbacks {
    llm: Option<String>,
    embedding: Option<String>,
    tts: Option<String>,
    stt: Option<String>,
}

impl Fallbacks {
    /// Returns the fallback models of the Morpheus marketplace's catalog.
    pub(crate) fn morpheus() -> Self {
        Self {
            llm: Some("mistral-31-24b".into()),
            embedding: Some("text-embedding-bge-m3".into()),
            tts: Some("tts-kokoro".into()),
            stt: Some("whisper-1".into()),
        }
    }

    pub(crate) fn get(&self, endpoint: Endpoint) -> Option<&str> {
        match endpoint {
            Endpoint::Llm => self.llm.as_deref(),
            Endpoint::Embedding => self.embedding.as_deref(),
            Endpoint::Tts => self.tts.as_deref(),
            Endpoint::Stt => self.stt.as_deref(),
            Endpoint::Other => None,
        }
    }

    /// Returns the place of the endpoint's fallback, or `None` if it can have none.
    pub(crate) fn get_mut(&mut self, endpoint: Endpoint) -> Option<&mut Option<String>> {
        match endpoint {
            Endpoint::Llm => Some(&mut self.llm),
            Endpoint::Embedding => Some(&mut self.embedding),
            Endpoint::Tts => Some(&mut self.tts),
            Endpoint::Stt => Some(&mut self.stt),
            Endpoint::Other => None,
        }
    }
}
