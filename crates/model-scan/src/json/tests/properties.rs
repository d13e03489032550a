//! Random documents, cut anywhere: the scanner agrees with the oracle and `serde_json`.
//!
//! `PROPTEST_CASES` sets the number of cases.

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::super::JsonErrorKind;
use super::{
    check, check_and_read,
    generate::{Mutation, cuts, deep, document, long_document, mutation, strict_document},
};

fn config() -> Config {
    let default = Config::default();
    Config {
        // A few seconds in debug builds.
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => default.cases,
            None => 300,
        },
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..default
    }
}

fn mutated(document: String, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = document.into_bytes();
    mutations
        .iter()
        .for_each(|mutation| mutation.apply(&mut bytes));
    bytes
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_documents_are_accepted_except_for_their_models(
        document in document(),
        cuts in cuts(),
    ) {
        let document = document.as_bytes();
        let verdict = check_and_read(document, &cuts.frames(document));
        let is_fine = matches!(
            verdict.result,
            Ok(()) | Err((JsonErrorKind::DuplicateModel | JsonErrorKind::AmbiguousModel, _))
        );
        prop_assert!(is_fine, "{:?}", verdict);
    }

    #[test]
    fn mutated_documents_match_the_oracle(
        document in document(),
        mutations in vec(mutation(), 1..4),
        cuts in cuts(),
    ) {
        let document = mutated(document, &mutations);
        check(&document, &cuts.frames(&document));
    }

    #[test]
    fn long_documents_match_the_oracle(
        document in long_document(),
        mutations in vec(mutation(), 0..3),
        cuts in cuts(),
    ) {
        let document = mutated(document, &mutations);
        check(&document, &cuts.frames(&document));
    }

    #[test]
    fn strict_documents_match_serde_json(
        document in strict_document(),
        mutations in vec(mutation(), 0..3),
        cuts in cuts(),
    ) {
        let document = mutated(document, &mutations);
        check(&document, &cuts.frames(&document));
    }

    #[test]
    fn arbitrary_bytes_match_the_oracle(
        bytes in vec(prop::sample::select(b"{}[]\":,\\model0.1e- \xc3\xa9\x00".to_vec()), 0..100),
        prefix in prop::sample::select(vec!["", "{", "{\"a\":[", "{\"model\":\"", "{\"m"]),
        cuts in cuts(),
    ) {
        let document = [prefix.as_bytes(), &bytes].concat();
        check(&document, &cuts.frames(&document));
    }

    #[test]
    fn deep_documents_match_the_oracle(
        depth in prop_oneof![3 => 55_usize..140, 1 => 1015_usize..1030],
        kinds in any::<u64>(),
        mutations in vec(mutation(), 0..3),
        cuts in cuts(),
    ) {
        let document = format!("{{\"a\":{},\"model\":\"x\"}}", deep(depth, kinds));
        let document = mutated(document, &mutations);
        check(&document, &cuts.frames(&document));
    }
}
