//! Random documents.

use proptest::{collection::vec, prelude::*, sample::select};

/// Generates white space, mostly none.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => Just(" ".into()), 1 => "[ \t\r\n]{1,9}"]
}

/// Generates the inside of a valid string literal.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,12}",
        1 => "[ -!#-\\[\\]-~]{60,200}",
        1 => "\\PC{0,6}".prop_map(|s| s.replace(['"', '\\'], "日本語")),
        2 => select(vec![
            "\\\"", "\\\\", "\\/", "\\n", "\\t", "\\u0041", "\\u00e9", "\\uD83D\\uDE00", "😀",
            "漢字", "{\\\"model\\\":1}", "[", "}", "\u{7f}", "\\\\\\\\\\\"", "model", "'", "/*",
        ]).prop_map(String::from),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn literal() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("\"{text}\""))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?",
        Just("1e400".into()),
        "[1-9][0-9]{24}",
    ]
}

fn word() -> impl Strategy<Value = String> {
    select(vec!["true", "false", "null"]).prop_map(String::from)
}

/// Generates an array or object.
fn nested() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![literal(), number(), word()];
    let integers = vec(0_u32..100_000, 0..60).prop_map(|list| format!("{list:?}"));
    let value = leaf.prop_recursive(4, 48, 6, |inner| {
        let member = (member_key(), space(), inner.clone())
            .prop_map(|(key, space, value)| format!("{key}:{space}{value}"));
        prop_oneof![
            (vec(inner, 0..6), space()).prop_map(|(items, space)| format!(
                "[{space}{}]",
                items.join(&format!(",{space}"))
            )),
            (vec(member, 0..6), space())
                .prop_map(|(items, space)| format!("{{{}{space}}}", items.join(","))),
        ]
    });
    prop_oneof![
        8 => value.prop_map(|value| format!("[{value}]")),
        1 => integers,
    ]
}

/// Returns nested arrays and objects of random kinds, with other values between the brackets.
pub(super) fn deep(depth: usize, kinds: u64) -> String {
    let is_array = |level: usize| kinds.rotate_left(level as u32 * 7) & 1 == 0;
    let pick = |level: usize| kinds.rotate_right(level as u32) % 23;
    let mut out = String::new();
    for level in 0..depth {
        out.push_str(match (is_array(level), pick(level)) {
            (true, 0) => "[\"[{\\\"\",",
            (true, 1) => "[   ",
            (true, 2) => "[1,2,3,",
            (true, _) => "[",
            (false, 0) => "{\"[{\\\"\":\"}\",\"\":",
            (false, 1) => "{ \"\" :  ",
            (false, 2) => "{\"a\":1.5,\"b\":true,\"c\":",
            (false, _) => "{\"\":",
        });
    }
    out.push('0');
    for level in (0..depth).rev() {
        out.push_str(match (is_array(level), pick(level + 3)) {
            (true, 0) => ",\"]\"]",
            (true, 1) => "  ]",
            (true, _) => "]",
            (false, 0) => ",\"}\":\"{\"}",
            (false, 1) => "  }",
            (false, _) => "}",
        });
    }
    out
}

fn member_key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => literal(),
        1 => Just("\"model\"".into()),
        2 => select(vec!["\"messages\"", "\"stream\"", "\"n\"", "\"models\"", "\"mode\""])
            .prop_map(String::from),
    ]
}

/// Generates a spelling of `model`, now and then with a letter in upper case.
fn model_key() -> impl Strategy<Value = String> {
    let letter = |c: char| {
        prop_oneof![
            12 => Just(c.to_string()),
            1 => Just(format!("\\u{:04x}", c as u32)),
            1 => Just(format!("\\u{:04X}", c as u32)),
            1 => (0..12).prop_map(move |n| match n {
                0 => c.to_ascii_uppercase().to_string(),
                1 => format!("\\u{:04x}", c.to_ascii_uppercase() as u32),
                _ => c.to_string(),
            }),
        ]
    };
    let [m, o, d, e, l] = ['m', 'o', 'd', 'e', 'l'].map(letter);
    (m, o, d, e, l).prop_map(|(m, o, d, e, l)| format!("\"{m}{o}{d}{e}{l}\""))
}

/// Generates an object with mostly one model among other members.
fn object(value: BoxedStrategy<String>, model: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let member = |key: BoxedStrategy<String>, value: BoxedStrategy<String>| {
        (key, value, [space(), space(), space(), space()])
            .prop_map(|(key, value, [a, b, c, d])| format!("{a}{key}{b}:{c}{value}{d}"))
            .boxed()
    };
    let model = (
        member(model_key().boxed(), model),
        any::<prop::sample::Index>(),
    )
        .boxed();
    let models = prop_oneof![
        1 => vec(model.clone(), 0),
        14 => vec(model.clone(), 1),
        1 => vec(model, 2),
    ];
    let members = vec(member(literal().boxed(), value), 0..7);
    (members, models, space(), space())
        .prop_map(|(mut members, models, a, b)| {
            for (model, index) in models {
                members.insert(index.index(members.len() + 1), model);
            }
            format!("{a}{{{}}}{b}", members.join(","))
        })
        .boxed()
}

/// Generates any acceptable document, and some with two models or an ambiguous one.
pub(super) fn document() -> BoxedStrategy<String> {
    let value = || prop_oneof![2 => literal(), 2 => number(), 1 => word(), 4 => nested()].boxed();
    let model = prop_oneof![9 => literal(), 1 => value()];
    object(value(), model.boxed())
}

/// Generates a document with long strings and arrays, in which blocks are skipped.
pub(super) fn long_document() -> BoxedStrategy<String> {
    let repeat = |units: &'static [&'static str], times: usize| {
        vec((select(units), 1..times), 0..6).prop_map(|parts| {
            let parts = parts.into_iter().map(|(unit, times)| unit.repeat(times));
            parts.collect::<String>()
        })
    };
    let text = repeat(
        &[
            "a",
            "word ",
            "漢",
            "\\n",
            "\\\"",
            "\\\\",
            "x\\\"",
            "[{",
            "AbCd0123+/",
            "\\u00e9\\n",
        ],
        1500,
    );
    let long = text.prop_map(|text| format!("\"{text}\"")).boxed();
    let list = repeat(
        &[
            "1,",
            "12345, ",
            "[1,23],",
            "{\"a\":0},",
            "-1.5e+3,\n",
            "\"\",",
            "true ,",
            "[[]],",
        ],
        150,
    );
    let list = list.prop_map(|items| format!("[{items}0]")).boxed();
    let list_and_text = (list.clone(), long.clone(), list.clone())
        .prop_map(|(a, text, b)| format!("{{\"a\":{a},\"b\":[{text}],\"c\":{b}}}"));
    let value = prop_oneof![long.clone(), list, list_and_text];
    object(
        value.boxed(),
        prop_oneof![9 => literal(), 1 => long].boxed(),
    )
}
