//! The kinds of documents that public suites for JSON parsers have.

use super::super::oracle::suite;
use super::{check, scan};

#[test]
fn suite_is_accepted_or_rejected_as_it_says() {
    for (document, accepted) in suite() {
        let shown = document.escape_ascii();
        assert_eq!(scan(&[&document]).result.is_ok(), accepted, "{shown}");
        let bytes: Vec<_> = document.chunks(1).collect();
        check(&document, &bytes);
    }
}
