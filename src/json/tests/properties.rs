//! The scanner against the naive reader and `serde_json`, on random documents.
//!
//! `PROPTEST_CASES` sets the number of cases.

use std::{collections::HashMap, fmt};

use proptest::{collection::vec, prelude::*, test_runner::Config};
use serde::{Deserialize, Deserializer, de};

use super::super::{Model, Reason, ScanErrorKind, decode_string};
use super::{
    SCANS,
    generate::{Cuts, Mutation, cuts, deep, document, long_document, mutation, strict_document},
    oracle, scan, scan_with,
};

fn config() -> Config {
    let default = Config::default();
    Config {
        // The default is for debug builds, where it takes a few seconds.
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => default.cases,
            None => 300,
        },
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..default
    }
}

/// Asserts that the scanner agrees with the naive reader, whole and cut.
fn check(bytes: &[u8], cuts: &Cuts) -> Result<oracle::Verdict, TestCaseError> {
    let expected = oracle::read(bytes);
    let whole = scan([bytes]);
    let result = whole
        .result
        .map_err(|error| (error.kind(), error.offset() as usize));
    prop_assert_eq!(result, expected.result);
    prop_assert_eq!(whole.model, expected.model);
    prop_assert_eq!(whole.insertion, expected.insertion);
    prop_assert_eq!(whole.complete, expected.complete);
    for &way in SCANS {
        prop_assert_eq!(scan_with(way, [bytes]), whole);
        prop_assert_eq!(scan_with(way, cuts.frames(bytes)), whole);
    }
    Ok(expected)
}

fn mutated(document: String, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = document.into_bytes();
    mutations
        .iter()
        .for_each(|mutation| mutation.apply(&mut bytes));
    bytes
}

/// Reads an object and all strings in it, but numbers of any size.
struct StrictObject;

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StrictObject)
    }
}

impl<'de> de::Visitor<'de> for StrictObject {
    type Value = StrictObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some((_, value)) = map.next_entry::<String, &serde_json::value::RawValue>()? {
            if value.get().starts_with('"') {
                serde_json::from_str::<String>(value.get()).map_err(de::Error::custom)?;
            }
        }
        Ok(StrictObject)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_documents_are_read_as_serde_json_reads_them(
        document in document(),
        cuts in cuts(),
    ) {
        let verdict = check(document.as_bytes(), &cuts)?;
        match verdict.result {
            Err((kind, _)) => prop_assert!(matches!(
                kind,
                ScanErrorKind::DuplicateModel | ScanErrorKind::AmbiguousModel
            )),
            Ok(()) => {
                // Without numbers that serde_json takes to be out of range.
                let raw: HashMap<String, &serde_json::value::RawValue> =
                    serde_json::from_str(&document).unwrap();
                let model = raw.get("model").map(|value| value.get());
                let name = model.and_then(|model| serde_json::from_str::<String>(model).ok());
                match verdict.model {
                    Model::String { start, end, escaped } => {
                        let literal = &document.as_bytes()[start as usize..end as usize];
                        let decoded = decode_string(literal, escaped);
                        prop_assert_eq!(decoded.as_deref(), name.as_deref());
                        prop_assert_eq!(literal, model.unwrap().as_bytes());
                    }
                    Model::Null { start, end } => {
                        prop_assert_eq!(&document[start as usize..end as usize], "null");
                        prop_assert_eq!(model, Some("null"));
                    }
                    Model::Other { start, .. } => {
                        prop_assert!(document[start as usize..].starts_with(model.unwrap()));
                    }
                    Model::Unseen => prop_assert_eq!(model, None),
                    Model::Pending => prop_assert!(false, "the document is complete"),
                }
            }
        }
    }

    #[test]
    fn mutated_documents_are_read_as_the_naive_reader_reads_them(
        document in document(),
        mutations in vec(mutation(), 1..4),
        cuts in cuts(),
    ) {
        check(&mutated(document, &mutations), &cuts)?;
    }

    #[test]
    fn long_documents_are_read_as_the_naive_reader_reads_them(
        document in long_document(),
        mutations in vec(mutation(), 0..3),
        cuts in cuts(),
    ) {
        check(&mutated(document, &mutations), &cuts)?;
    }

    #[test]
    fn strict_documents_are_accepted_just_when_serde_json_accepts_them(
        document in strict_document(),
        mutations in vec(mutation(), 0..3),
        cuts in cuts(),
    ) {
        let bytes = mutated(document, &mutations);
        let verdict = check(&bytes, &cuts)?;
        let stricter = matches!(
            verdict.result,
            Err((
                ScanErrorKind::DuplicateModel
                | ScanErrorKind::AmbiguousModel
                | ScanErrorKind::Invalid(Reason::NulInKey),
                _
            ))
        );
        if verdict.all_strict && !stricter {
            let accepted = serde_json::from_slice::<StrictObject>(&bytes).is_ok();
            prop_assert_eq!(verdict.result.is_ok(), accepted);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_as_the_naive_reader_reads_them(
        bytes in vec(prop::sample::select(b"{}[]\":,\\model0.1e- \xc3\xa9\x00".to_vec()), 0..100),
        prefix in prop::sample::select(vec!["", "{", "{\"a\":[", "{\"model\":\"", "{\"m"]),
        cuts in cuts(),
    ) {
        let bytes = [prefix.as_bytes(), &bytes].concat();
        check(&bytes, &cuts)?;
    }

    #[test]
    fn deep_documents_are_read_as_the_naive_reader_reads_them(
        depth in prop_oneof![3 => 55_usize..140, 1 => 1015_usize..1030],
        kinds in any::<u64>(),
        mutations in vec(mutation(), 0..3),
        cuts in cuts(),
    ) {
        let document = format!("{{\"a\":{},\"model\":\"x\"}}", deep(depth, kinds));
        check(&mutated(document, &mutations), &cuts)?;
    }
}
