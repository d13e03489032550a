//! Resolves a requested name to the model that serves it. Pure: catalog, policy, name and endpoint
//! in, outcome out.

mod aliases;
mod policy;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub use self::policy::{MissingModel, UnknownModel};
pub(crate) use self::{
    aliases::Aliases,
    policy::{Fallbacks, Policy},
};
use crate::{
    endpoint::Endpoint,
    registry::{Catalog, CatalogMatch, ModelEntry, ModelType, ResolvedBy, slug},
    text::sanitize_for_log,
};

/// The model that serves a request.
///
/// The layer puts it into the extensions of the request, for inner services, and of the response,
/// for outer ones (billing, logs). Clones are cheap.
///
/// # Examples
///
/// A label for billing, in a service inside or outside of the layer:
///
/// ```
/// use http::Request;
/// use tower_model_routing::RoutedModel;
///
/// fn billed_model<B>(request: &Request<B>) -> Option<String> {
///     let routed = request.extensions().get::<RoutedModel>()?;
///     let note = if routed.is_fallback() { " (fallback)" } else { "" };
///     Some(format!("{}{note}", routed.name()))
/// }
///
/// assert_eq!(billed_model(&Request::new(())), None);
/// ```
#[derive(Clone)]
pub struct RoutedModel {
    /// `None` if the client sent no name, and in the common case that it is the entry's.
    requested: Option<Arc<str>>,
    entry: Arc<ModelEntry>,
    resolved_by: ResolvedBy,
    operation: Option<&'static str>,
}

impl RoutedModel {
    /// Returns the model for a test of a service that takes it from the extensions of a request.
    ///
    /// `requested` is what the client sent as its model; a blank name counts as none. If it does not
    /// stand for `entry`, is `None`, or no catalog would have the entry because its name or ID is
    /// empty, the model is a [fallback](Self::is_fallback).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::{RoutedModel, registry::ModelEntry};
    ///
    /// /// A handler, in axum with `Extension<RoutedModel>`.
    /// fn handler(model: &RoutedModel) -> String {
    ///     let note = if model.is_fallback() { " (fallback)" } else { "" };
    ///     format!("{}{note}", model.name())
    /// }
    ///
    /// let entry = ModelEntry::new("venice-uncensored", "0xb603");
    /// let model = RoutedModel::new(entry.clone(), Some("Venice-Uncensored"));
    /// assert_eq!(handler(&model), "venice-uncensored");
    ///
    /// let fallback = RoutedModel::new(entry, Some("no-such-model"));
    /// assert_eq!(handler(&fallback), "venice-uncensored (fallback)");
    /// ```
    pub fn new(entry: impl Into<Arc<ModelEntry>>, requested: Option<&str>) -> Self {
        let entry = entry.into();
        let requested = requested.filter(|name| !name.trim().is_empty());
        let resolved_by = requested.and_then(|name| {
            // As by a catalog of this entry alone.
            let catalog = Catalog::from_entries([ModelEntry::clone(&entry)]).ok()?;
            Some(catalog.find(name)?.resolved_by)
        });
        Self {
            requested: requested.map(Arc::from),
            entry,
            resolved_by: resolved_by.unwrap_or(ResolvedBy::Fallback),
            operation: None,
        }
    }

    /// Sets the operation of the request.
    pub(crate) fn for_operation(self, operation: Option<&'static str>) -> Self {
        Self { operation, ..self }
    }

    /// Returns the name that the client sent, or `None` if it sent none.
    ///
    /// This is the client's own text, unbounded and unescaped: do not use it as a metric label or
    /// write it to a log without escaping.
    pub fn requested(&self) -> Option<&str> {
        match &self.requested {
            Some(name) => Some(name),
            None if self.is_fallback() => None,
            None => Some(self.name()),
        }
    }

    /// Returns the catalog name of the model.
    pub fn name(&self) -> &str {
        self.entry.name()
    }

    /// Returns the ID that the inner service receives.
    pub fn id(&self) -> &str {
        self.entry.id()
    }

    /// Returns the type of the model.
    pub fn model_type(&self) -> &ModelType {
        self.entry.model_type()
    }

    /// Returns the reason why this model serves the request.
    pub fn resolved_by(&self) -> ResolvedBy {
        self.resolved_by
    }

    /// Returns the operation of the request, such as `chat` or `embeddings`, as in
    /// `gen_ai.operation.name` of the [span](crate#tracing).
    ///
    /// Returns `None` if the path is not one of an LLM API, and of a model from [`new`](Self::new).
    pub fn operation(&self) -> Option<&'static str> {
        self.operation
    }

    /// Returns `true` if the client requested another model, or none.
    pub fn is_fallback(&self) -> bool {
        self.resolved_by == ResolvedBy::Fallback
    }

    /// Returns the model's catalog entry.
    pub fn entry(&self) -> &ModelEntry {
        &self.entry
    }
}

impl fmt::Debug for RoutedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedModel")
            .field("requested", &self.requested().map(sanitize_for_log))
            .field("name", &self.name())
            .field("id", &self.id())
            .field("resolved_by", &self.resolved_by)
            .finish_non_exhaustive()
    }
}

/// The result of resolving a request's name.
#[derive(Debug)]
pub(crate) enum Outcome {
    Route(RoutedModel),
    /// Forward the request unchanged.
    Forward,
}

/// The reason why no model can serve a request.
#[derive(Debug, PartialEq)]
pub(crate) enum ResolveError {
    /// The request names no model, and no fallback may serve it.
    ModelRequired,
    NotFound {
        suggestions: Vec<String>,
    },
    TypeMismatch {
        name: String,
        model_type: ModelType,
    },
    FallbackMissing {
        fallback: String,
    },
    FallbackMismatch {
        fallback: String,
        model_type: ModelType,
    },
}

/// Resolves a missing name by the policy alone. Returns `None` if the endpoint's fallback serves
/// it.
pub(crate) fn resolve_missing(
    policy: &Policy,
    endpoint: Endpoint,
) -> Option<Result<Outcome, ResolveError>> {
    match policy.missing {
        MissingModel::Forward => Some(Ok(Outcome::Forward)),
        MissingModel::Fallback if policy.fallbacks.get(endpoint).is_some() => None,
        MissingModel::Fallback | MissingModel::Reject => Some(Err(ResolveError::ModelRequired)),
    }
}

/// Resolves a name by the catalog and the aliases, and a missing name to the fallback.
///
/// Returns `None` if a newer catalog could decide otherwise: for an unknown name, and for a
/// missing one whose fallback is unknown.
pub(crate) fn resolve_known(
    catalog: &Catalog,
    policy: &Policy,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Option<Result<Outcome, ResolveError>> {
    let Some(name) = requested else {
        let Some(fallback) = policy.fallbacks.get(endpoint) else {
            return Some(Err(ResolveError::ModelRequired));
        };
        return use_fallback(catalog, fallback, None, endpoint);
    };
    let CatalogMatch { entry, resolved_by } = policy.find(catalog, name)?;
    if !endpoint.accepts(entry.model_type()) {
        return Some(Err(ResolveError::TypeMismatch {
            name: entry.name().into(),
            model_type: entry.model_type().clone(),
        }));
    }
    Some(Ok(Outcome::Route(RoutedModel {
        requested: (name != entry.name()).then(|| name.into()),
        entry: Arc::clone(entry),
        resolved_by,
        operation: None,
    })))
}

/// Resolves by policy what [`resolve_known`] could not.
pub(crate) fn resolve_unknown(
    catalog: &Catalog,
    policy: &Policy,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Result<Outcome, ResolveError> {
    let fallback = policy.fallbacks.get(endpoint);
    if let Some(name) = requested {
        if policy.unknown == UnknownModel::Forward || !endpoint.is_inference() {
            return Ok(Outcome::Forward);
        }
        let must_reject = policy.unknown == UnknownModel::Reject || fallback.is_none();
        if must_reject || policy.unknown == UnknownModel::Suggest {
            let suggestions = suggestions(catalog, &policy.aliases, name, endpoint);
            if must_reject || !suggestions.is_empty() {
                return Err(ResolveError::NotFound { suggestions });
            }
        }
    }
    let Some(fallback) = fallback else {
        return Err(ResolveError::ModelRequired);
    };
    use_fallback(catalog, fallback, requested, endpoint).unwrap_or_else(|| {
        Err(ResolveError::FallbackMissing {
            fallback: fallback.into(),
        })
    })
}

/// Returns the error for a name that must be in the catalog, whatever the policy.
pub(crate) fn not_found(catalog: &Catalog, aliases: &Aliases, name: &str) -> ResolveError {
    ResolveError::NotFound {
        suggestions: suggestions(catalog, aliases, name, Endpoint::Other),
    }
}

fn use_fallback(
    catalog: &Catalog,
    fallback: &str,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Option<Result<Outcome, ResolveError>> {
    let CatalogMatch { entry, .. } = catalog.find(fallback)?;
    if !endpoint.accepts(entry.model_type()) {
        return Some(Err(ResolveError::FallbackMismatch {
            fallback: fallback.into(),
            model_type: entry.model_type().clone(),
        }));
    }
    Some(Ok(Outcome::Route(RoutedModel {
        requested: requested.map(Arc::from),
        entry: Arc::clone(entry),
        resolved_by: ResolvedBy::Fallback,
        operation: None,
    })))
}

/// The longest name, in bytes, that gets suggestions: the cost of a comparison grows with the
/// length, which the client chooses.
const MAX_COMPARED_LEN: usize = 256;
/// The number of catalog entries that a name is compared with, limited for the same reason.
const MAX_COMPARED_ENTRIES: usize = 2_000;
const MAX_SUGGESTIONS: usize = 3;
/// The least Jaro-Winkler similarity, which favours a common prefix, of a misspelled name.
const MIN_SIMILARITY: f64 = 0.85;

/// Returns the names most similar to `requested`, of the catalog and of the operator's aliases, that
/// can serve `endpoint`, most similar first.
fn suggestions(
    catalog: &Catalog,
    aliases: &Aliases,
    requested: &str,
    endpoint: Endpoint,
) -> Vec<String> {
    if requested.len() > MAX_COMPARED_LEN {
        return Vec::new();
    }
    let requested = slug(&requested.to_lowercase());
    // An entry that lost its name to a newer one cannot be requested by it.
    let names = catalog
        .named_entries()
        .take(MAX_COMPARED_ENTRIES)
        .map(|entry| (entry.name(), entry));
    let aliases = aliases.exact(catalog);
    let aliases = aliases.map(|(alias, found)| (alias, &**found.entry));
    let mut similar: Vec<_> = names
        .chain(aliases)
        .filter(|(name, _)| name.len() <= MAX_COMPARED_LEN)
        .filter(|(_, entry)| endpoint.accepts(entry.model_type()))
        .filter_map(|(name, _)| {
            let similarity = strsim::jaro_winkler(&requested, &slug(&name.to_lowercase()));
            (similarity >= MIN_SIMILARITY).then_some((similarity, name))
        })
        .collect();
    similar.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    similar
        .into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, name)| name.into())
        .collect()
}
