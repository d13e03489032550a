//! Any aliases of an operator, and which of them a name finds.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_model_routing::{
    RoutedModel, RoutingConfig, UnknownModel,
    registry::{Catalog, ResolvedBy},
};

use crate::{
    catalog::{self, Entry},
    gateway::{CHAT, Gateway, MODELS, Source, paused_runtime},
};

/// Configures aliases, and asserts that names that are like them reach the models that a naive
/// reader of the rules finds.
///
/// The input, in lines: a name to request, and aliases `NAME=MODEL`.
pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let requested = lines.next().unwrap_or_default();
    let aliases: Vec<_> = lines
        .filter_map(|line| line.split_once('='))
        .take(6)
        .collect();

    let are_valid = aliases.iter().all(|(name, model)| {
        !name.trim().is_empty() && !model.trim().is_empty() && name.matches('*').count() <= 1
    });
    let catalog = Catalog::parse(MODELS.as_bytes()).expect("a catalog");
    let config = RoutingConfig::builder().fixed_catalog(catalog);
    let built = aliases
        .iter()
        .fold(config, |config, (name, model)| config.alias(*name, *model));
    assert_eq!(built.build().is_ok(), are_valid);
    if !are_valid {
        return;
    }

    let gateway = Gateway::new(Source::new(MODELS, ""), |config| {
        let config = config.unknown_model(UnknownModel::Fallback);
        aliases
            .iter()
            .fold(config, |config, (name, model)| config.alias(*name, *model))
    });
    let entries = catalog::entries(&serde_json::from_str(MODELS).expect("JSON"));
    let runtime = paused_runtime();
    for name in names_like(&aliases, requested) {
        runtime.block_on(check_name(&gateway, &entries, &aliases, &name));
    }
}

/// Returns names that the aliases match, or almost.
fn names_like(aliases: &[(&str, &str)], requested: &str) -> Vec<String> {
    let mut names = vec![requested.to_owned()];
    for (alias, _) in aliases {
        let mut end = alias.chars();
        end.next_back();
        names.extend([
            alias.to_string(),
            alias.replace('*', ""),
            alias.replace('*', requested).to_uppercase(),
            alias.replace('*', alias),
            format!(" {alias}x"),
            end.as_str().replace('*', "y"),
        ]);
    }
    names
}

async fn check_name(gateway: &Gateway, entries: &[Entry], aliases: &[(&str, &str)], name: &str) {
    let body = json!({"model": name}).to_string();
    let request = Request::post(CHAT)
        .body(Full::from(body))
        .expect("a request");
    let (received, seen) = gateway.send(request).await;
    let models: Value = serde_json::from_str(MODELS).expect("JSON");
    let serves_chat = |id: &str| {
        let model = models["models"]
            .as_array()
            .expect("an array")
            .iter()
            .find(|m| m["Id"] == id);
        let kind = model.and_then(|model| model["ModelType"].as_str());
        !matches!(kind, Some("EMBEDDING" | "TTS" | "STT"))
    };
    let expected = expected(entries, aliases, name);
    match received.code() {
        "ok" => {
            let seen = seen.expect("it was forwarded");
            let routed = seen
                .head
                .extensions
                .get::<RoutedModel>()
                .expect("it was routed");
            let found = (routed.id(), routed.resolved_by());
            assert!(
                expected.contains(&found),
                "{name:?}: {found:?}, not of {expected:?}"
            );
            assert!(serves_chat(routed.id()));
        }
        "model_type_mismatch" => {
            assert!(
                expected.iter().any(|(id, _)| !serves_chat(id)),
                "{name:?}: {expected:?}"
            );
        }
        code => panic!("{name:?}: {code}"),
    }
}

/// Returns the models of the best aliases, of which any may serve if they are alike.
fn expected<'a>(
    entries: &'a [Entry],
    aliases: &[(&str, &str)],
    name: &str,
) -> Vec<(&'a str, ResolvedBy)> {
    if let Some((entry, by)) = catalog::find(entries, name) {
        return vec![(&entry.id, by)];
    }
    let name: Vec<_> = name.trim().to_lowercase().chars().collect();
    let mut found = Vec::new();
    for (index, (alias, model)) in aliases.iter().enumerate() {
        let alias = alias.trim().to_lowercase();
        let is_replaced = aliases[index + 1..]
            .iter()
            .any(|(later, _)| later.trim().to_lowercase() == alias);
        let pattern: Vec<_> = alias.chars().collect();
        if let Some((entry, _)) = catalog::find(entries, model)
            && !is_replaced
            && !name.is_empty()
            && matches(&pattern, &name)
        {
            found.push((!alias.contains('*'), alias.len(), &*entry.id));
        }
    }
    let best = found
        .iter()
        .map(|(is_exact, len, _)| (*is_exact, *len))
        .max();
    found.retain(|(is_exact, len, _)| Some((*is_exact, *len)) == best);
    match best {
        Some(_) => found
            .iter()
            .map(|(_, _, id)| (*id, ResolvedBy::Alias))
            .collect(),
        None => vec![("0x0a", ResolvedBy::Fallback)],
    }
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|len| matches(rest, &name[len..])),
        Some((first, rest)) => name.first() == Some(first) && matches(rest, &name[1..]),
    }
}
