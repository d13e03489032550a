//! From the requested name to the model that serves: pure.

use std::{fmt, sync::Arc};

use crate::{
    endpoint::Endpoint,
    registry::{Catalog, ModelEntry, ModelType, ResolvedBy, slug},
};

/// What to do with a name that the catalog does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownModel {
    /// Route to the endpoint's fallback model.
    #[default]
    Fallback,
    /// Answer 404 with suggestions when a catalog name is nearly the same,
    /// else route to the fallback.
    Suggest,
    /// Answer 404, with suggestions where there are any.
    Reject,
    /// Pass the request on unchanged.
    Forward,
}

/// The model that serves a request, in the extensions of the request (for
/// inner services) and of the response (for outer ones: billing, logs).
///
/// Cheap to clone.
#[derive(Clone)]
pub struct RoutedModel {
    requested: Option<Arc<str>>,
    entry: Arc<ModelEntry>,
    resolved_by: ResolvedBy,
}

impl RoutedModel {
    /// The name that the client sent; `None` when it sent none.
    ///
    /// This is the client's own text, unbounded and unescaped: do not use it
    /// as a metric label or write it to a log as it is.
    pub fn requested(&self) -> Option<&str> {
        self.requested.as_deref()
    }

    /// The name of the model that serves, spelled as in the catalog.
    pub fn name(&self) -> &str {
        self.entry.name()
    }

    /// The ID that goes upstream.
    pub fn id(&self) -> &str {
        self.entry.id()
    }

    /// What the model does.
    pub fn model_type(&self) -> &ModelType {
        self.entry.model_type()
    }

    /// Why this model serves.
    pub fn resolved_by(&self) -> ResolvedBy {
        self.resolved_by
    }

    /// Whether another model than the one asked for serves, or none was asked
    /// for.
    pub fn is_fallback(&self) -> bool {
        self.resolved_by == ResolvedBy::Fallback
    }

    /// The model's entry in the catalog.
    pub fn entry(&self) -> &ModelEntry {
        &self.entry
    }
}

impl fmt::Debug for RoutedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedModel")
            .field("requested", &self.requested)
            .field("name", &self.name())
            .field("id", &self.id())
            .field("resolved_by", &self.resolved_by)
            .finish_non_exhaustive()
    }
}

/// The operator's choices about names.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) unknown: UnknownModel,
    pub(crate) fallbacks: Fallbacks,
}

/// The fallback model of each kind of endpoint; an empty name is none.
#[derive(Clone, Debug)]
pub(crate) struct Fallbacks {
    pub(crate) llm: String,
    pub(crate) embedding: String,
    pub(crate) tts: String,
    pub(crate) stt: String,
}

impl Fallbacks {
    pub(crate) fn get(&self, endpoint: Endpoint) -> Option<&str> {
        let name = match endpoint {
            Endpoint::Llm | Endpoint::Other => &self.llm,
            Endpoint::Embedding => &self.embedding,
            Endpoint::Tts => &self.tts,
            Endpoint::Stt => &self.stt,
        };
        (!name.is_empty()).then_some(name)
    }
}

impl Default for Fallbacks {
    fn default() -> Self {
        Self {
            llm: "mistral-31-24b".into(),
            embedding: "text-embedding-bge-m3".into(),
            tts: "tts-kokoro".into(),
            stt: "whisper-1".into(),
        }
    }
}

/// What to do with the request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Route(RoutedModel),
    /// [`UnknownModel::Forward`]: pass the request on unchanged.
    Forward,
}

/// Why no model can serve.
#[derive(Debug, PartialEq)]
pub(crate) enum ResolveError {
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

/// Resolves a name that the catalog knows. `None`: it does not know it, and
/// may be worth a refresh before [`unknown`] decides.
///
/// For a request without a name this is about the fallback's.
pub(crate) fn known(
    catalog: &Catalog,
    policy: &Policy,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Option<Result<Outcome, ResolveError>> {
    let Some(name) = requested else {
        let Some(fallback) = policy.fallbacks.get(endpoint) else {
            return Some(Err(ResolveError::NotFound {
                suggestions: Vec::new(),
            }));
        };
        return use_fallback(catalog, fallback, None, endpoint);
    };
    let (entry, resolved_by) = catalog.find(name)?;
    if !endpoint.accepts(entry.model_type()) {
        return Some(Err(ResolveError::TypeMismatch {
            name: entry.name().into(),
            model_type: entry.model_type().clone(),
        }));
    }
    let requested = if name == entry.name() {
        Arc::clone(entry.shared_name())
    } else {
        name.into()
    };
    Some(Ok(Outcome::Route(RoutedModel {
        requested: Some(requested),
        entry: Arc::clone(entry),
        resolved_by,
    })))
}

/// Decides by policy about a name for which [`known`] found nothing.
pub(crate) fn unknown(
    catalog: &Catalog,
    policy: &Policy,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Result<Outcome, ResolveError> {
    let fallback = policy.fallbacks.get(endpoint);
    if let Some(name) = requested {
        if policy.unknown == UnknownModel::Forward {
            return Ok(Outcome::Forward);
        }
        let reject = policy.unknown == UnknownModel::Reject || fallback.is_none();
        if reject || policy.unknown == UnknownModel::Suggest {
            let suggestions = suggestions(catalog, name, endpoint);
            if reject || !suggestions.is_empty() {
                return Err(ResolveError::NotFound { suggestions });
            }
        }
    }
    let Some(fallback) = fallback else {
        return Err(ResolveError::NotFound {
            suggestions: Vec::new(),
        });
    };
    use_fallback(catalog, fallback, requested, endpoint).unwrap_or_else(|| {
        Err(ResolveError::FallbackMissing {
            fallback: fallback.into(),
        })
    })
}

/// For a name that is to be found, whatever the policy.
pub(crate) fn not_found(catalog: &Catalog, name: &str) -> ResolveError {
    ResolveError::NotFound {
        suggestions: suggestions(catalog, name, Endpoint::Other),
    }
}

fn use_fallback(
    catalog: &Catalog,
    fallback: &str,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Option<Result<Outcome, ResolveError>> {
    let (entry, _) = catalog.find(fallback)?;
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
    })))
}

/// Names longer than this, in bytes, get no suggestions: the work of comparing
/// grows with the length, and it is a stranger who chooses it.
const MAX_COMPARED_LEN: usize = 256;
/// No more catalog entries than this are compared with a name, for the same
/// reason.
const MAX_COMPARED_ENTRIES: usize = 2_000;
const MAX_SUGGESTIONS: usize = 3;
/// Where Jaro-Winkler, which favours a common beginning, tells a slip from
/// another name.
const NEAR: f64 = 0.85;

/// The catalog names nearest to `requested` that can serve `endpoint`, nearest
/// first.
fn suggestions(catalog: &Catalog, requested: &str, endpoint: Endpoint) -> Vec<String> {
    if requested.len() > MAX_COMPARED_LEN {
        return Vec::new();
    }
    let requested = slug(&requested.to_lowercase());
    let mut near: Vec<_> = catalog
        .entries()
        .take(MAX_COMPARED_ENTRIES)
        .filter(|entry| entry.name().len() <= MAX_COMPARED_LEN)
        .filter(|entry| endpoint.accepts(entry.model_type()))
        .filter_map(|entry| {
            let nearness = strsim::jaro_winkler(&requested, &slug(&entry.name().to_lowercase()));
            (nearness >= NEAR).then_some((nearness, entry.name()))
        })
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.dedup_by_key(|(_, name)| *name);
    near.into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, name)| name.into())
        .collect()
}
