use proptest::prelude::*;

use super::*;

const NAME: &str = r#""venice-uncensored""#;
const SSE: ResponseFormat = ResponseFormat::Events { parent: None };
const RESPONSES: ResponseFormat = ResponseFormat::Events {
    parent: Some("response"),
};

/// Feeds the answer in these pieces.
fn restore_pieces<'a>(
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

fn restore(format: ResponseFormat, answer: &str) -> String {
    let whole = restore_pieces(format, [answer.as_bytes()]);
    for size in [1, 2, 3, 7, 64] {
        let cut = restore_pieces(format, answer.as_bytes().chunks(size));
        assert_eq!(
            String::from_utf8_lossy(&cut),
            String::from_utf8_lossy(&whole),
            "{size}"
        );
    }
    String::from_utf8(whole).unwrap()
}

fn assert_untouched(format: ResponseFormat, answer: &str) {
    assert_eq!(restore(format, answer), answer);
}

#[test]
fn the_top_level_model_of_a_json_answer_is_set_and_nothing_else_changes() {
    assert_eq!(
        restore(
            ResponseFormat::Json,
            "{ \"id\":1e400,\t\"model\" : \"0xb603\" , \"x\":{\"model\":\"0xb603\"}}\n"
        ),
        "{ \"id\":1e400,\t\"model\" : \"venice-uncensored\" , \"x\":{\"model\":\"0xb603\"}}\n"
    );
    assert_eq!(
        restore(ResponseFormat::Json, r#"{"mod\u0065l":"\ud83d\ude00"}"#),
        r#"{"mod\u0065l":"venice-uncensored"}"#
    );
}

#[test]
fn a_model_that_is_absent_nested_or_no_string_is_left_alone() {
    for answer in [
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
        assert_untouched(ResponseFormat::Json, answer);
        assert_untouched(SSE, &format!("data: {answer}\n\n"));
    }
}

#[test]
fn a_broken_answer_loses_no_byte() {
    for answer in [
        r#"{"model":"0x"#,
        r#"{"model""#,
        r#"{"model": "#,
        "{\"model\":\"a\nb\"}",
    ] {
        assert_untouched(ResponseFormat::Json, answer);
        assert_untouched(SSE, &format!("data: {answer}"));
    }
}

#[test]
fn the_model_of_every_event_is_set() {
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
    assert_eq!(restore(SSE, &events("0xb603")), events("venice-uncensored"));
}

#[test]
fn the_data_lines_of_one_event_are_one_document() {
    assert_eq!(
        restore(
            SSE,
            "data: {\"a\":\ndata: 1,\"model\":\nid: 3\ndata:\"0xb603\"\ndata: }\n\n"
        ),
        "data: {\"a\":\ndata: 1,\"model\":\nid: 3\ndata:\"venice-uncensored\"\ndata: }\n\n"
    );
    // The second line makes it something else than the first one says.
    assert_eq!(
        restore(SSE, "data: {\"a\":{\ndata: \"model\":\"0xb603\"}}\n\n"),
        "data: {\"a\":{\ndata: \"model\":\"0xb603\"}}\n\n"
    );
}

#[test]
fn the_model_of_the_object_that_an_api_nests_it_in_is_set_by_path() {
    let event = |model: &str| {
        format!(
            "data: {{\"type\":\"response.created\",\"a\":{{\"response\":{{\"model\":\"x\"}}}},\
             \"response\":{{\"id\":1,\"b\":{{\"model\":\"x\"}},\"model\":\"{model}\"}},\"n\":2}}\n\n\
             data: {{\"response\":{{\"model\":\"{model}\"}},\"model\":\"{model}\"}}\n\n\
             data: {{\"model\":\"{model}\",\"response\":{{\"model\":\"{model}\"}}}}\n\n\
             data: {{\"response\":[{{\"model\":\"x\"}}]}}\n\n\
             data: {{\"text\":\"\\\"response\\\":{{\\\"model\\\":\\\"x\\\"}}\"}}\n\n"
        )
    };
    assert_eq!(
        restore(RESPONSES, &event("0xb603")),
        event("venice-uncensored")
    );
    assert_untouched(SSE, "data: {\"response\":{\"model\":\"0xb603\"}}\n\n");
}

#[test]
fn an_event_leaves_as_soon_as_it_is_complete() {
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
fn only_a_model_field_that_is_not_complete_is_held_back() {
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
fn a_model_field_without_an_end_is_given_up() {
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
fn what_does_not_change_is_not_copied() {
    let mut rewriter = ModelRewriter::new(SSE, Bytes::from_static(NAME.as_bytes()));
    let event = Bytes::from("data: {\"n\":1}\n\n");
    assert_eq!(rewriter.push(event.clone()).as_ptr(), event.as_ptr());
}

#[test]
fn a_model_at_the_end_of_a_large_frame_is_found_when_it_goes_on_in_the_next() {
    let front = format!("{{\"text\":\"{}\",\"model\":\"0x", "x".repeat(100_000));
    let out = restore_pieces(ResponseFormat::Json, [front.as_bytes(), b"b603\",\"n\":1}"]);
    assert!(out.ends_with(b"\",\"model\":\"venice-uncensored\",\"n\":1}"));
}

/// A JSON object that has a `model` in its top level, with the model's literal
/// marked by `@`.
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
    (members.clone(), members, space).prop_map(|(front, back, space)| {
        let model = format!("\"model\"{space}:{space}@");
        let all: Vec<_> = front.into_iter().chain([model]).chain(back).collect();
        format!("{{{}}}", all.join(","))
    })
}

fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in at.into_iter().chain([bytes.len()]) {
        pieces.push(bytes[from..to].to_vec());
        from = to;
    }
    pieces
}

#[test]
fn a_model_may_be_complete_where_the_other_one_is_not() {
    for event in [
        r#"data: {"model":"0xb603","response":{"model":"0xb603"}}"#,
        r#"data: {"response":{"model":"0xb603"},"model":"0xb603"}"#,
    ] {
        for at in 0..event.len() {
            let (front, back) = event.as_bytes().split_at(at);
            let out = restore_pieces(RESPONSES, [front, back]);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out, event.replace("\"0xb603\"", NAME), "{at}");
        }
    }
}

proptest! {
    #[test]
    fn nested_models_change_wherever_the_events_are_cut(
        events in prop::collection::vec((document(), document(), any::<bool>()), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
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
        let answer = stream.replace('@', r#""0xb603""#);
        let pieces = cut(answer.as_bytes(), &cuts);
        let out = restore_pieces(RESPONSES, pieces.iter().map(|piece| &piece[..]));
        prop_assert_eq!(String::from_utf8(out).unwrap(), stream.replace('@', NAME));
    }

    #[test]
    fn a_json_answer_changes_in_its_model_only_wherever_it_is_cut(
        document in document(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let answer = document.replace('@', r#""0xb6\u00303""#);
        let pieces = cut(answer.as_bytes(), &cuts);
        let out = restore_pieces(ResponseFormat::Json, pieces.iter().map(|piece| &piece[..]));
        prop_assert_eq!(String::from_utf8(out).unwrap(), document.replace('@', NAME));
    }

    #[test]
    fn events_change_in_their_models_only_wherever_they_are_cut(
        events in prop::collection::vec(
            (document(), prop::sample::select(vec!["\n", "\r\n", "\r"]), any::<bool>(), any::<bool>()),
            0..5,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream: String = events
            .iter()
            .map(|(document, end, space, other)| {
                let space = if *space { " " } else { "" };
                let other = if *other { format!("event: x{end}: \"model\"{end}") } else { String::new() };
                format!("{other}data:{space}{document}{end}{end}")
            })
            .collect();
        let answer = stream.replace('@', r#""0xb603""#);
        let pieces = cut(answer.as_bytes(), &cuts);
        let out = restore_pieces(SSE, pieces.iter().map(|piece| &piece[..]));
        prop_assert_eq!(String::from_utf8(out).unwrap(), stream.replace('@', NAME));
    }

    #[test]
    fn any_stream_keeps_all_but_its_models(
        stream in "(data: ?|\\{|\\}|\"model\":|\"response\":|\"|a|\\\\|\r|\n|\n\n|,|: |\"x\"){0,40}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let pieces = cut(stream.as_bytes(), &cuts);
        let frames: Vec<_> = pieces.iter().map(|piece| &piece[..]).collect();
        for format in [ResponseFormat::Json, SSE, RESPONSES] {
            oracle::check(format, &frames);
        }
    }

    #[test]
    fn events_of_documents_keep_all_but_their_models(
        documents in prop::collection::vec((document(), document(), any::<bool>()), 0..4),
        noise in prop::collection::vec((any::<prop::sample::Index>(), "[\"{},:\r\n a]"), 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut answer = String::new();
        for (outer, inner, is_nested) in documents {
            let value = if is_nested { &inner } else { "7" };
            let inside = outer.replacen('{', &format!("{{\"response\":{value},"), 1);
            answer += &format!("data: {}\n\n", inside.replace('@', "\"0xb603\""));
        }
        let mut answer = answer.into_bytes();
        for (place, bytes) in noise {
            let at = place.index(answer.len() + 1);
            answer.splice(at..at, bytes.bytes());
        }
        let pieces = cut(&answer, &cuts);
        let frames: Vec<_> = pieces.iter().map(|piece| &piece[..]).collect();
        for format in [SSE, RESPONSES] {
            oracle::check(format, &frames);
        }
    }
}
