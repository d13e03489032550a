//! From the requested name to the model that serves: pure.

use std::{fmt, sync::Arc};

use crate::{
    endpoint::Endpoint,
    registry::{Catalog, ModelEntry, ModelType, ResolvedBy, slug},
    text::sanitize_for_log,
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
    /// Absent when the client sent none, and in the usual case that it is the
    /// entry's name.
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
        match &self.requested {
            Some(name) => Some(name),
            None if self.is_fallback() => None,
            None => Some(self.name()),
        }
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
            .field("requested", &self.requested().map(sanitize_for_log))
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

    pub(crate) fn get_mut(&mut self, endpoint: Endpoint) -> &mut String {
        match endpoint {
            Endpoint::Llm | Endpoint::Other => &mut self.llm,
            Endpoint::Embedding => &mut self.embedding,
            Endpoint::Tts => &mut self.tts,
            Endpoint::Stt => &mut self.stt,
        }
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
pub(crate) fn resolve_known(
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
    Some(Ok(Outcome::Route(RoutedModel {
        requested: (name != entry.name()).then(|| name.into()),
        entry: Arc::clone(entry),
        resolved_by,
    })))
}

/// Decides by policy about a name for which [`resolve_known`] found nothing.
pub(crate) fn resolve_unknown(
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
    // An entry that lost its name to a newer one cannot be asked for by it.
    let mut near: Vec<_> = catalog
        .named_entries()
        .take(MAX_COMPARED_ENTRIES)
        .filter(|entry| entry.name().len() <= MAX_COMPARED_LEN)
        .filter(|entry| endpoint.accepts(entry.model_type()))
        .filter_map(|entry| {
            let nearness = strsim::jaro_winkler(&requested, &slug(&entry.name().to_lowercase()));
            (nearness >= NEAR).then_some((nearness, entry.name()))
        })
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, name)| name.into())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(models: &[(&str, &str)]) -> Catalog {
        let models: Vec<_> = models
            .iter()
            .enumerate()
            .map(|(id, (name, model_type))| json!({"Id": id.to_string(), "Name": name, "ModelType": model_type}))
            .collect();
        Catalog::parse(json!({ "models": models }).to_string().as_bytes()).unwrap()
    }

    /// One model of each type, all of them the default fallbacks.
    fn fallbacks() -> Catalog {
        catalog(&[
            ("mistral-31-24b", "LLM"),
            ("text-embedding-bge-m3", "EMBEDDING"),
            ("tts-kokoro", "TTS"),
            ("whisper-1", "STT"),
        ])
    }

    fn policy(unknown: UnknownModel) -> Policy {
        let fallbacks = Fallbacks::default();
        Policy { unknown, fallbacks }
    }

    /// As the layer does it, without a refresh in between.
    fn resolve(
        catalog: &Catalog,
        policy: &Policy,
        requested: Option<&str>,
        endpoint: Endpoint,
    ) -> Result<Outcome, ResolveError> {
        resolve_known(catalog, policy, requested, endpoint)
            .unwrap_or_else(|| resolve_unknown(catalog, policy, requested, endpoint))
    }

    /// The name that serves, and why; `None` for [`Outcome::Forward`].
    fn served(
        catalog: &Catalog,
        policy: &Policy,
        requested: Option<&str>,
        endpoint: Endpoint,
    ) -> Result<Option<(String, ResolvedBy)>, ResolveError> {
        Ok(match resolve(catalog, policy, requested, endpoint)? {
            Outcome::Route(routed) => Some((routed.name().into(), routed.resolved_by())),
            Outcome::Forward => None,
        })
    }

    const INFERENCE: [(Endpoint, &str); 4] = [
        (Endpoint::Llm, "mistral-31-24b"),
        (Endpoint::Embedding, "text-embedding-bge-m3"),
        (Endpoint::Tts, "tts-kokoro"),
        (Endpoint::Stt, "whisper-1"),
    ];
    const POLICIES: [UnknownModel; 4] = [
        UnknownModel::Fallback,
        UnknownModel::Suggest,
        UnknownModel::Reject,
        UnknownModel::Forward,
    ];

    fn not_found(suggestions: &[&str]) -> ResolveError {
        let suggestions = suggestions.iter().map(ToString::to_string).collect();
        ResolveError::NotFound { suggestions }
    }

    #[test]
    fn a_known_name_is_routed_whatever_the_policy() {
        for unknown in POLICIES {
            let found = served(
                &fallbacks(),
                &policy(unknown),
                Some("WHISPER 1"),
                Endpoint::Stt,
            );
            assert_eq!(found, Ok(Some(("whisper-1".into(), ResolvedBy::Slug))));
        }
    }

    #[test]
    fn each_endpoint_has_its_own_fallback_for_unknown_and_missing_names() {
        let others = [(Endpoint::Other, "mistral-31-24b")];
        for (endpoint, fallback) in INFERENCE.into_iter().chain(others) {
            for requested in [Some("gpt-9"), None] {
                let policy = policy(UnknownModel::Fallback);
                let outcome = resolve(&fallbacks(), &policy, requested, endpoint);
                let Ok(Outcome::Route(routed)) = outcome else {
                    panic!("{outcome:?}");
                };
                assert_eq!(routed.name(), fallback);
                assert_eq!(routed.requested(), requested);
                assert!(routed.is_fallback());
            }
        }
    }

    #[test]
    fn a_fallback_may_be_given_by_id_or_alias_but_is_a_fallback_still() {
        let mut policy = policy(UnknownModel::Fallback);
        for spelling in ["0", "Mistral 31 24B"] {
            policy.fallbacks.llm = spelling.into();
            let expected = Ok(Some(("mistral-31-24b".into(), ResolvedBy::Fallback)));
            assert_eq!(
                served(&fallbacks(), &policy, Some("x"), Endpoint::Llm),
                expected
            );
        }
    }

    #[test]
    fn asking_for_the_fallback_by_name_is_no_fallback() {
        let policy = policy(UnknownModel::Fallback);
        let found = served(&fallbacks(), &policy, Some("mistral-31-24b"), Endpoint::Llm);
        assert_eq!(found, Ok(Some(("mistral-31-24b".into(), ResolvedBy::Name))));
    }

    #[test]
    fn a_model_of_the_wrong_type_is_neither_routed_nor_replaced() {
        for unknown in POLICIES {
            let error = served(
                &fallbacks(),
                &policy(unknown),
                Some("TTS-kokoro"),
                Endpoint::Llm,
            );
            let expected = ResolveError::TypeMismatch {
                name: "tts-kokoro".into(),
                model_type: ModelType::Tts,
            };
            assert_eq!(error, Err(expected));
        }
    }

    #[test]
    fn without_a_fallback_an_unknown_or_missing_name_is_not_found() {
        let mut policy = policy(UnknownModel::Fallback);
        policy.fallbacks.llm = String::new();
        for endpoint in [Endpoint::Llm, Endpoint::Other] {
            for requested in [Some("gpt-9"), None] {
                let error = served(&fallbacks(), &policy, requested, endpoint);
                assert_eq!(error, Err(not_found(&[])));
            }
            let near = served(&fallbacks(), &policy, Some("mistral-31-24"), endpoint);
            assert_eq!(near.unwrap_err(), not_found(&["mistral-31-24b"][..]));
        }
        // The others have theirs.
        assert!(served(&fallbacks(), &policy, None, Endpoint::Tts).is_ok());
    }

    #[test]
    fn a_fallback_that_is_missing_or_of_the_wrong_type_is_an_error() {
        let all = catalog(&[("other", "LLM"), ("mistral-31-24b", "TTS")]);
        let policy = policy(UnknownModel::Fallback);
        for (endpoint, fallback) in INFERENCE {
            for requested in [Some("gpt-9"), None] {
                let expected = match endpoint {
                    Endpoint::Llm => ResolveError::FallbackMismatch {
                        fallback: fallback.into(),
                        model_type: ModelType::Tts,
                    },
                    _ => ResolveError::FallbackMissing {
                        fallback: fallback.into(),
                    },
                };
                let error = served(&all, &policy, requested, endpoint);
                assert_eq!(error, Err(expected), "{endpoint} {requested:?}");
            }
        }
        // No path but an inference endpoint's has a type to mismatch.
        assert!(served(&all, &policy, Some("gpt-9"), Endpoint::Other).is_ok());
    }

    #[test]
    fn a_missing_fallback_is_worth_a_refresh_as_an_unknown_name_is() {
        let all = catalog(&[("other", "LLM")]);
        let policy = policy(UnknownModel::Fallback);
        for requested in [Some("gpt-9"), None] {
            assert!(resolve_known(&all, &policy, requested, Endpoint::Llm).is_none());
        }
        assert!(resolve_known(&all, &policy, Some("other"), Endpoint::Llm).is_some());
    }

    #[test]
    fn the_policies_differ_about_unknown_names() {
        let fallback = || Ok(Some(("mistral-31-24b".into(), ResolvedBy::Fallback)));
        let suggested = || Err(not_found(&["mistral-31-24b"]));
        for (unknown, near, far) in [
            (UnknownModel::Fallback, fallback(), fallback()),
            (UnknownModel::Suggest, suggested(), fallback()),
            (UnknownModel::Reject, suggested(), Err(not_found(&[]))),
            (UnknownModel::Forward, Ok(None), Ok(None)),
        ] {
            let served = |name| served(&fallbacks(), &policy(unknown), name, Endpoint::Llm);
            assert_eq!(served(Some("Mistral_31 24")), near, "{unknown:?}");
            assert_eq!(served(Some("gpt-9")), far, "{unknown:?}");
            assert_eq!(served(None), fallback(), "{unknown:?}");
        }
    }

    #[test]
    fn forwarding_needs_no_fallback() {
        let mut policy = policy(UnknownModel::Forward);
        policy.fallbacks.llm = String::new();
        assert_eq!(
            served(&fallbacks(), &policy, Some("x"), Endpoint::Llm),
            Ok(None)
        );
    }

    #[test]
    fn suggestions_are_the_three_nearest_in_order_and_fit_the_endpoint() {
        let all = catalog(&[
            ("llama-3.3-70b-instruct", "LLM"),
            ("llama-3.3-70b", "LLM"),
            ("Llama 3.3 7B", "UNKNOWN"),
            ("llama-3.2-3b", "LLM"),
            ("llama-3.3-70", "TTS"),
            ("qwen3-4b", "LLM"),
        ]);
        let expected = ["llama-3.3-70b", "Llama 3.3 7B", "llama-3.2-3b"];
        assert_eq!(suggestions(&all, "LLAMA_3.3 70bb", Endpoint::Llm), expected);
        let expected = ["llama-3.3-70", "Llama 3.3 7B"];
        assert_eq!(suggestions(&all, "llama-3.3-700", Endpoint::Tts), expected);
        assert!(suggestions(&all, "gpt-9", Endpoint::Llm).is_empty());
    }

    #[test]
    fn a_name_that_leads_to_another_entry_is_not_suggested() {
        let models = json!([
            {"Id": "1", "Name": "Grand", "ModelType": "LLM", "CreatedAt": 1},
            {"Id": "2", "Name": "grant", "ModelType": "LLM"},
            {"Id": "3", "Name": "grand", "ModelType": "TTS", "CreatedAt": 2},
            {"Id": "4", "Name": "grant", "ModelType": "LLM"},
        ]);
        let all = Catalog::parse(json!({ "models": models }).to_string().as_bytes()).unwrap();
        assert_eq!(suggestions(&all, "granx", Endpoint::Llm), ["grant"]);
        assert_eq!(
            suggestions(&all, "granx", Endpoint::Other),
            ["grant", "grand"]
        );
    }

    #[test]
    fn long_names_are_compared_with_nothing() {
        let name = "x".repeat(MAX_COMPARED_LEN);
        let too_long = "x".repeat(MAX_COMPARED_LEN + 1);
        let all = catalog(&[(&name, "LLM"), (&too_long, "LLM")]);
        assert_eq!(suggestions(&all, &name[1..], Endpoint::Llm), [&*name]);
        assert_eq!(suggestions(&all, &name, Endpoint::Llm), [&*name]);
        assert!(suggestions(&all, &too_long, Endpoint::Llm).is_empty());
        // It is bytes that count.
        assert!(suggestions(&all, &"é".repeat(129), Endpoint::Llm).is_empty());
    }

    #[test]
    fn a_routed_model_shows_neither_more_nor_less_than_is_useful() {
        let all = fallbacks();
        let outcome = resolve(
            &all,
            &policy(UnknownModel::Fallback),
            Some("x"),
            Endpoint::Tts,
        );
        let Ok(Outcome::Route(routed)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((routed.id(), routed.model_type()), ("2", &ModelType::Tts));
        assert_eq!(routed.entry().name(), "tts-kokoro");
        let shown = format!("{routed:?}");
        assert!(
            shown.contains("tts-kokoro") && shown.contains("Fallback"),
            "{shown}"
        );
    }
}
