//! The checks on random inputs, and on the kinds of documents that public
//! suites for JSON parsers have.

#[path = "../../../src/json/check/suite.rs"]
mod suite;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{catalog, names, request};
use crate::support::gateway::{CHAT, Gateway};

/// Some of these, in any order.
fn some_of(pieces: &'static [&'static str], at_most: usize) -> impl Strategy<Value = String> {
    vec(select(pieces), 0..at_most).prop_map(|pieces| pieces.concat())
}

const JSON: &[&str] = &[
    "{",
    "}",
    "{\"a\":[",
    "]",
    ",",
    ":",
    " ",
    "\"model\":",
    "\"model\"",
    "\"Model\":",
    "\"",
    "\\",
    "\"m\"",
    "\"venice-uncensored\"",
    "\"0XB603\"",
    "null",
    "1e400",
    "/*",
    "'",
    "\n",
    "\u{feff}",
];

const FORM: &[&str] = &[
    "--a",
    "\r\n",
    "--",
    "Content-Disposition: form-data; name=\"model\"",
    "\r\n\r\n",
    "m",
    "Content-Disposition: form-data; name=file; filename=\"a\"",
    "Content-Length: 1",
    "\0",
    "\r\n--a\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--a--",
];

fn body() -> impl Strategy<Value = String> {
    let member = (some_of(JSON, 3), some_of(JSON, 3));
    let object = member.prop_map(|(front, back)| {
        format!("{{\"a\":\"{{\",{front}\"model\":\"Venice_Uncensored\"{back}}}")
    });
    prop_oneof![some_of(JSON, 12), some_of(FORM, 8), object]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![8 => Just("POST"), 1 => select(vec!["GET", "PUT", "post"])];
    let path = select(vec![
        CHAT,
        "/v1/other",
        "/completions",
        "/v1/embeddings?a=b",
        "/v1/audio/transcriptions",
        "/v1/images/edits",
        "//v1/./chat//%63ompletions;x/",
    ]);
    let headers = some_of(
        &[
            "content-type: application/json\n",
            "content-type: application/json\n",
            "content-type: multipart/form-data; boundary=a\n",
            "content-type: application/x+json; charset=latin1\n",
            "content-length: 10\n",
            "content-encoding: gzip\n",
            "model_id: x\n",
            "digest: x\n",
        ],
        4,
    );
    (any::<[u8; 5]>(), method, path, headers, body()).prop_map(
        |(options, method, path, headers, body)| {
            let head = format!("{method} {path}\n{headers}\n");
            [&options[..], head.as_bytes(), body.as_bytes()].concat()
        },
    )
}

fn list() -> impl Strategy<Value = String> {
    let text = || {
        prop_oneof![
            3 => "[abAB_ -]{0,3}",
            1 => "0[xX][0-9aAfF]{1,2}",
            1 => select(vec!["İ", "ß", "ẞ", "\u{3000}a", "Σσς", "a\\u0000"]).prop_map(String::from),
        ]
    };
    let entry = (text(), text(), prop::option::of(text()), 0..3_u8).prop_map(
        |(id, name, venice_id, created_at)| {
            let more = venice_id
                .map(|id| format!(",\"enrichment\":{{\"veniceId\":\"{id}\"}}"))
                .unwrap_or_default();
            format!("{{\"Id\":\"{id}\",\"Name\":\"{name}\",\"CreatedAt\":{created_at}{more}}}")
        },
    );
    let entry = prop_oneof![8 => entry, 1 => some_of(JSON, 4)];
    (text(), vec(entry, 0..6))
        .prop_map(|(query, entries)| format!("{query}\n{{\"models\":[{}]}}", entries.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_request_is_refused_or_goes_on_with_a_model_of_the_catalog(message in message()) {
        request::check(&message);
    }

    #[test]
    fn any_list_of_models_is_read_as_the_rules_say(list in list()) {
        catalog::check(list.as_bytes());
    }

    #[test]
    fn any_names_are_told_as_they_are(
        tag in "\\PC{0,6}",
        error in "\\PC{0,6}",
        models in vec((".{0,6}", ".{0,6}"), 0..4),
    ) {
        let lines = models.iter().map(|(name, id)| format!("\n{name}\t{id}"));
        names::check(format!("{tag}\n{error}{}", lines.collect::<String>()).as_bytes());
    }
}

#[test]
fn of_the_suite_only_what_is_accepted_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let gateway = Gateway::new();
    for (document, accepted) in suite::suite() {
        let (code, seen) = runtime.block_on(gateway.post(CHAT, document.clone()));
        let is_object = document.starts_with(b"{");
        let expected: &[_] = match accepted {
            true => &["ok", "invalid_model"],
            false if is_object => &["invalid_json", "duplicate_model", "ambiguous_model"],
            false => &["invalid_json"],
        };
        let shown = document.escape_ascii();
        assert!(expected.contains(&code), "{code}: {shown}");
        assert_eq!(seen.is_some(), code == "ok", "{shown}");
        let head = format!("POST {CHAT}\ncontent-type: application/json\n\n");
        for lengths in [[0; 5], [1; 5], [0x0c, 3, 64, 1, 0]] {
            request::check(&[&lengths[..], head.as_bytes(), &document].concat());
        }
    }
}
