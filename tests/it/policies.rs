//! The policies for unknown and missing models, on every kind of endpoint.

use tower_model_routing::{Endpoint, MissingModel, UnknownModel};

use crate::support::{
    gateway::{CHAT, Gateway},
    log::capture,
};

const UNKNOWN: [UnknownModel; 4] = [
    UnknownModel::Fallback,
    UnknownModel::Suggest,
    UnknownModel::Reject,
    UnknownModel::Forward,
];
const MISSING: [MissingModel; 3] = [
    MissingModel::Fallback,
    MissingModel::Reject,
    MissingModel::Forward,
];

/// The kind of an endpoint, with a path.
const KINDS: [(Kind, &str); 6] = [
    (Kind::WithFallback, "/v1/chat/completions"),
    (Kind::WithoutFallback, "/v1/embeddings"),
    // Their requests need not name a model in the body.
    (Kind::LeftMissing, "/v1/responses"),
    (Kind::LeftMissing, "/api/chat"),
    (Kind::Other, "/v1/images/edits"),
    (Kind::Other, "/v1/images/generations"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    WithFallback,
    WithoutFallback,
    LeftMissing,
    Other,
}

/// The outcome of a request: a rejection's code, or what the inner service received.
#[derive(Debug, PartialEq)]
enum Outcome {
    Fallback,
    Unchanged,
    Rejected(&'static str),
}

const NOT_FOUND: Outcome = Outcome::Rejected("model_not_found");
const REQUIRED: Outcome = Outcome::Rejected("model_required");

fn for_unknown(policy: UnknownModel, kind: Kind, is_similar: bool) -> Outcome {
    match (policy, kind) {
        (_, Kind::Other) | (UnknownModel::Forward, _) => Outcome::Unchanged,
        (UnknownModel::Reject, _) | (_, Kind::WithoutFallback) => NOT_FOUND,
        (UnknownModel::Suggest, _) if is_similar => NOT_FOUND,
        _ => Outcome::Fallback,
    }
}

fn for_missing(policy: MissingModel, kind: Kind) -> Outcome {
    match (policy, kind) {
        (_, Kind::LeftMissing | Kind::Other) | (MissingModel::Forward, _) => Outcome::Unchanged,
        (MissingModel::Reject, _) | (_, Kind::WithoutFallback) => REQUIRED,
        _ => Outcome::Fallback,
    }
}

async fn outcome(gateway: &Gateway, path: &str, sent: &str) -> Outcome {
    match gateway.post(path, sent.to_owned()).await {
        ("ok", Some(body)) if body == sent => Outcome::Unchanged,
        ("ok", Some(body)) if body == r#"{"model":"0x0a"}"# => Outcome::Fallback,
        (code, None) => Outcome::Rejected(code),
        outcome => panic!("{outcome:?}"),
    }
}

/// The table in the documentation of [`MissingModel`].
#[tokio::test]
async fn every_combination_decides_as_documented() {
    for unknown in UNKNOWN {
        for missing in MISSING {
            let gateway = Gateway::with(|config| {
                config
                    .unknown_model(unknown)
                    .missing_model(missing)
                    .without_fallback(Endpoint::Embedding)
            });
            for (kind, path) in KINDS {
                let context = format!("{unknown} {missing} {kind:?}");
                for (sent, is_similar) in [
                    (r#"{"model":"gpt-9"}"#, false),
                    (
                        r#"{"model":"venice-uncensord"}"#,
                        kind != Kind::WithoutFallback,
                    ),
                    (
                        r#"{"model":"text-embedding-bge"}"#,
                        kind == Kind::WithoutFallback,
                    ),
                ] {
                    let found = outcome(&gateway, path, sent).await;
                    let expected = for_unknown(unknown, kind, is_similar);
                    assert_eq!(found, expected, "{context} {sent}");
                }
                for sent in ["{}", r#"{"model":null}"#, r#"{"model":""}"#] {
                    let found = outcome(&gateway, path, sent).await;
                    assert_eq!(found, for_missing(missing, kind), "{context} {sent}");
                }
            }
        }
    }
}

#[tokio::test]
async fn alias_stands_for_a_model_of_the_catalog() {
    let gateway = Gateway::warm(|config| {
        config
            .alias("claude-*", "venice-uncensored")
            .alias("claude-opus", "flux")
            .alias("tts-kokoro", "mystery")
            .alias("gone", "no-such-model")
            .unknown_model(UnknownModel::Reject)
    })
    .await;
    for (path, name, code, id) in [
        (CHAT, "Claude-Sonnet", "ok", Some("0xb603")),
        (CHAT, "claude-opus", "ok", Some("0x10")),
        ("/v1/other", "claude-x", "ok", Some("0xb603")),
        ("/v1/embeddings", "claude-x", "model_type_mismatch", None),
        // The catalog goes before.
        ("/v1/audio/speech", "tts-kokoro", "ok", Some("0x0c")),
        (CHAT, "gone", "model_not_found", None),
    ] {
        let (found, body) = gateway.post(path, format!(r#"{{"model":"{name}"}}"#)).await;
        let expected = id.map(|id| format!(r#"{{"model":"{id}"}}"#));
        assert_eq!((found, body), (code, expected), "{path} {name}");
    }
}

#[tokio::test]
async fn misspelled_alias_is_a_near_miss() {
    let gateway =
        Gateway::warm(|config| config.alias("claude-sonnet-5", "venice-uncensored")).await;
    let (code, _) = gateway.post(CHAT, r#"{"model":"claude-sonet-5"}"#).await;
    assert_eq!(code, "model_not_found");
}

#[test]
fn absent_alias_is_logged_once_for_each_catalog() {
    let log = capture(async || {
        let gateway = Gateway::warm(|config| config.alias("gone", "no-such-model")).await;
        for _ in 0..3 {
            gateway.post(CHAT, r#"{"model":"venice-uncensored"}"#).await;
        }
    });
    let warnings = log
        .lines()
        .filter(|line| line.contains("the alias's model"));
    // As text and as JSON, of two runs, of which the first may miss events.
    let count = warnings.count();
    assert!(count == 2 || count == 4, "{log}");
}
