//! Single documents, each for one rule.

use super::super::{
    Insertion, JsonErrorKind, JsonScanner, Model,
    Reason::{self, *},
    decode_string,
};
use super::{SCANS, scan, scan_with};
use crate::edit::ValueKind;

fn model(document: &str) -> Model {
    let outcome = scan(&[document.as_bytes()]);
    assert_eq!(outcome.result, Ok(()), "{document}");
    assert!(outcome.complete);
    outcome.model
}

/// Returns the text of the model's value, with its quotes.
fn literal(document: &str) -> &str {
    match model(document) {
        Model::String { start, end, .. } | Model::Null { start, end } => {
            &document[start as usize..end as usize]
        }
        other => panic!("{document}: {other:?}"),
    }
}

fn rejection(document: impl AsRef<[u8]>) -> (JsonErrorKind, u64) {
    let document = document.as_ref();
    let error = scan(&[document]).result.expect_err("a rejection");
    (error.kind(), error.offset())
}

#[track_caller]
fn assert_invalid(document: impl AsRef<[u8]>, reason: Reason, offset: u64) {
    let document = document.as_ref();
    let expected = (JsonErrorKind::Invalid(reason), offset);
    assert_eq!(rejection(document), expected, "{}", document.escape_ascii());
}

#[test]
fn model_is_found_anywhere_at_the_top_level() {
    assert_eq!(literal(r#"{"model":"a"}"#), r#""a""#);
    assert_eq!(literal(r#"{"model":"","n":1}"#), r#""""#);
    assert_eq!(literal(r#"{"a":[{"b":{}}],"model":"x y"}"#), r#""x y""#);
    assert_eq!(
        literal(" {\r\n\t\"model\" :\t\"日本😀\" } \n"),
        "\"日本😀\""
    );
    assert_eq!(
        literal(r#"{"n":-0.5e+3,"t":true,"f":false,"z":null,"model":"m"}"#),
        r#""m""#
    );
    assert_eq!(literal(r#"{"model":null}"#), "null");
}

#[test]
fn escapes_in_the_model_are_decoded() {
    let document = r#"{"model":"a\u0020\ud83d\ude00\"\\\/\b\f\n\r\tz"}"#;
    let Model::String {
        start,
        end,
        escaped,
    } = model(document)
    else {
        panic!();
    };
    assert!(escaped);
    let literal = &document.as_bytes()[start as usize..end as usize];
    let decoded = decode_string(literal, escaped).unwrap();
    assert_eq!(decoded, "a 😀\"\\/\x08\x0c\n\r\tz");
    assert_eq!(decode_string(br#""\u0000""#, true).unwrap(), "\0");
}

#[test]
fn decode_string_rejects_invalid_literals() {
    for literal in [
        "",
        "\"",
        "a",
        "\"a",
        r#""\"#,
        r#""\x""#,
        r#""\u12""#,
        r#""\ud83d""#,
        r#""\ud83d\u0041""#,
        r#""\ude00""#,
        r#""\u00é0""#,
        r#""\u+123""#,
        r#""\é""#,
    ] {
        assert_eq!(decode_string(literal.as_bytes(), true), None, "{literal}");
    }
    assert_eq!(decode_string(b"\"\xff\"", false), None);
}

#[test]
fn nested_models_and_similar_keys_do_not_match() {
    for document in [
        r#"{}"#,
        r#"{"a":{"model":"x"},"b":[{"model":"y"}]}"#,
        r#"{"a":"\"model\":\"x\""}"#,
        r#"{"models":"x","mode":"y","":"z","xmodel":0,"modél":1}"#,
        r#"{"mod\"el":"x","model\\n":"y","a\u0000":"z","m\u00f6del":0}"#,
        r#"{"a":{"mod\u0065l":0,"_model":1,"<<":{},"Model":2}}"#,
    ] {
        assert_eq!(model(document), Model::Unseen, "{document}");
    }
}

#[test]
fn other_values_are_reported_with_their_first_byte() {
    for (value, kind) in [
        ("-", ValueKind::Number),
        ("7", ValueKind::Number),
        ("t", ValueKind::Boolean),
        ("f", ValueKind::Boolean),
        ("[", ValueKind::Array),
        ("{", ValueKind::Object),
    ] {
        let mut scanner = JsonScanner::new();
        scanner.feed(br#"{"model": "#).unwrap();
        assert_eq!(scanner.model(), Model::Pending);
        scanner.feed(value.as_bytes()).unwrap();
        assert_eq!(scanner.model(), Model::Other { start: 10, kind });
    }
}

#[test]
fn strings_are_reported_with_their_closing_quote() {
    let mut scanner = JsonScanner::new();
    scanner.feed(br#"{"mod"#).unwrap();
    assert_eq!(scanner.model(), Model::Unseen);
    scanner.feed(br#"el""#).unwrap();
    assert_eq!(scanner.model(), Model::Pending);
    scanner.feed(br#":"x"#).unwrap();
    assert_eq!(scanner.model(), Model::Pending);
    scanner.feed(br#"""#).unwrap();
    let (start, end, escaped) = (9, 12, false);
    assert_eq!(
        scanner.model(),
        Model::String {
            start,
            end,
            escaped
        }
    );
    assert!(!scanner.is_complete());
    scanner.feed(b"}").unwrap();
    assert!(scanner.is_complete());
    assert_eq!(scanner.finish(), Ok(()));
}

#[test]
fn insertion_is_just_past_the_opening_brace() {
    let at = |at, object_is_empty| {
        Some(Insertion {
            at,
            object_is_empty,
        })
    };
    assert_eq!(scan(&[&b"{}"[..]]).insertion, at(1, true));
    assert_eq!(scan(&[&b" { \n} "[..]]).insertion, at(2, true));
    assert_eq!(scan(&[&b" {\"a\":1}"[..]]).insertion, at(2, false));
    assert_eq!(JsonScanner::new().insertion(), None);
}

#[test]
fn second_model_is_rejected_at_its_key() {
    let duplicate = JsonErrorKind::DuplicateModel;
    assert_eq!(rejection(r#"{"model":"a","model":"a"}"#), (duplicate, 13));
    assert_eq!(
        rejection(r#"{"model":null,"x":[],"model"#.to_owned() + "\"!"),
        (duplicate, 21)
    );
}

#[test]
fn ambiguous_keys_are_rejected_at_their_opening_quote() {
    for key in [
        "Model",
        "\\u004dODEL",
        "mod\\u0065l",
        "mod\\u0065",
        "a\\u0026b",
        "_model",
        "mo-del",
        "model_",
        " model",
        "model\\n",
        "\u{feff}model",
        "model\\u0000",
        "-655e|!)j$(|z&/0",
        "65_5_lf($>7%7?$x",
        "<<",
        "__proto__",
        "$id",
        "$ref",
    ] {
        let ambiguous = JsonErrorKind::AmbiguousModel;
        assert_eq!(rejection(format!("{{\"{key}\":1}}")), (ambiguous, 1));
        let after = format!("{{\"model\":\"a\", \"{key}\":1}}");
        assert_eq!(rejection(after), (ambiguous, 14), "{key}");
    }
}

#[test]
fn keys_of_responses_match_exactly() {
    let mut scanner = JsonScanner::for_key("response");
    scanner
        .feed(br#"{"Response":1,"$id":2,"a\u0026":3,"resp\u006fnse":4"#)
        .unwrap();
    let kind = ValueKind::Number;
    assert_eq!(scanner.model(), Model::Other { start: 50, kind });
}

#[test]
fn documents_follow_the_grammar() {
    assert_invalid("", EmptyBody, 0);
    assert_invalid(" \n", EmptyBody, 2);
    assert_invalid("{", UnexpectedEnd, 1);
    assert_invalid(r#"{"a":1"#, UnexpectedEnd, 6);
    assert_invalid(r#"{"a":"b"#, UnexpectedEnd, 7);
    for other in ["[]", "\"a\"", "1", "null", "model=a", "<a>"] {
        assert_invalid(other, NotAnObject, 0);
    }
    assert_invalid("{} x", TrailingData, 3);
    assert_invalid("{}{}", TrailingData, 2);
    assert_invalid("{}\0", TrailingData, 2);
    assert_invalid(r#"{"a":1,}"#, TrailingComma, 7);
    assert_invalid(r#"{"a":[1, ]}"#, TrailingComma, 9);
    assert_invalid(r#"{"a":{"b":1,}}"#, TrailingComma, 12);
    assert_invalid(r#"{"a":{"b":]}"#, UnexpectedByte, 10);
    assert_invalid(r#"{,"a":1}"#, UnexpectedByte, 1);
    assert_invalid(r#"{"a" 1}"#, UnexpectedByte, 5);
    assert_invalid(r#"{"a":,}"#, UnexpectedByte, 5);
    assert_invalid(r#"{"a":1 2}"#, UnexpectedByte, 7);
    assert_invalid(r#"{"a":1]"#, Bracket, 6);
    assert_invalid("{a:1}", Word, 1);
    assert_invalid("{'a':1}", SingleQuote, 1);
    assert_invalid("{\"a\":1\x0c}", UnexpectedByte, 6);
}

#[test]
fn numbers_follow_the_grammar() {
    for number in ["0", "-0", "10", "0.0", "1e5", "1E+05", "-1.5e-0", "1e400"] {
        model(&format!("{{\"a\":{number},\"b\":[{number},{number} ]}}"));
    }
    for (number, at) in [
        ("01", 1),
        ("-01", 2),
        ("1.", 2),
        (".5", 0),
        ("+1", 0),
        ("1e", 2),
        ("1e+", 3),
        ("-", 1),
        ("1.e1", 2),
    ] {
        assert_invalid(format!("{{\"a\":{number}}}"), Number, 5 + at);
        assert_invalid(format!("{{\"a\":[{number}]}}"), Number, 6 + at);
    }
    assert_invalid("{\"a\":0x1}", Word, 6);
    assert_invalid("{\"a\":1e5.2}", UnexpectedByte, 8);
}

#[test]
fn words_are_exact() {
    assert_invalid("{\"a\":nul}", Word, 8);
    assert_invalid("{\"a\":[nul]}", Word, 9);
    assert_invalid("{\"a\":truee}", Word, 9);
    for (word, reason) in [
        ("NaN", NotFinite),
        ("Infinity", NotFinite),
        ("None", NotFinite),
        ("True", Word),
        ("undefined", Word),
    ] {
        assert_invalid(format!("{{\"a\":{word}}}"), reason, 5);
        assert_invalid(format!("{{\"a\":[{word}]}}"), reason, 6);
    }
    assert_invalid("{\"a\":-Infinity}", NotFinite, 6);
    assert_invalid("{\"a\":[-Infinity]}", NotFinite, 7);
}

#[test]
fn strings_are_validated() {
    for (before, after) in [
        ("{\"", "\":1}"),
        ("{\"model\":\"", "\"}"),
        ("{\"a\":\"", "\"}"),
        ("{\"a\":{\"", "\":1}}"),
        ("{\"a\":[\"", "\"]}"),
    ] {
        let assert = |inside: &[u8], reason, at: u64| {
            let document = [before.as_bytes(), inside, after.as_bytes()].concat();
            assert_invalid(document, reason, before.len() as u64 + at);
        };
        assert(b"\n", ControlCharacter, 0);
        assert(b"a\x00", ControlCharacter, 1);
        assert(b"\\x", Escape, 1);
        assert(b"\\U0041", Escape, 1);
        assert(b"\\u12g4", Escape, 4);
        assert(b"\x80", Utf8, 0);
        assert(b"\xc0\xaf", Utf8, 0);
        assert(b"\xe0\x80\x80", Utf8, 1);
        assert(b"\xed\xa0\x80", Utf8, 1);
        assert(b"\xf4\x90\x80\x80", Utf8, 1);
        assert(b"\xf5", Utf8, 0);
        assert(b"\xe6\x97", Utf8, 2);
    }
    assert_eq!(literal(r#"{"model":"a\u0000"}"#), r#""a\u0000""#);
}

#[test]
fn surrogates_are_paired_in_keys_and_the_model() {
    for (before, after) in [("{\"", "\":1}"), ("{\"model\":\"", "\"}")] {
        for (inside, at) in [
            ("\\ud83d", 6),
            ("\\ud83d\\n", 7),
            ("\\ud83d\\u0041", 11),
            ("\\ud83d\\ud83d", 11),
            ("\\ude00", 5),
        ] {
            let document = [before, inside, after].concat();
            assert_invalid(document, Surrogate, (before.len() + at) as u64);
            for document in [
                format!("{{\"a\":\"{inside}\"}}"),
                format!("{{\"a\":{{\"{inside}\":\"{inside}\"}}}}"),
            ] {
                assert_eq!(model(&document), Model::Unseen);
            }
        }
    }
}

#[test]
fn nested_values_follow_the_grammar() {
    for nested in [
        "[]",
        "{}",
        "[ ]",
        "[[],{},\"\",0,true,false,null]",
        "{\"a\" : [ {\"b\" : {} } , 1 ] , \"\" : \"\"}",
    ] {
        model(&format!("{{\"a\":{nested}}}"));
    }
    assert_invalid(r#"{"a":[1}}"#, Bracket, 7);
    assert_invalid(r#"{"a":{"b":[}]}"#, UnexpectedByte, 11);
    assert_invalid(r#"{"a":[}"#, UnexpectedByte, 6);
    assert_invalid(r#"{"a":{"b":1]"#, Bracket, 11);
    assert_invalid(r#"{"a":[1 2]}"#, UnexpectedByte, 8);
    assert_invalid(r#"{"a":["b" "c"]}"#, UnexpectedByte, 10);
    assert_invalid(r#"{"a":[,1]}"#, UnexpectedByte, 6);
    assert_invalid(r#"{"a":["b":1]}"#, UnexpectedByte, 9);
    assert_invalid(r#"{"a":[1,"b":1]}"#, UnexpectedByte, 11);
    assert_invalid(r#"{"a":{"b"}}"#, UnexpectedByte, 9);
    assert_invalid(r#"{"a":{"b":1,2}}"#, UnexpectedByte, 12);
    assert_invalid(r#"{"a":{1:2}}"#, UnexpectedByte, 6);
    assert_invalid("{\"a\":[1 // 2\n]}", Comment, 8);
    assert_invalid("{\"a\":[# 2\n]}", Comment, 6);
    assert_invalid("{\"a\":['b']}", SingleQuote, 6);
    assert_invalid("{\"a\":[`b`]}", SingleQuote, 6);
    assert_invalid("{\"a\":{b:1}}", Word, 6);
    assert_invalid("{\"a\":[\\\"]}", UnexpectedByte, 6);
    assert_invalid("{\"a\":[\x0b]}", UnexpectedByte, 6);
    assert_invalid("{\"a\":[\u{feff}]}", NotAscii, 6);
    assert_invalid("{\"a\":[1;2]}", UnexpectedByte, 7);
}

#[test]
fn other_encodings_are_rejected() {
    assert_invalid("\u{feff}{}", ByteOrderMark, 0);
    let utf16: Vec<u8> = "{\"a\":1}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_invalid(&utf16, WideText, 1);
    let utf16: Vec<u8> = "{\"a\":1}"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    assert_invalid(&utf16, WideText, 0);
    assert_invalid(b"\xff\xfe{\0}\0", ByteOrderMark, 0);
    assert_invalid(b"\xfe\xff\0{\0}", ByteOrderMark, 0);
    assert_invalid(b"\0\0\xfe\xff\0\0\0{", WideText, 0);
}

#[test]
fn nesting_is_limited_to_1024_levels() {
    let document =
        |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(model(&document(1023)), Model::Unseen);
    assert_invalid(document(1024), TooDeep, 5 + 1023);
    assert_invalid(document(100_000), TooDeep, 5 + 1023);
    // Only open brackets count.
    model(&format!("{{\"a\":[{}1]}}", "[[{}]],".repeat(5_000)));
}

#[test]
fn long_keys_take_constant_memory() {
    let mut scanner = JsonScanner::new();
    scanner.feed(b"{\"model").unwrap();
    for _ in 0..1_000 {
        scanner.feed(&[b'x'; 1_000]).unwrap();
    }
    scanner.feed(b"\":1,\"model\":\"a\"}").unwrap();
    assert_eq!(scanner.finish(), Ok(()));
    assert!(matches!(scanner.model(), Model::String { .. }));
    assert!(size_of::<JsonScanner>() <= 256);
}

#[test]
fn long_strings_may_be_cut_around_their_first_escape() {
    let long = "x".repeat(3_000);
    for value in [
        format!("\"{long}\\\"{long}\\\\\""),
        format!("[\"{long}\\\"{long}\\\\\"]"),
    ] {
        let document = format!("{{\"a\":{value},\"model\":\"b\"}}");
        let whole = scan(&[document.as_bytes()]);
        assert_eq!(whole.result, Ok(()));
        for &way in SCANS {
            for len in [1, 63, 64, 100, 2_000] {
                for cut in 2_950..3_050 {
                    let (first, rest) = document.as_bytes().split_at(cut);
                    let frames: Vec<_> = std::iter::once(first).chain(rest.chunks(len)).collect();
                    assert_eq!(scan_with(way, &frames), whole, "{cut} {len}");
                }
            }
        }
    }
}

#[test]
fn empty_frames_change_nothing() {
    let frames: Vec<&[u8]> = vec![b"", b"{\"model\":\"\\", b"", b"", b"\\\"", b"", b"}", b""];
    let outcome = scan(&frames);
    assert_eq!(outcome.result, Ok(()));
    let (start, end, escaped) = (9, 13, true);
    assert_eq!(
        outcome.model,
        Model::String {
            start,
            end,
            escaped
        }
    );
}

#[test]
fn errors_have_cause_offset_and_remedy() {
    let message = |document: &str| scan(&[document.as_bytes()]).result.unwrap_err().to_string();
    assert_eq!(
        message(r#"{"model":"a","model":"b"}"#),
        "a second top-level `model` key at byte 13: send exactly one `model`"
    );
    assert_eq!(
        message("\u{feff}{}"),
        "a byte order mark at byte 0: encode the body as UTF-8 without BOM"
    );
    assert_eq!(
        message("{\"a\":1,}"),
        "a comma after the last member or element at byte 7: remove the comma"
    );
    assert_eq!(
        message("{\"a\":NaN}"),
        "an unquoted `NaN`, `Infinity` or similar word at byte 5: \
         send `null` for a number that is not finite, and for `None`"
    );
    for (document, cause, remedy) in [
        ("{\"a\":\"\n\"}", "a raw control character", "escape it"),
        ("{\0", "a zero byte, as in UTF-16", "as UTF-8"),
        ("{\"a\":[1,]}", "a comma after the last", "remove the comma"),
        ("{'a':1}", "a single quote", "double quotes"),
        ("{\"a\":/**/1}", "a comment", "remove it"),
        ("{a:1}", "an unquoted word", "double quotes"),
        ("{\"a\":\"\\x\"}", "a bad escape", "four hex digits"),
        (
            "{\"$id\":1}",
            "some JSON readers take for `model`",
            "remove it",
        ),
    ] {
        let message = message(document);
        assert!(message.contains(cause), "{message}");
        assert!(message.contains(remedy), "{message}");
    }
}
