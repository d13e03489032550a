//! Tests of the catalog: lookup, aliases, documents.

use std::error::Error;

use serde_json::{Value, json};

use super::*;

fn catalog(models: Value) -> Catalog {
    Catalog::parse(json!({ "models": models }).to_string().as_bytes()).unwrap()
}

fn found<'a>(catalog: &'a Catalog, name: &str) -> Option<(&'a str, ResolvedBy)> {
    let found = catalog.find(name)?;
    Some((found.entry.id(), found.resolved_by))
}

#[test]
fn id_is_found_in_any_hex_case_before_names() {
    let catalog = catalog(json!([
        {"Id": "0xAb01", "Name": "a"},
        {"Id": "0x02", "Name": "0XAB01"},
        {"Id": "Opaque", "Name": "c"},
    ]));
    for spelling in ["0xAb01", "0xab01", "0XAB01", " 0xaB01\n"] {
        assert_eq!(
            found(&catalog, spelling),
            Some(("0xAb01", ResolvedBy::Id)),
            "{spelling}"
        );
    }
    assert_eq!(found(&catalog, "Opaque"), Some(("Opaque", ResolvedBy::Id)));
    assert_eq!(
        found(&catalog, "opaque"),
        None,
        "only hex digits have no case"
    );
}

#[test]
fn name_is_found_trimmed_in_any_case() {
    let catalog = catalog(json!([{"Id": "0x1", "Name": "Größe-1"}]));
    for spelling in ["Größe-1", "grösse-1", "GRÖßE-1", "  größe-1\t"] {
        let expected = (spelling != "grösse-1").then_some(("0x1", ResolvedBy::Name));
        assert_eq!(found(&catalog, spelling), expected, "{spelling}");
    }
}

#[test]
fn venice_id_and_slug_are_aliases() {
    for key in ["veniceId", "venice_id"] {
        let enrichment = json!({ key: "Venice-H3" });
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "Hermes 3  Llama_3.1", "enrichment": enrichment},
        ]));
        for alias in ["hermes-3-llama-3.1", "HERMES-3-LLAMA-3.1", "venice-h3"] {
            assert_eq!(
                found(&catalog, alias),
                Some(("0x1", ResolvedBy::Alias)),
                "{key}: {alias}"
            );
        }
    }
}

#[test]
fn alias_never_overrides_a_name() {
    let catalog = catalog(json!([
        {"Id": "0x1", "Name": "Deep Seek", "enrichment": {"veniceId": "other"}},
        {"Id": "0x2", "Name": "deep-seek"},
        {"Id": "0x3", "Name": "Other"},
    ]));
    assert_eq!(
        found(&catalog, "deep-seek"),
        Some(("0x2", ResolvedBy::Name))
    );
    assert_eq!(found(&catalog, "other"), Some(("0x3", ResolvedBy::Name)));
}

#[test]
fn alias_of_two_entries_is_dropped() {
    let catalog = catalog(json!([
        {"Id": "0x1", "Name": "Deep Seek"},
        {"Id": "0x2", "Name": "Deep_Seek"},
        {"Id": "0x3", "Name": "c", "enrichment": {"veniceId": "deep  seek"}},
        {"Id": "0x4", "Name": "d", "enrichment": {"veniceId": "v"}},
        {"Id": "0x5", "Name": "e", "enrichment": {"veniceId": "V"}},
    ]));
    assert_eq!(found(&catalog, "deep-seek"), None);
    assert_eq!(found(&catalog, "v"), None);
    assert_eq!(
        found(&catalog, "Deep Seek"),
        Some(("0x1", ResolvedBy::Name))
    );
}

#[test]
fn alias_claimed_twice_by_one_entry_is_kept() {
    let catalog = catalog(json!([
        {"Id": "0x1", "Name": "Deep Seek", "enrichment": {"veniceId": "deep-seek"}},
    ]));
    assert_eq!(
        found(&catalog, "deep-seek"),
        Some(("0x1", ResolvedBy::Alias))
    );
}

#[test]
fn slug_of_the_requested_name_is_last() {
    let catalog = catalog(json!([
        {"Id": "0x1", "Name": "llama-3.2-3b"},
        {"Id": "0x2", "Name": "x", "enrichment": {"veniceId": "qwen-4b"}},
    ]));
    assert_eq!(
        found(&catalog, "Llama 3.2 3B"),
        Some(("0x1", ResolvedBy::Slug))
    );
    assert_eq!(
        found(&catalog, "llama_3.2 __ 3b"),
        Some(("0x1", ResolvedBy::Slug))
    );
    assert_eq!(found(&catalog, "Qwen 4B"), Some(("0x2", ResolvedBy::Slug)));
    assert_eq!(found(&catalog, "llama"), None);
}

#[test]
fn newer_entry_wins_an_ambiguous_name() {
    let models = json!([
        {"Id": "0x1", "Name": "Llama 7.1-dev", "CreatedAt": 10},
        {"Id": "0x2", "Name": "llama 7.1-DEV", "CreatedAt": 20},
        {"Id": "0x3", "Name": "Llama 7.1-dev", "CreatedAt": 5},
        {"Id": "0x4", "Name": "b"},
    ]);
    let catalog = catalog(models);
    for spelling in ["Llama 7.1-dev", "llama 7.1-DEV"] {
        assert_eq!(found(&catalog, spelling), Some(("0x2", ResolvedBy::Name)));
    }
    assert_eq!(
        found(&catalog, "llama-7.1-dev"),
        Some(("0x2", ResolvedBy::Alias))
    );
    assert_eq!(
        found(&catalog, "0x1"),
        Some(("0x1", ResolvedBy::Id)),
        "still there by ID"
    );
    assert_eq!(catalog.ambiguous_names(), 1);
    let counts = (catalog.len(), catalog.name_count(), catalog.id_count());
    assert_eq!(counts, (4, 2, 4));
    let named: Vec<_> = catalog.named_entries().map(ModelEntry::id).collect();
    assert_eq!(named, ["0x2", "0x4"]);
}

#[test]
fn several_names_may_share_an_id() {
    let catalog = catalog(json!([
        {"Id": "0x1", "Name": "code", "CreatedAt": 1},
        {"Id": "0x1", "Name": "sonnet", "CreatedAt": 2},
    ]));
    assert_eq!(found(&catalog, "code"), Some(("0x1", ResolvedBy::Name)));
    assert_eq!(found(&catalog, "sonnet"), Some(("0x1", ResolvedBy::Name)));
    assert_eq!(
        catalog.find("0x1").unwrap().entry.name(),
        "sonnet",
        "the newer one's"
    );
    assert_eq!(catalog.id_count(), 1);
    assert_eq!(catalog.ambiguous_names(), 0);
}

#[test]
fn bad_entry_is_left_out() {
    let document = br#"{"models":[7,{"Name":"x"},{"Id":"0x9","Name":"big","Fee":1e400},
        {"Id":"0x8","Name":"\ud800"},{"Id":"0x1","Name":"good"},null],"more":true}"#;
    let catalog = Catalog::parse(document).unwrap();
    assert_eq!(catalog.len(), 1);
    assert_eq!(found(&catalog, "good"), Some(("0x1", ResolvedBy::Name)));
}

#[test]
fn document_without_a_usable_entry_is_an_error() {
    for document in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"models":{}}"#,
        r#"{"models":[{}"#,
    ] {
        let error = Catalog::parse(document.as_bytes()).unwrap_err();
        assert!(
            matches!(
                error,
                CatalogError::Document { .. } | CatalogError::NoModels
            ),
            "{document}: {error}"
        );
    }
    let cause = Catalog::parse(b"{").unwrap_err();
    assert!(cause.source().unwrap().is::<serde_json::Error>());
    for document in [r#"{"models":[]}"#, r#"{"models":[{"Id":"0x1"}]}"#] {
        let error = Catalog::parse(document.as_bytes()).unwrap_err();
        assert!(
            matches!(error, CatalogError::NoUsableEntry(_)),
            "{document}: {error}"
        );
    }
}

#[test]
fn caps_the_number_of_entries() {
    let document = |len: usize| {
        let ignored = "0,".repeat(len - 1);
        format!(r#"{{"models":[{ignored}{{"Id":"0x1","Name":"a"}}]}}"#)
    };
    assert_eq!(
        Catalog::parse(document(100_000).as_bytes()).unwrap().len(),
        1
    );
    let error = Catalog::parse(document(100_001).as_bytes()).unwrap_err();
    assert!(
        matches!(error, CatalogError::TooManyEntries(100_001)),
        "{error}"
    );

    let entries = |len| vec![ModelEntry::new("a", "0x1"); len];
    let error = Catalog::from_entries(entries(100_001)).unwrap_err();
    assert!(
        matches!(error, CatalogError::TooManyEntries(100_001)),
        "{error}"
    );
}

#[test]
fn entries_make_the_catalog_that_a_document_makes() {
    let document = json!({"models": [
        {"Id": " 0xAb ", "Name": " Deep Seek ", "ModelType": "llm", "Tags": ["a", "b"],
            "CreatedAt": 7, "Owner": "me", "enrichment": {"veniceId": "ds"}},
        {"Id": "0x2", "Name": "b"},
        {"Id": "", "Name": "c"},
    ]});
    let parsed = Catalog::parse(document.to_string().as_bytes()).unwrap();
    let made = Catalog::from_entries([
        ModelEntry::new(" Deep Seek ", " 0xAb ")
            .with_model_type("llm")
            .with_tags(["a", "b"])
            .with_created_at(7)
            .with_owner("me")
            .with_venice_id("ds"),
        ModelEntry::new("b", "0x2"),
        ModelEntry::new("c", ""),
        ModelEntry::new("d".repeat(1025), "0x4"),
    ])
    .unwrap();
    assert!(
        made.entries()
            .map(ModelEntry::to_canonical_text)
            .eq(parsed.entries().map(ModelEntry::to_canonical_text))
    );
    for name in ["0xaB", "deep-seek", "DS", "b", "c"] {
        assert_eq!(found(&made, name), found(&parsed, name), "{name}");
    }
    let error = Catalog::from_entries([ModelEntry::new(" ", "0x1")]).unwrap_err();
    assert!(matches!(error, CatalogError::NoUsableEntry(1)), "{error}");
}

#[test]
fn hash_of_entries_tells_every_difference() {
    let entry = || ModelEntry::new("a", "0x1");
    let hash = |entries: Vec<ModelEntry>| *Catalog::from_entries(entries).unwrap().sha256();
    let same = hash(vec![entry()]);
    assert_eq!(hash(vec![entry()]), same);
    let mut hashes = vec![same];
    for entry in [
        ModelEntry::new("A", "0x1"),
        ModelEntry::new("a", "0x2"),
        entry().with_model_type(super::super::ModelType::Tts),
        entry().with_tags(["a"]),
        entry().with_created_at(1),
        entry().with_owner("a"),
        entry().with_venice_id("a"),
    ] {
        hashes.push(hash(vec![entry]));
    }
    hashes.push(hash(vec![entry(), entry()]));
    let different: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len());
}
