//! Random documents, cut anywhere: the scanner agrees with the oracle.
//!
//! `PROPTEST_CASES` sets the number of cases.

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::{
    super::JsonErrorKind,
    check, check_and_scan,
    generate::{deep, document, long_document},
};
use crate::random::{cuts, mutated, mutations};

/// The bytes of JSON, and of what is not.
const BYTES: &[u8] = b"\"\\{}[],:0123456789.eE+-truefalsn u \n\t\x00\x01\xef\xbb/'#Nm";

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

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_documents_are_accepted_except_for_their_models(
        document in document(),
        cuts in cuts(),
    ) {
        let document = document.as_bytes();
        let outcome = check_and_scan(document, &cuts.frames(document));
        let kind = outcome.result.map_err(|error| error.kind());
        prop_assert!(!matches!(kind, Err(JsonErrorKind::Invalid(_))), "{:?}", outcome);
    }

    #[test]
    fn mutated_documents_match_the_oracle(
        document in document(),
        mutations in mutations(BYTES),
        cuts in cuts(),
    ) {
        let document = mutated(document, &mutations);
        check(&document, &cuts.frames(&document));
    }

    #[test]
    fn long_documents_match_the_oracle(
        document in long_document(),
        mutations in mutations(BYTES),
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
        mutations in mutations(BYTES),
        cuts in cuts(),
    ) {
        let document = format!("{{\"a\":{},\"model\":\"x\"}}", deep(depth, kinds));
        let outcome = check_and_scan(document.as_bytes(), &cuts.frames(document.as_bytes()));
        prop_assert_eq!(outcome.result.is_ok(), depth < 1024);
        let document = mutated(document, &mutations);
        check(&document, &cuts.frames(&document));
    }
}
