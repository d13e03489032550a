//! The checks of the middleware's targets on random inputs, and on documents of the kinds that
//! public suites for JSON parsers have.

use http::Request;
use http_body_util::Full;
use model_scan::oracle::json_suite;
use proptest::{collection::vec, prelude::*, sample::select};
use tower_model_routing_fuzz::{
    aliases, catalog, decode,
    gateway::{CHAT, Gateway, MODELS, Source, paused_runtime},
    names, request, uri,
};

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
    "--b",
    "\r\n",
    "--",
    "Content-Disposition: form-data; name=\"model\"",
    "\r\n\r\n",
    "m",
    "Content-Disposition: form-data; name=file; filename=\"a\"",
    "b\r\n",
    "Content-Length: 1",
    "\0",
    "\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--",
];

fn body() -> impl Strategy<Value = String> {
    let member = (some_of(JSON, 3), some_of(JSON, 3));
    let object = member.prop_map(|(front, back)| {
        format!("{{\"a\":\"{{\",{front}\"model\":\"Venice_Uncensored\"{back}}}")
    });
    let without_model = Just(String::from("{\"a\":1}"));
    prop_oneof![some_of(JSON, 12), some_of(FORM, 8), object, without_model]
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
        "/v1/responses",
        "/v1/messages",
        "/v1/chat/completions?model=b",
        "/v1/engines/m/completions",
        "/openai/deployments/0xb603/audio/transcriptions",
        "/v1/models/m:generateContent",
        "//v1/./chat//%63ompletions;x/",
    ]);
    let headers = some_of(
        &[
            "content-type: application/json\n",
            "content-type: application/json\n",
            "content-type: multipart/form-data; boundary=b\n",
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

fn catalog_document() -> impl Strategy<Value = String> {
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

fn uri_message() -> impl Strategy<Value = String> {
    let method = prop_oneof![
        8 => Just("POST"),
        2 => select(vec!["GET", "PUT", "post", "DELETE"])
    ];
    let name = select(vec![
        "venice-uncensored",
        "Venice%2DUncensored",
        "whisper-1",
        "TEXT-embedding-bge-m3",
        "a%2Fb:c%20d",
        "m",
        "x",
        "..%2Fm",
        "%20",
        "",
    ]);
    let around = || {
        some_of(
            &["/", "//", "/x", "/..", "/.", ";p", "%2F", "\\", "/%2e%2e/"],
            3,
        )
    };
    let place = select(vec![
        ("/openai/deployments/", "/chat/completions"),
        ("/OpenAI/Deployments;v/", "/embeddings"),
        ("/openai/deployments/", "/images/edits"),
        ("/engines/", "/completions.json"),
        ("/engines/x/engines/", "/search"),
        ("/models/", ":generateContent"),
        ("/v1/models/", "%3AcountTokens"),
        ("/models/", ":embedcontent"),
        ("/models/", ":rawPredict"),
        ("/v1/realtime?model=", ""),
        ("/v1/realtime?a;mod%65l=", "&b"),
        ("/realtime?model=m&model=", ""),
        ("/model/", "/converse"),
    ]);
    let in_body = prop::option::of(select(vec!["m", "a/b:c d", "Venice-Uncensored", "x", " "]));
    (0..3_u8, method, around(), place, name, around(), in_body).prop_map(
        |(policy, method, before, (front, back), name, after, in_body)| {
            let in_body = in_body.map(|name| format!("\n{name}")).unwrap_or_default();
            let policy = char::from(policy);
            format!("{policy}{method} /v1{before}{front}{name}{after}{back}{in_body}")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_rejected_or_forwarded_with_a_model_of_the_catalog(message in message()) {
        request(&message);
    }

    #[test]
    fn catalogs_are_read_by_the_rules(document in catalog_document()) {
        catalog(document.as_bytes());
    }

    #[test]
    fn models_in_uris_are_replaced_and_nothing_else(message in uri_message()) {
        uri(message.as_bytes());
    }

    #[test]
    fn aliases_are_read_by_the_rules(
        requested in "[abAB ]{0,3}",
        pairs in vec(
            (
                "[abA]{0,2}\\*?[abB ]{0,2}",
                select(vec!["m", "venice-uncensored", "0x0A", "flux", "whisper-1", "gone", "a"]),
            ),
            0..6,
        ),
    ) {
        let lines = pairs.iter().map(|(name, model)| format!("\n{name}={model}"));
        aliases(format!("{requested}{}", lines.collect::<String>()).as_bytes());
    }

    #[test]
    fn encoded_bodies_are_what_another_decoder_makes_of_them(
        options in 0..8_u8,
        len in 0..40_u8,
        cut_off in prop_oneof![3 => Just(0), 1 => 0..9_u8],
        lengths in any::<[u8; 4]>(),
        body in body(),
    ) {
        decode(&[&[options, len, cut_off], &lengths[..], body.as_bytes()].concat());
    }

    #[test]
    fn names_are_written_as_they_are(
        tag in "\\PC{0,6}",
        error in "\\PC{0,6}",
        models in vec((".{0,6}", ".{0,6}"), 0..4),
    ) {
        let lines = models.iter().map(|(name, id)| format!("\n{name}\t{id}"));
        names(format!("{tag}\n{error}{}", lines.collect::<String>()).as_bytes());
    }
}

#[test]
fn a_body_needs_no_model_where_the_uri_names_it() {
    for (path, body) in [
        ("/v1/engines/m/completions", "{\"a\":1}"),
        ("/v1/engines/m/completions", "{\"model\":null}"),
        ("/models/m:generateContent", "{\"model\":\"x\"}"),
        ("/v1/realtime?model=m", "{\"model\":\"x\"}"),
    ] {
        let head = format!("\0\0\0\0\0POST {path}\ncontent-type: application/json\n\n");
        request(format!("{head}{body}").as_bytes());
    }
}

#[test]
fn only_accepted_documents_of_the_suite_are_forwarded() {
    let gateway = Gateway::new(Source::new(MODELS, ""), |config| config);
    let runtime = paused_runtime();
    for (document, accepted) in json_suite() {
        let shown = document.escape_ascii();
        let body = Request::post(CHAT)
            .header("content-type", "application/json")
            .body(Full::from(document.clone()))
            .unwrap();
        let (received, seen) = runtime.block_on(gateway.send(body));
        let code = received.code();
        let is_object = document.starts_with(b"{");
        let expected: &[_] = match accepted {
            true => &["ok", "invalid_model"],
            false if is_object => &["invalid_json", "duplicate_model", "ambiguous_model"],
            false => &["invalid_json"],
        };
        assert!(expected.contains(&code), "{code}: {shown}");
        assert_eq!(seen.is_some(), code == "ok", "{shown}");
        let head = format!("POST {CHAT}\ncontent-type: application/json\n\n");
        for lengths in [[0; 5], [1; 5], [0x0c, 3, 64, 1, 0]] {
            request(&[&lengths[..], head.as_bytes(), &document].concat());
        }
    }
}
