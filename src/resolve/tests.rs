//! Tests of the resolution of names.

use serde_json::json;

use super::*;

fn catalog(models: &[(&str, &str)]) -> Catalog {
    let models: Vec<_> = models
        .iter()
        .enumerate()
        .map(|(id, (name, model_type))| {
            json!({"Id": id.to_string(), "Name": name, "ModelType": model_type})
        })
        .collect();
    Catalog::parse(json!({ "models": models }).to_string().as_bytes()).unwrap()
}

/// Returns one model of each type, each the default fallback.
fn fallbacks() -> Catalog {
    catalog(&[
        ("mistral-31-24b", "LLM"),
        ("text-embedding-bge-m3", "EMBEDDING"),
        ("tts-kokoro", "TTS"),
        ("whisper-1", "STT"),
    ])
}

fn policy(unknown: UnknownModel) -> Policy {
    Policy {
        unknown,
        missing: MissingModel::Fallback,
        fallbacks: Fallbacks::morpheus(),
        aliases: Aliases::default(),
    }
}

fn policy_with_llm_fallback(unknown: UnknownModel, fallback: Option<&str>) -> Policy {
    let mut policy = policy(unknown);
    *policy.fallbacks.get_mut(Endpoint::Llm).unwrap() = fallback.map(Into::into);
    policy
}

/// Resolves like the layer, but without a refresh in between.
fn resolve(
    catalog: &Catalog,
    policy: &Policy,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> Result<Outcome, ResolveError> {
    resolve_known(catalog, policy, requested, endpoint)
        .unwrap_or_else(|| resolve_unknown(catalog, policy, requested, endpoint))
}

fn routed(
    catalog: &Catalog,
    policy: &Policy,
    requested: Option<&str>,
    endpoint: Endpoint,
) -> RoutedModel {
    match resolve(catalog, policy, requested, endpoint) {
        Ok(Outcome::Route(routed)) => routed,
        outcome => panic!("{outcome:?}"),
    }
}

/// Returns the serving model's name and the reason; `None` for [`Outcome::Forward`].
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
fn known_name_ignores_the_policy() {
    let mismatch = || ResolveError::TypeMismatch {
        name: "tts-kokoro".into(),
        model_type: ModelType::Tts,
    };
    for unknown in POLICIES {
        let served = |name, endpoint| served(&fallbacks(), &policy(unknown), Some(name), endpoint);
        for (name, endpoint, expected) in [
            (
                "WHISPER 1",
                Endpoint::Stt,
                Ok(("whisper-1", ResolvedBy::Slug)),
            ),
            // The fallback's name is no fallback.
            (
                "mistral-31-24b",
                Endpoint::Llm,
                Ok(("mistral-31-24b", ResolvedBy::Name)),
            ),
            ("TTS-kokoro", Endpoint::Llm, Err(mismatch())),
        ] {
            let expected = expected.map(|(name, reason)| Some((name.into(), reason)));
            assert_eq!(served(name, endpoint), expected, "{unknown:?}");
        }
    }
}

#[test]
fn each_endpoint_has_its_fallback() {
    for (endpoint, fallback) in [
        (Endpoint::Llm, "mistral-31-24b"),
        (Endpoint::Embedding, "text-embedding-bge-m3"),
        (Endpoint::Tts, "tts-kokoro"),
        (Endpoint::Stt, "whisper-1"),
    ] {
        for requested in [Some("gpt-9"), None] {
            let policy = policy(UnknownModel::Fallback);
            let routed = routed(&fallbacks(), &policy, requested, endpoint);
            assert_eq!((routed.name(), routed.requested()), (fallback, requested));
            assert!(routed.is_fallback());
        }
    }
}

#[test]
fn fallback_may_be_an_id_or_alias() {
    for fallback in ["0", "Mistral 31 24B"] {
        let policy = policy_with_llm_fallback(UnknownModel::Fallback, Some(fallback));
        let served = served(&fallbacks(), &policy, Some("x"), Endpoint::Llm);
        let expected = ("mistral-31-24b".into(), ResolvedBy::Fallback);
        assert_eq!(served, Ok(Some(expected)));
    }
}

#[test]
fn without_fallback_unknown_names_are_not_found() {
    let policy = policy_with_llm_fallback(UnknownModel::Fallback, None);
    let served = |name, endpoint| served(&fallbacks(), &policy, name, endpoint);
    for (name, suggestions) in [("gpt-9", &[][..]), ("mistral-31-24", &["mistral-31-24b"])] {
        let expected = Err(not_found(suggestions));
        assert_eq!(served(Some(name), Endpoint::Llm), expected);
    }
    // The other endpoints keep theirs.
    assert!(served(Some("gpt-9"), Endpoint::Tts).is_ok());
    let policy = policy_with_llm_fallback(UnknownModel::Forward, None);
    let outcome = resolve(&fallbacks(), &policy, Some("x"), Endpoint::Llm);
    assert!(matches!(outcome, Ok(Outcome::Forward)), "{outcome:?}");
}

#[test]
fn nothing_falls_back_on_other_paths() {
    for unknown in POLICIES {
        for name in ["gpt-9", "mistral-31-24"] {
            let served = served(&fallbacks(), &policy(unknown), Some(name), Endpoint::Other);
            assert_eq!(served, Ok(None), "{unknown}");
        }
    }
}

#[test]
fn policy_decides_about_missing_names_before_the_catalog() {
    use MissingModel::{Fallback, Forward, Reject};

    for (missing, fallback, is_required) in [
        (Fallback, Some("a"), None),
        (Fallback, None, Some(true)),
        (Reject, Some("a"), Some(true)),
        (Reject, None, Some(true)),
        (Forward, Some("a"), Some(false)),
        (Forward, None, Some(false)),
    ] {
        let policy = Policy {
            missing,
            ..policy_with_llm_fallback(UnknownModel::Fallback, fallback)
        };
        let resolved = resolve_missing(&policy, Endpoint::Llm).map(|resolved| match resolved {
            Err(ResolveError::ModelRequired) => true,
            Ok(Outcome::Forward) => false,
            resolved => panic!("{resolved:?}"),
        });
        assert_eq!(resolved, is_required, "{missing} {fallback:?}");
    }
}

#[test]
fn unusable_fallback_is_an_error() {
    let catalog = catalog(&[("other", "LLM"), ("mistral-31-24b", "TTS")]);
    let policy = policy(UnknownModel::Fallback);
    let served = |name, endpoint| served(&catalog, &policy, name, endpoint);
    for requested in [Some("gpt-9"), None] {
        let mismatch = ResolveError::FallbackMismatch {
            fallback: "mistral-31-24b".into(),
            model_type: ModelType::Tts,
        };
        assert_eq!(served(requested, Endpoint::Llm), Err(mismatch));
        let missing = ResolveError::FallbackMissing {
            fallback: "whisper-1".into(),
        };
        assert_eq!(served(requested, Endpoint::Stt), Err(missing));
    }
}

#[test]
fn unknown_name_or_fallback_may_be_in_a_newer_catalog() {
    let catalog = catalog(&[("other", "LLM")]);
    let policy = policy(UnknownModel::Fallback);
    for (requested, is_known) in [(Some("gpt-9"), false), (None, false), (Some("other"), true)] {
        let resolved = resolve_known(&catalog, &policy, requested, Endpoint::Llm);
        assert_eq!(resolved.is_some(), is_known, "{requested:?}");
    }
}

#[test]
fn policy_decides_about_unknown_names() {
    let fallback = || Ok(Some(("mistral-31-24b".into(), ResolvedBy::Fallback)));
    let suggested = || Err(not_found(&["mistral-31-24b"]));
    for (unknown, similar, other) in [
        (UnknownModel::Fallback, fallback(), fallback()),
        (UnknownModel::Suggest, suggested(), fallback()),
        (UnknownModel::Reject, suggested(), Err(not_found(&[]))),
        (UnknownModel::Forward, Ok(None), Ok(None)),
    ] {
        let served = |name| served(&fallbacks(), &policy(unknown), name, Endpoint::Llm);
        assert_eq!(served(Some("Mistral_31 24")), similar, "{unknown:?}");
        assert_eq!(served(Some("gpt-9")), other, "{unknown:?}");
        assert_eq!(served(None), fallback(), "{unknown:?}");
    }
}

fn similar(catalog: &Catalog, requested: &str, endpoint: Endpoint) -> Vec<String> {
    suggestions(catalog, &Aliases::default(), requested, endpoint)
}

#[test]
fn suggests_the_three_most_similar_names_that_fit_the_endpoint() {
    let catalog = catalog(&[
        ("llama-3.3-70b-instruct", "LLM"),
        ("llama-3.3-70b", "LLM"),
        ("Llama 3.3 7B", "UNKNOWN"),
        ("llama-3.2-3b", "LLM"),
        ("llama-3.3-70", "TTS"),
        ("qwen3-4b", "LLM"),
    ]);
    for (requested, endpoint, expected) in [
        (
            "LLAMA_3.3 70bb",
            Endpoint::Llm,
            &["llama-3.3-70b", "Llama 3.3 7B", "llama-3.2-3b"][..],
        ),
        (
            "llama-3.3-700",
            Endpoint::Tts,
            &["llama-3.3-70", "Llama 3.3 7B"],
        ),
        ("gpt-9", Endpoint::Llm, &[]),
    ] {
        assert_eq!(similar(&catalog, requested, endpoint), expected);
    }
}

#[test]
fn suggests_no_name_that_resolves_to_another_entry() {
    let models = json!([
        {"Id": "1", "Name": "Grand", "ModelType": "LLM", "CreatedAt": 1},
        {"Id": "2", "Name": "grant", "ModelType": "LLM"},
        {"Id": "3", "Name": "grand", "ModelType": "TTS", "CreatedAt": 2},
        {"Id": "4", "Name": "grant", "ModelType": "LLM"},
    ]);
    let catalog = Catalog::parse(json!({ "models": models }).to_string().as_bytes()).unwrap();
    for (endpoint, expected) in [
        (Endpoint::Llm, &["grant"][..]),
        (Endpoint::Other, &["grant", "grand"]),
    ] {
        assert_eq!(similar(&catalog, "granx", endpoint), expected);
    }
}

#[test]
fn suggests_nothing_for_long_names() {
    let longest = "x".repeat(MAX_COMPARED_LEN);
    let too_long = "x".repeat(MAX_COMPARED_LEN + 1);
    let catalog = catalog(&[(&longest, "LLM"), (&too_long, "LLM")]);
    for (requested, expected) in [
        (&longest[1..], &[&*longest][..]),
        (&longest, &[&longest]),
        (&too_long, &[]),
        // The limit is in bytes.
        (&"é".repeat(MAX_COMPARED_LEN / 2 + 1), &[]),
    ] {
        assert_eq!(similar(&catalog, requested, Endpoint::Llm), expected);
    }
}

#[test]
fn debug_shows_the_resolution() {
    let policy = policy(UnknownModel::Fallback);
    let routed = routed(&fallbacks(), &policy, Some("x"), Endpoint::Tts);
    assert_eq!((routed.id(), routed.model_type()), ("2", &ModelType::Tts));
    assert_eq!(routed.entry().name(), "tts-kokoro");
    assert_eq!(
        format!("{routed:?}"),
        "RoutedModel { requested: Some(\"x\"), name: \"tts-kokoro\", id: \"2\", \
         resolved_by: Fallback, .. }"
    );
}

#[test]
fn routed_model_of_a_test_is_resolved_by_its_entry() {
    let entry = ModelEntry::new("Deep Seek", "0xAB").with_venice_id("ds");
    for (requested, resolved_by) in [
        (Some("Deep Seek"), ResolvedBy::Name),
        (Some("deep seek"), ResolvedBy::Name),
        (Some("0xab"), ResolvedBy::Id),
        (Some("DS"), ResolvedBy::Alias),
        (Some("Deep_Seek"), ResolvedBy::Slug),
        (Some("other"), ResolvedBy::Fallback),
        (None, ResolvedBy::Fallback),
    ] {
        let model = RoutedModel::new(entry.clone(), requested);
        assert_eq!(model.requested(), requested);
        assert_eq!(model.resolved_by(), resolved_by, "{requested:?}");
        assert_eq!((model.name(), model.id()), ("Deep Seek", "0xAB"));
    }
}
