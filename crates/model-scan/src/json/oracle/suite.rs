//! Documents of the kinds that public suites for JSON parsers have.

mod documents;

use self::documents::DOCUMENTS;

/// A document, and whether it is accepted.
type Case = (Vec<u8>, bool);

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
    for &(value, at_the_top, nested) in VALUES {
        around("{\"model\":\"m\",\"a\":", value, "}", at_the_top);
        around("{\"a\":[", value, "],\"model\":\"m\"}", nested);
    }
    for &(inside, accepted) in STRINGS {
        around("{\"model\":\"", inside, "\"}", accepted);
        around("{\"", inside, "\":1,\"model\":\"m\"}", accepted);
        // Other strings are not validated.
        around("{\"model\":\"m\",\"a\":\"", inside, "\"}", true);
        around("{\"a\":[{\"", inside, "\":1}],\"model\":\"m\"}", true);
    }
    cases.extend(other_encodings());
    cases.extend(deep_ones());
    cases
}

/// Values, and whether they are accepted at the top level and in an array.
///
/// Nested values are validated only as far as readers could disagree about their end.
const VALUES: &[(&[u8], bool, bool)] = &[
    // Numbers.
    (b"0", true, true),
    (b"-0", true, true),
    (b"123", true, true),
    (b"-123", true, true),
    (b"0.5", true, true),
    (
        b"-0.000000000000000000000000000000000000000000000000000001",
        true,
        true,
    ),
    (b"1E22", true, true),
    (b"1e-2", true, true),
    (b"0e+1", true, true),
    (b"123.456e78", true, true),
    (b"1e400", true, true),
    (b"-1e+9999", true, true),
    (b"1e-10000", true, true),
    (
        b"0.4e00669999999999999999999999999999999999999999999",
        true,
        true,
    ),
    (b"1234567890123456789012345678901234567890", true, true),
    (b"18446744073709551616", true, true),
    (b"-9223372036854775809", true, true),
    (b"01", false, true),
    (b"-01", false, true),
    (b"00", false, true),
    (b"1.", false, true),
    (b"-2.", false, true),
    (b".5", false, true),
    (b"-.5", false, true),
    (b"0.e1", false, true),
    (b"2.e+3", false, true),
    (b"0.1.2", false, true),
    (b"1e", false, true),
    (b"1e+", false, true),
    (b"1.0E-", false, true),
    (b"1eE2", false, true),
    (b"1e1.5", false, true),
    (b"+1", false, true),
    (b"++1", false, true),
    (b"--1", false, true),
    (b"-", false, true),
    (b"- 1", false, true),
    (b"1 2", false, true),
    (b"1+2", false, true),
    (b"-2-3", false, true),
    (b"1_000", false, false),
    (b"0x1F", false, false),
    (b"0b1", false, false),
    (b"0o7", false, false),
    (b"1a", false, true),
    (b"1f", false, true),
    (b"1n", false, true),
    (b"1L", false, false),
    (b"-foo", false, false),
    (b"1\xe5", false, false),
    (b"\xef\xbc\x91", false, false),
    (b"Infinity", false, false),
    (b"-Infinity", false, false),
    (b"+Inf", false, false),
    (b"NaN", false, false),
    (b"-NaN", false, false),
    // Words.
    (b"true", true, true),
    (b"false", true, true),
    (b"null", true, true),
    (b"nul", false, true),
    (b"nulll", false, true),
    (b"tru", false, true),
    (b"truefalse", false, true),
    (b"True", false, false),
    (b"TRUE", false, false),
    (b"FALSE", false, false),
    (b"Null", false, false),
    (b"None", false, false),
    (b"nil", false, false),
    (b"undefined", false, false),
    (b"tr\\u0075e", false, false),
    // Arrays.
    (b"[]", true, true),
    (b"[ \t\r\n]", true, true),
    (b"[[],[[]],{}]", true, true),
    (br#"["a",1,true,null,{"b":[2]}]"#, true, true),
    (br#"["",[1,2],"]","}","\"","\\"]"#, true, true),
    (b"[1,]", true, true),
    (b"[,1]", true, true),
    (b"[1,,2]", true, true),
    (b"[1 true]", true, true),
    (br#"["a" "b"]"#, true, true),
    (br#"["a":1]"#, true, true),
    (b"[:]", true, true),
    (b"[-]", true, true),
    (b"[nul]", true, true),
    (b"[", false, false),
    (b"]", false, false),
    (b"[1", false, false),
    (b"[1}", false, false),
    (b"[[1]", false, false),
    (b"[1]]", false, false),
    (br#"["a]"#, false, false),
    (br#"["a\"]"#, false, false),
    (b"[a]", true, true),
    (b"[x]", false, false),
    (b"['a']", false, false),
    (b"[`a`]", false, false),
    (b"[1;2]", false, false),
    (b"[1/2]", false, false),
    (b"[1,#\n2]", false, false),
    (b"[*]", false, false),
    (b"[<1>]", false, false),
    (b"[\\]", false, false),
    (b"[\\n]", false, false),
    (b"[\x0c]", false, false),
    (b"[\x0b]", false, false),
    (b"[\x00]", false, false),
    (b"[\x7f]", false, false),
    (b"[\xe5]", false, false),
    (b"[\xe2\x81\xa0]", false, false),
    (b"[\xef\xbb\xbf]", false, false),
    // Objects.
    (b"{}", true, true),
    (br#"{"a":{"b":{"c":[{}]}}}"#, true, true),
    (br#"{"":"","":""}"#, true, true),
    (br#"{"model":"x","model":"y"}"#, true, true),
    (br#"{"a\u0000b":1}"#, true, true),
    (br#"{"a":1,}"#, true, true),
    (br#"{"a"}"#, true, true),
    (br#"{"a" 1}"#, true, true),
    (b"{1:2}", true, true),
    (b"{", false, false),
    (b"{]", false, false),
    (br#"{"a":1"#, false, false),
    (br#"{"a":[}]"#, false, false),
    (b"{x:1}", false, false),
    (b"{'a':1}", false, false),
    (br#"{"a":1/**/}"#, false, false),
    // Neither.
    (b"", false, true),
    (b",", false, true),
    (b":", false, true),
    (b"'a'", false, false),
    (b"`a`", false, false),
    (b"@", false, false),
    (b"/x/", false, false),
    (b"\"a", false, false),
    (b"a\"", false, false),
    (b"(1)", false, false),
];

/// The insides of strings, and whether they are accepted in a key and in the model's value.
const STRINGS: &[(&[u8], bool)] = &[
    (b"", true),
    (b" ", true),
    (b"a/b", true),
    (b"\x7f", true),
    (b"'", true),
    (b"//", true),
    (b"[{", true),
    (br#"\" \\ \/ \b \f \n \r \t"#, true),
    (br#"\\\\\""#, true),
    (br#"\u0061\u00E9\u2028\uFFFF\uFDD0"#, true),
    (br#"\uD83D\uDE00"#, true),
    (br#"\ud834\udd1e\ud834\udd1e"#, true),
    (br#"\udbff\udfff"#, true),
    (b"\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x98\x80", true),
    (b"\xe2\x80\xa8\xe2\x80\xa9", true),
    (b"\xef\xbf\xbf \xef\xb7\x90 \xf4\x8f\xbf\xbf", true),
    (b"\xef\xbb\xbf", true),
    (b"e\xcc\x81\xe2\x80\x8d", true),
    // Raw control characters.
    (b"\n", false),
    (b"\t", false),
    (b"a\r\nb", false),
    (b"\x00", false),
    (b"\x1f", false),
    // Bad escapes.
    (br#"\a"#, false),
    (br#"\'"#, false),
    (br#"\0"#, false),
    (br#"\x41"#, false),
    (br#"\U0041"#, false),
    (br#"\u"#, false),
    (br#"\u00"#, false),
    (br#"\u00e"#, false),
    (br#"\u00eg"#, false),
    (br#"\u{61}"#, false),
    (br#"\u+061"#, false),
    (b"\\\n", false),
    (b"\\\x00", false),
    (b"\\\xc3\xa9", false),
    (b"\\u00\xc3\xa9", false),
    // Unpaired surrogates.
    (br#"\ud800"#, false),
    (br#"\udfff"#, false),
    (br#"\ud800a"#, false),
    (br#"\ud800\n"#, false),
    (br#"\ud800\u"#, false),
    (br#"\ud800\ud800"#, false),
    (br#"\ud800\u0041"#, false),
    (br#"\ude00\ud83d"#, false),
    // Not UTF-8.
    (b"\xff", false),
    (b"\x80", false),
    (b"\xe9", false),
    (b"\xe5 ", false),
    (b"\xc3", false),
    (b"\xc0\xaf", false),
    (b"\xc1\xbf", false),
    (b"\xe0\x80\xaf", false),
    (b"\xe2\x82", false),
    (b"\xed\xa0\x80", false),
    (b"\xed\xbf\xbf", false),
    (b"\xed\xa0\xbd\xed\xb8\x80", false),
    (b"\xf0\x80\x80\xaf", false),
    (b"\xf4\x90\x80\x80", false),
    (b"\xf5\x80\x80\x80", false),
    (b"\xf8\x88\x80\x80\x80", false),
    (b"\xfc\x83\xbf\xbf\xbf\xbf", false),
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
