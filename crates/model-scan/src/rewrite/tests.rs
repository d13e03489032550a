//! Tests of the rewrite, each response whole and cut into pieces.

use proptest::prelude::*;

use super::*;
use crate::random::{cuts, mutated, mutations};

const NAME: &str = r#""venice-uncensored""#;
const SSE: ResponseFormat = ResponseFormat::Events { parent: None };
const RESPONSES: ResponseFormat = ResponseFormat::Events {
    parent: Some("response"),
};

/// Rewrites a response that comes in these pieces.
fn rewrite_pieces<'a>(
    format: ResponseFormat,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut rewriter = ModelRewriter::new(format, Bytes::from_static(NAME.as_bytes()));
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&rewriter.flush());
    out
}

fn rewrite(format: ResponseFormat, response: &str) -> String {
    let whole = rewrite_pieces(format, [response.as_bytes()]);
    for size in [1, 2, 3, 7, 64] {
        let cut = rewrite_pieces(format, response.as_bytes().chunks(size));
        assert_eq!(
            String::from_utf8_lossy(&cut),
            String::from_utf8_lossy(&whole),
            "{size}"
        );
    }
    String::from_utf8(whole).unwrap()
}

fn assert_untouched(format: ResponseFormat, response: &str) {
    assert_eq!(rewrite(format, response), response);
}

#[test]
fn json_response_changes_only_in_its_model() {
    assert_eq!(
        rewrite(
            ResponseFormat::Json,
            "{ \"id\":1e400,\t\"model\" : \"0xb603\" , \"x\":{\"model\":\"0xb603\"}}\n"
        ),
        "{ \"id\":1e400,\t\"model\" : \"venice-uncensored\" , \"x\":{\"model\":\"0xb603\"}}\n"
    );
    assert_eq!(
        rewrite(ResponseFormat::Json, r#"{"mod\u0065l":"\ud83d\ude00"}"#),
        r#"{"mod\u0065l":"venice-uncensored"}"#
    );
}

#[test]
fn absent_nested_and_other_models_are_left_alone() {
    for response in [
        "",
        "{}",
        r#"{"a":"model","b":{"model":"x"},"c":[{"model":"x"}]}"#,
        r#"{"model":null}"#,
        r#"{"model":7,"x":1}"#,
        r#"{"model":["x"]}"#,
        r#"["model","x"]"#,
        r#""model""#,
        "not JSON",
    ] {
        assert_untouched(ResponseFormat::Json, response);
        assert_untouched(SSE, &format!("data: {response}\n\n"));
    }
}

#[test]
fn invalid_response_passes_unchanged() {
    for response in [
        r#"{"model":"0x"#,
        r#"{"model""#,
        r#"{"model": "#,
        "{\"model\":\"a\nb\"}",
    ] {
        assert_untouched(ResponseFormat::Json, response);
        assert_untouched(SSE, &format!("data: {response}"));
    }
}

#[test]
fn every_event_has_its_model_set() {
    let events = |model: &str| {
        format!(
            ": a comment with \"model\":\"x\"\r\n\r\n\
             event: chunk\ndata: {{\"model\":\"{model}\",\"n\":1}}\nid: 7\n\n\
             data:{{\"n\":2,\"model\":\"{model}\"}}\r\n\r\n\
             data:  {{\"model\":\"{model}\"}}\r\rdata: {{\"model\":\"{model}\"}}\n\r\n\
             model: {{\"model\":\"x\"}}\ndatab: {{\"model\":\"x\"}}\ndat: {{\"model\":\"x\"}}\n\n\
             data\n\ndata:\n\ndata: [DONE]\n\n"
        )
    };
    assert_eq!(rewrite(SSE, &events("0xb603")), events("venice-uncensored"));
}

#[test]
fn byte_order_mark_begins_no_line() {
    let event = |model: &str| format!("data: {{\"model\":\"{model}\"}}");
    for end in ["\n", "\r\n", "\r"] {
        let stream = |model: &str| format!("\u{feff}{}{end}{end}", event(model));
        assert_eq!(rewrite(SSE, &stream("0xb603")), stream("venice-uncensored"));
        // A second mark, and one in a later event, are part of their lines.
        let marked = event("0xb603");
        assert_untouched(SSE, &format!("\u{feff}\u{feff}{marked}{end}{end}"));
        assert_untouched(SSE, &format!("{end}\u{feff}{marked}{end}{end}"));
    }
    let part = b"\xef\xbbdata: {\"model\":\"0xb603\"}\n\n";
    for size in [1, 2, 3, 64] {
        assert_eq!(rewrite_pieces(SSE, part.chunks(size)), part);
    }
}

#[test]
fn every_line_has_its_model_set() {
    let lines = |model: &str| {
        format!(
            "{{\"model\":\"{model}\",\"done\":false}}\n\
             {{\"x\":{{\"model\":\"x\"}}, \"model\" : \"{model}\"}}\r\n\n \n\
             {{\"model\":7}}\n{{\"model\":\"0x\nnot JSON\n[\"model\"]\n\
             {{\"model\":\"{model}\"}}"
        )
    };
    assert_eq!(
        rewrite(ResponseFormat::Lines, &lines("0xb603")),
        lines("venice-uncensored")
    );
}

#[test]
fn complete_lines_are_not_held_back() {
    let name = Bytes::from_static(NAME.as_bytes());
    let mut rewriter = ModelRewriter::new(ResponseFormat::Lines, name);
    for line in [
        "{\"model\":\"0xb603\"}\n",
        "{\"n\":1}\n",
        "{\"model\":\"0xb6\n",
        "\n",
    ] {
        let out = rewriter.push(Bytes::from_static(line.as_bytes()));
        assert!(out.ends_with(b"\n"), "{line}");
        assert!(rewriter.is_empty());
    }
}

#[test]
fn data_lines_of_one_event_are_one_document() {
    assert_eq!(
        rewrite(
            SSE,
            "data: {\"a\":\ndata: 1,\"model\":\nid: 3\ndata:\"0xb603\"\ndata: }\n\n"
        ),
        "data: {\"a\":\ndata: 1,\"model\":\nid: 3\ndata:\"venice-uncensored\"\ndata: }\n\n"
    );
    // The second line makes the model a nested one.
    assert_eq!(
        rewrite(SSE, "data: {\"a\":{\ndata: \"model\":\"0xb603\"}}\n\n"),
        "data: {\"a\":{\ndata: \"model\":\"0xb603\"}}\n\n"
    );
}

#[test]
fn model_under_the_parent_key_is_set() {
    let event = |model: &str| {
        format!(
            "data: {{\"type\":\"response.created\",\"a\":{{\"response\":{{\"model\":\"x\"}}}},\
             \"response\":{{\"id\":1,\"b\":{{\"model\":\"x\"}},\"model\":\"{model}\"}},\
             \"n\":2}}\n\n\
             data: {{\"response\":{{\"model\":\"{model}\"}},\"model\":\"{model}\"}}\n\n\
             data: {{\"model\":\"{model}\",\"response\":{{\"model\":\"{model}\"}}}}\n\n\
             data: {{\"response\":[{{\"model\":\"x\"}}]}}\n\n\
             data: {{\"text\":\"\\\"response\\\":{{\\\"model\\\":\\\"x\\\"}}\"}}\n\n"
        )
    };
    assert_eq!(
        rewrite(RESPONSES, &event("0xb603")),
        event("venice-uncensored")
    );
    assert_untouched(SSE, "data: {\"response\":{\"model\":\"0xb603\"}}\n\n");
}

#[test]
fn complete_events_are_not_held_back() {
    let mut rewriter = ModelRewriter::new(SSE, Bytes::from_static(NAME.as_bytes()));
    for event in [
        "data: {\"model\":\"0xb603\"}\n\n",
        "data: {\"n\":1}\n\n",
        "data: {\"model\":\n\n",
        "data: {\"model\":\"0xb6\n\n",
        ": ping\n\n",
    ] {
        let out = rewriter.push(Bytes::from_static(event.as_bytes()));
        assert!(out.ends_with(b"\n\n"), "{event}");
        assert!(rewriter.is_empty());
    }
}

#[test]
fn only_a_pending_model_is_held_back() {
    let mut rewriter =
        ModelRewriter::new(ResponseFormat::Json, Bytes::from_static(NAME.as_bytes()));
    assert_eq!(
        rewriter.push("{\"text\":\"unfinis".into()),
        "{\"text\":\"unfinis"
    );
    assert_eq!(rewriter.push("hed\",\"model\":\"0x".into()), "");
    assert_eq!(
        rewriter.push("b603\",\"n\":".into()),
        "hed\",\"model\":\"venice-uncensored\",\"n\":"
    );
}

#[test]
fn endless_model_is_held_back_up_to_the_limit() {
    let mut rewriter =
        ModelRewriter::new(ResponseFormat::Json, Bytes::from_static(NAME.as_bytes()));
    let mut out = rewriter.push("{\"model\":\"".into()).to_vec();
    let endless = Bytes::from(vec![b'x'; 1000]);
    for _ in 0..100 {
        out.extend_from_slice(&rewriter.push(endless.clone()));
        assert!(rewriter.held.len() as u64 <= MAX_HELD);
    }
    assert!(out.len() > 80_000);
}

#[test]
fn unchanged_bytes_are_not_copied() {
    let mut rewriter = ModelRewriter::new(SSE, Bytes::from_static(NAME.as_bytes()));
    let event = Bytes::from("data: {\"n\":1}\n\n");
    assert_eq!(rewriter.push(event.clone()).as_ptr(), event.as_ptr());
}

#[test]
fn model_may_be_cut_at_the_end_of_a_large_frame() {
    let first = format!("{{\"text\":\"{}\",\"model\":\"0x", "x".repeat(100_000));
    let out = rewrite_pieces(ResponseFormat::Json, [first.as_bytes(), b"b603\",\"n\":1}"]);
    assert!(out.ends_with(b"\",\"model\":\"venice-uncensored\",\"n\":1}"));
}

/// Generates a JSON object with a top-level `model`, whose value is `@`.
fn document() -> impl Strategy<Value = String> {
    let space = "[ \t]{0,2}";
    let value = prop_oneof![
        Just("1e400".to_owned()),
        Just("\"model\"".to_owned()),
        Just(r#"{"model":"nested"}"#.to_owned()),
        Just(r#"["\"}", {"a":[]}]"#.to_owned()),
        "[a-z😀é]{0,6}".prop_map(|text| format!("{text:?}")),
    ];
    let member = (any::<u8>(), value, space).prop_map(|(n, v, s)| format!("\"k{n}\"{s}:{s}{v}"));
    let members = prop::collection::vec(member, 0..4);
    (members.clone(), members, space).prop_map(|(before, after, space)| {
        let model = format!("\"model\"{space}:{space}@");
        let all: Vec<_> = before.into_iter().chain([model]).chain(after).collect();
        format!("{{{}}}", all.join(","))
    })
}

#[test]
fn one_model_may_be_complete_while_the_other_is_pending() {
    for event in [
        r#"data: {"model":"0xb603","response":{"model":"0xb603"}}"#,
        r#"data: {"response":{"model":"0xb603"},"model":"0xb603"}"#,
    ] {
        for at in 0..event.len() {
            let (first, rest) = event.as_bytes().split_at(at);
            let out = rewrite_pieces(RESPONSES, [first, rest]);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out, event.replace("\"0xb603\"", NAME), "{at}");
        }
    }
}

proptest! {
    #[test]
    fn nested_models_are_set_however_events_are_cut(
        events in prop::collection::vec((document(), document(), any::<bool>()), 0..4),
        cuts in cuts(),
    ) {
        let stream: String = events
            .iter()
            .map(|(top, nested, first)| {
                let (open, members) = top.split_at(1);
                let (members, close) = members.split_at(members.len() - 1);
                let object = format!("\"response\":{nested}");
                let (a, b) = if *first { (&*object, members) } else { (members, &*object) };
                format!("data: {open}{a},{b}{close}\n\n")
            })
            .collect();
        let response = stream.replace('@', r#""0xb603""#);
        let out = rewrite_pieces(RESPONSES, cuts.frames(response.as_bytes()));
        prop_assert_eq!(String::from_utf8(out).unwrap(), stream.replace('@', NAME));
    }

    #[test]
    fn json_responses_change_only_in_their_model(
        document in document(),
        cuts in cuts(),
    ) {
        let response = document.replace('@', r#""0xb6\u00303""#);
        let out = rewrite_pieces(ResponseFormat::Json, cuts.frames(response.as_bytes()));
        prop_assert_eq!(String::from_utf8(out).unwrap(), document.replace('@', NAME));
    }

    #[test]
    fn events_change_only_in_their_models(
        events in prop::collection::vec(
            (
                document(),
                prop::sample::select(vec!["\n", "\r\n", "\r"]),
                any::<bool>(),
                any::<bool>(),
            ),
            0..5,
        ),
        cuts in cuts(),
    ) {
        let stream: String = events
            .iter()
            .map(|(document, end, space, other)| {
                let space = if *space { " " } else { "" };
                let other = match other {
                    true => format!("event: x{end}: \"model\"{end}"),
                    false => String::new(),
                };
                format!("{other}data:{space}{document}{end}{end}")
            })
            .collect();
        let response = stream.replace('@', r#""0xb603""#);
        let out = rewrite_pieces(SSE, cuts.frames(response.as_bytes()));
        prop_assert_eq!(String::from_utf8(out).unwrap(), stream.replace('@', NAME));
    }

    #[test]
    fn arbitrary_streams_match_the_oracle(
        stream in "\u{feff}?(data: ?|\\{|\\}|\"model\":|\"response\":|\"|a|\\\\|\r|\n|\n\n|,|: |\"x\")\
                   {0,40}",
        cuts in cuts(),
    ) {
        let frames = cuts.frames(stream.as_bytes());
        for format in [ResponseFormat::Json, ResponseFormat::Lines, SSE, RESPONSES] {
            oracle::check(format, &frames);
        }
    }

    #[test]
    fn mutated_events_match_the_oracle(
        documents in prop::collection::vec((document(), document(), any::<bool>()), 0..4),
        mutations in mutations(b"[\"{},:\r\n a]"),
        cuts in cuts(),
    ) {
        let mut response = String::new();
        for (outer, inner, is_nested) in documents {
            let value = if is_nested { &inner } else { "7" };
            let inside = outer.replacen('{', &format!("{{\"response\":{value},"), 1);
            response += &format!("data: {}\n\n", inside.replace('@', "\"0xb603\""));
        }
        let lines = response.replace("data: ", "");
        for (response, format) in [
            (&response, SSE),
            (&response, RESPONSES),
            (&lines, ResponseFormat::Lines),
        ] {
            let response = mutated(response.clone(), &mutations);
            oracle::check(format, &cuts.frames(&response));
        }
    }
}
