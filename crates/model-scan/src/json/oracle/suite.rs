//! Documents of the kinds that public suites for JSON parsers have.

mod documents;

use self::Accepted::{Everywhere, InValues, NotInKeys, Nowhere};
use self::documents::DOCUMENTS;

/// A document, and whether it is accepted.
type Case = (Vec<u8>, bool);

/// Where a string is accepted.
#[derive(Clone, Copy, PartialEq)]
enum Accepted {
    Everywhere,
    /// In values, the model among them.
    NotInKeys,
    /// In values except the model.
    InValues,
    Nowhere,
}

/// Returns documents of the kinds that public suites for JSON parsers have, each with whether
/// [`ModelScanner::json`](crate::ModelScanner::json) accepts it.
pub fn suite() -> Vec<(Vec<u8>, bool)> {
    let mut cases: Vec<Case> = DOCUMENTS
        .iter()
        .map(|&(document, accepted)| (document.to_vec(), accepted))
        .collect();
    let mut around = |before: &str, value: &[u8], after: &str, accepted| {
        let document = [before.as_bytes(), value, after.as_bytes()].concat();
        cases.push((document, accepted));
    };
    for &(value, accepted) in VALUES {
        around("{\"model\":\"m\",\"a\":", value, "}", accepted);
        around("{\"a\":[", value, "],\"model\":\"m\"}", accepted);
        around("{\"a\":{\"b\":", value, "},\"model\":\"m\"}", accepted);
    }
    for &(inside, accepted) in STRINGS {
        around(
            "{\"",
            inside,
            "\":1,\"model\":\"m\"}",
            accepted == Everywhere,
        );
        let in_model = matches!(accepted, Everywhere | NotInKeys);
        around("{\"model\":\"", inside, "\"}", in_model);
        let in_values = accepted != Nowhere;
        around("{\"model\":\"m\",\"a\":\"", inside, "\"}", in_values);
        around("{\"a\":[{\"", inside, "\":1}],\"model\":\"m\"}", in_values);
    }
    cases.extend(other_encodings());
    cases.extend(deep_ones());
    cases
}

/// Values, and whether they are accepted.
const VALUES: &[(&[u8], bool)] = &[
    // Numbers.
    (b"0", true),
    (b"-0", true),
    (b"123", true),
    (b"-123", true),
    (b"0.5", true),
    (
        b"-0.000000000000000000000000000000000000000000000000000001",
        true,
    ),
    (b"1E22", true),
    (b"1e-2", true),
    (b"0e+1", true),
    (b"123.456e78", true),
    (b"1e400", true),
    (b"-1e+9999", true),
    (b"1e-10000", true),
    (b"0.4e00669999999999999999999999999999999999999999999", true),
    (b"1234567890123456789012345678901234567890", true),
    (b"18446744073709551616", true),
    (b"-9223372036854775809", true),
    (b"01", false),
    (b"-01", false),
    (b"00", false),
    (b"1.", false),
    (b"-2.", false),
    (b".5", false),
    (b"-.5", false),
    (b"0.e1", false),
    (b"2.e+3", false),
    (b"0.1.2", false),
    (b"1e", false),
    (b"1e+", false),
    (b"1.0E-", false),
    (b"1eE2", false),
    (b"1e1.5", false),
    (b"+1", false),
    (b"++1", false),
    (b"--1", false),
    (b"-", false),
    (b"- 1", false),
    (b"1 2", false),
    (b"1+2", false),
    (b"-2-3", false),
    (b"1_000", false),
    (b"0x1F", false),
    (b"0b1", false),
    (b"0o7", false),
    (b"1a", false),
    (b"1f", false),
    (b"1n", false),
    (b"1L", false),
    (b"-foo", false),
    (b"1\xe5", false),
    (b"\xef\xbc\x91", false),
    (b"Infinity", false),
    (b"-Infinity", false),
    (b"+Inf", false),
    (b"NaN", false),
    (b"-NaN", false),
    // Words.
    (b"true", true),
    (b"false", true),
    (b"null", true),
    (b"nul", false),
    (b"nulll", false),
    (b"tru", false),
    (b"truefalse", false),
    (b"True", false),
    (b"TRUE", false),
    (b"FALSE", false),
    (b"Null", false),
    (b"None", false),
    (b"nil", false),
    (b"undefined", false),
    (b"tr\\u0075e", false),
    // Arrays.
    (b"[]", true),
    (b"[ \t\r\n]", true),
    (b"[[],[[]],{}]", true),
    (br#"["a",1,true,null,{"b":[2]}]"#, true),
    (br#"["",[1,2],"]","}","\"","\\"]"#, true),
    (b"[1,]", false),
    (b"[,1]", false),
    (b"[1,,2]", false),
    (b"[1 true]", false),
    (br#"["a" "b"]"#, false),
    (br#"["a":1]"#, false),
    (b"[:]", false),
    (b"[-]", false),
    (b"[nul]", false),
    (b"[", false),
    (b"]", false),
    (b"[1", false),
    (b"[1}", false),
    (b"[[1]", false),
    (b"[1]]", false),
    (br#"["a]"#, false),
    (br#"["a\"]"#, false),
    (b"[a]", false),
    (b"[x]", false),
    (b"['a']", false),
    (b"[`a`]", false),
    (b"[1;2]", false),
    (b"[1/2]", false),
    (b"[1,#\n2]", false),
    (br#"["\\u"/]"#, false),
    (b"[*]", false),
    (b"[<1>]", false),
    (b"[\\]", false),
    (b"[\\n]", false),
    (b"[\x0c]", false),
    (b"[\x0b]", false),
    (b"[\x00]", false),
    (b"[\x7f]", false),
    (b"[\xe5]", false),
    (b"[\xe2\x81\xa0]", false),
    (b"[\xef\xbb\xbf]", false),
    // Objects.
    (b"{}", true),
    (br#"{"a":{"b":{"c":[{}]}}}"#, true),
    (br#"{"":"","":""}"#, true),
    (br#"{"model":"x","model":"y"}"#, true),
    (br#"{"a\u0000b":1}"#, true),
    (br#"{"a":1,}"#, false),
    (br#"{"a"}"#, false),
    (br#"{"a" 1}"#, false),
    (b"{1:2}", false),
    (b"{", false),
    (b"{]", false),
    (br#"{"a":1"#, false),
    (br#"{"a":[}]"#, false),
    (b"{x:1}", false),
    (b"{'a':1}", false),
    (br#"{"a":1/**/}"#, false),
    // Neither.
    (b",", false),
    (b":", false),
    (b"'a'", false),
    (b"`a`", false),
    (b"@", false),
    (b"/x/", false),
    (b"\"a", false),
    (b"a\"", false),
    (b"(1)", false),
];

/// The insides of strings, and where they are accepted.
const STRINGS: &[(&[u8], Accepted)] = &[
    (b"", Everywhere),
    (b" ", Everywhere),
    (b"a/b", Everywhere),
    (b"\x7f", Everywhere),
    (b"'", Everywhere),
    (b"//", Everywhere),
    (b"[{", Everywhere),
    (br#"\" \\ \/ \b \f \n \r \t"#, Everywhere),
    (br#"\\\\\""#, Everywhere),
    (br#"\u0061\u00E9\u2028\uFFFF\uFDD0"#, NotInKeys),
    (br#"\uD83D\uDE00"#, Everywhere),
    (br#"\ud834\udd1e\ud834\udd1e"#, Everywhere),
    (br#"\udbff\udfff"#, Everywhere),
    (b"\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x98\x80", Everywhere),
    (b"\xe2\x80\xa8\xe2\x80\xa9", Everywhere),
    (b"\xef\xbf\xbf \xef\xb7\x90 \xf4\x8f\xbf\xbf", Everywhere),
    (b"\xef\xbb\xbf", Everywhere),
    (b"e\xcc\x81\xe2\x80\x8d", Everywhere),
    // Raw control characters.
    (b"\n", Nowhere),
    (b"\t", Nowhere),
    (b"a\r\nb", Nowhere),
    (b"\x00", Nowhere),
    (b"\x1f", Nowhere),
    // Bad escapes.
    (br#"\a"#, Nowhere),
    (br#"\'"#, Nowhere),
    (br#"\0"#, Nowhere),
    (br#"\x41"#, Nowhere),
    (br#"\U0041"#, Nowhere),
    (br#"\u"#, Nowhere),
    (br#"\u00"#, Nowhere),
    (br#"\u00e"#, Nowhere),
    (br#"\u00eg"#, Nowhere),
    (br#"\u{61}"#, Nowhere),
    (br#"\u+061"#, Nowhere),
    (b"\\\n", Nowhere),
    (b"\\\x00", Nowhere),
    (b"\\\xc3\xa9", Nowhere),
    (b"\\u00\xc3\xa9", Nowhere),
    // Unpaired surrogates.
    (br#"\ud800"#, InValues),
    (br#"\udfff"#, InValues),
    (br#"\ud800a"#, InValues),
    (br#"\ud800\n"#, InValues),
    (br#"\ud800\u"#, Nowhere),
    (br#"\ud800\ud800"#, InValues),
    (br#"\ud800\u0041"#, InValues),
    (br#"\ude00\ud83d"#, InValues),
    // Not UTF-8.
    (b"\xff", Nowhere),
    (b"\x80", Nowhere),
    (b"\xe9", Nowhere),
    (b"\xe5 ", Nowhere),
    (b"\xc3", Nowhere),
    (b"\xc0\xaf", Nowhere),
    (b"\xc1\xbf", Nowhere),
    (b"\xe0\x80\xaf", Nowhere),
    (b"\xe2\x82", Nowhere),
    (b"\xed\xa0\x80", Nowhere),
    (b"\xed\xbf\xbf", Nowhere),
    (b"\xed\xa0\xbd\xed\xb8\x80", Nowhere),
    (b"\xf0\x80\x80\xaf", Nowhere),
    (b"\xf4\x90\x80\x80", Nowhere),
    (b"\xf5\x80\x80\x80", Nowhere),
    (b"\xf8\x88\x80\x80\x80", Nowhere),
    (b"\xfc\x83\xbf\xbf\xbf\xbf", Nowhere),
];

/// Returns documents in UTF-16, in UTF-32 and with byte order marks; none is accepted.
fn other_encodings() -> Vec<Case> {
    let text = r#"{"model":"m"}"#;
    let utf16 =
        |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(bytes).collect() };
    let utf32 = |bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
        text.chars().flat_map(|c| bytes(c.into())).collect()
    };
    let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
    [
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        utf32(u32::to_le_bytes),
        utf32(u32::to_be_bytes),
        marked(b"\xff\xfe", &utf16(u16::to_le_bytes)),
        marked(b"\xfe\xff", &utf16(u16::to_be_bytes)),
        marked(b"\xff\xfe\0\0", &utf32(u32::to_le_bytes)),
        marked(b"\0\0\xfe\xff", &utf32(u32::to_be_bytes)),
        marked(b"\xef\xbb\xbf", text.as_bytes()),
        marked(b"\xef\xbb\xbf\xef\xbb\xbf", text.as_bytes()),
        marked(b"\xef\xbb", text.as_bytes()),
        b"\xef\xbb\xbf".to_vec(),
        b"\xff\xfe".to_vec(),
        b"+/v8-{}".to_vec(),
    ]
    .map(|document| (document, false))
    .into()
}

/// Returns nested documents. Nesting may be 1,024 deep, with the object that is the document.
fn deep_ones() -> Vec<Case> {
    let nested = |open: &str, close: &str, times: usize| {
        let (open, close) = (open.repeat(times), close.repeat(times));
        format!("{{\"model\":\"m\",\"a\":{open}1{close}}}").into_bytes()
    };
    vec![
        (nested("[", "]", 64), true),
        (nested("[", "]", 1_023), true),
        (nested("[", "]", 1_024), false),
        (nested("{\"a\":", "}", 1_023), true),
        (nested("{\"a\":", "}", 1_024), false),
        (nested("[{\"\":", "}]", 511), true),
        (nested("[{\"\":", "}]", 512), false),
        (nested("[", "", 100), false),
        (nested("[", "", 5_000), false),
        (nested("{\"a\":[", "}]", 3), false),
        (nested("[[],[[[]]],", "]", 100), true),
    ]
}
