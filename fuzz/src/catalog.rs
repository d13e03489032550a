//! Any document at all as the catalog, and what is found in it.

use std::collections::HashSet;

use serde_json::Value;
use tower_model_routing::registry::{Catalog, ResolvedBy};

/// Parses a catalog, and asserts that it has the entries and finds the names that a naive reader
/// has and finds.
///
/// The input: a line with a name to look up, and the document.
pub(crate) fn check(input: &[u8]) {
    let Some(at) = input.iter().position(|&byte| byte == b'\n') else {
        return;
    };
    let query = String::from_utf8_lossy(&input[..at]);
    let document = &input[at + 1..];
    let parsed = Catalog::parse(document);
    // Of a document that this cannot read, the parser may drop one entry and keep the others.
    let Ok(value) = serde_json::from_slice::<Value>(document) else {
        if let Ok(catalog) = parsed {
            assert!(catalog.len() > 0);
            catalog.find(&query);
        }
        return;
    };
    let entries = entries(&value);
    let Ok(catalog) = parsed else {
        assert!(entries.is_empty());
        return;
    };
    let spelled = |(id, name): (&str, &str)| (id.to_owned(), name.to_owned());
    let listed: Vec<_> = catalog
        .entries()
        .map(|e| spelled((e.id(), e.name())))
        .collect();
    let expected: Vec<_> = entries.iter().map(|e| spelled((&e.id, &e.name))).collect();
    assert_eq!(listed, expected);
    let names: HashSet<_> = entries.iter().map(|e| e.name.to_lowercase()).collect();
    let ids: HashSet<_> = entries.iter().map(|e| fold(&e.id)).collect();
    assert_eq!(catalog.name_count(), names.len());
    assert_eq!(catalog.id_count(), ids.len());
    assert_eq!(catalog.named_entries().count(), names.len());
    assert_eq!(catalog.ambiguous_names() > 0, names.len() < entries.len());

    let some = entries.iter().take(8);
    let known = some.flat_map(|e| [Some(&e.name), Some(&e.id), e.venice_id.as_ref()]);
    for text in known.flatten().map(String::as_str).chain([&*query]) {
        for spelling in [
            text.to_owned(),
            format!(" {text}\t"),
            text.to_uppercase(),
            text.to_lowercase(),
            text.replace(['_', '-'], " "),
        ] {
            let found = catalog
                .find(&spelling)
                .map(|found| (found.entry.id(), found.entry.name(), found.resolved_by));
            let expected = find(&entries, &spelling).map(|(e, by)| (&*e.id, &*e.name, by));
            assert_eq!(found, expected, "{spelling:?}");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    name: String,
    venice_id: Option<String>,
    created_at: u64,
}

/// Returns the entries of a catalog.
pub(crate) fn entries(document: &Value) -> Vec<Entry> {
    let models = document["models"].as_array();
    let entry = |model: &Value| {
        let text = |key: &str| model[key].as_str().map(str::trim).filter(|t| !t.is_empty());
        let short = |key: &str| text(key).filter(|text| text.len() <= 1024);
        (model["IsDeleted"] != true).then_some(())?;
        Some(Entry {
            id: short("Id")?.into(),
            name: short("Name")?.into(),
            venice_id: ["veniceId", "venice_id"]
                .iter()
                .find_map(|key| model["enrichment"][key].as_str())
                .map(String::from),
            created_at: model["CreatedAt"].as_u64().unwrap_or(0),
        })
    };
    models.into_iter().flatten().filter_map(entry).collect()
}

/// The rules, one after the other, over all entries.
pub(crate) fn find<'a>(entries: &'a [Entry], query: &str) -> Option<(&'a Entry, ResolvedBy)> {
    let query = query.trim();
    let by_id = |e: &&Entry| fold(&e.id) == fold(query);
    if let Some(entry) = newest(entries.iter().filter(by_id)) {
        return Some((entry, ResolvedBy::Id));
    }
    let folded = query.to_lowercase();
    if let Some(entry) = named(entries, &folded) {
        return Some((entry, ResolvedBy::Name));
    }
    if let Some(entry) = aliased(entries, &folded) {
        return Some((entry, ResolvedBy::Alias));
    }
    let slug = slug(&folded);
    let entry = named(entries, &slug).or_else(|| aliased(entries, &slug))?;
    Some((entry, ResolvedBy::Slug))
}

fn named<'a>(entries: &'a [Entry], folded: &str) -> Option<&'a Entry> {
    newest(entries.iter().filter(|e| e.name.to_lowercase() == folded))
}

/// The one entry, of those that hold their name, that claims the alias.
fn aliased<'a>(entries: &'a [Entry], alias: &str) -> Option<&'a Entry> {
    let mut claims = entries.iter().filter(|entry| {
        let name = entry.name.to_lowercase();
        let holds_name = named(entries, &name).is_some_and(|e| std::ptr::eq(e, *entry));
        let venice_id = entry.venice_id.as_ref().map(|id| id.trim().to_lowercase());
        holds_name && (slug(&name) == alias || venice_id.as_deref() == Some(alias))
    });
    let claim = claims.next().filter(|_| !alias.is_empty())?;
    claims.next().is_none().then_some(claim)
}

/// The first of the newest.
fn newest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<&'a Entry> {
    let mut found: Option<&Entry> = None;
    for entry in entries {
        if found.is_none_or(|found| entry.created_at > found.created_at) {
            found = Some(entry);
        }
    }
    found
}

/// Hex has no case.
fn fold(id: &str) -> String {
    match id.get(..2) {
        Some("0x" | "0X") if id[2..].chars().all(|c| c.is_ascii_hexdigit()) => id.to_lowercase(),
        _ => id.into(),
    }
}

fn slug(name: &str) -> String {
    let mark = |c: char| {
        if c == '_' || c.is_whitespace() {
            '\n'
        } else {
            c
        }
    };
    let mut chars: Vec<_> = name.trim().chars().map(mark).collect();
    chars.dedup_by(|a, b| *a == '\n' && *b == '\n');
    String::from_iter(chars).replace('\n', "-")
}
