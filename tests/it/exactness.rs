//! Random documents in random frames through the whole layer, compared with a naive oracle.
//!
//! More cases than the default:
//!
//! ```sh
//! PROPTEST_CASES=100000 cargo test --release --test it exactness
//! ```

use std::ops::Range;

use proptest::{collection::vec, option, prelude::*, sample::Index, sample::select};
use serde_json::value::RawValue;
use tower_model_routing::UnknownModel;

use crate::support::{
    body::{Hint, ScriptedBody, Step, data, trailers},
    gateway::{CHAT, Gateway, post},
};

/// The outcome of a request.
#[derive(Debug)]
enum Expected {
    /// The inner service receives this body.
    Served(String),
    /// The client gets one of these codes; which one can depend on the frames.
    Rejected(Vec<&'static str>),
}

/// The replacement in a body that is otherwise valid, if any, or the code of its rejection.
type Change = Result<Option<(Range<usize>, String)>, &'static str>;

/// Returns the members of an object, with their keys as spelled, in order, with duplicates.
fn members(document: &str) -> Vec<(&RawValue, &RawValue)> {
    let mut members = Vec::new();
    let mut rest = document.trim_start().strip_prefix('{').unwrap();
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if rest.starts_with('}') {
            return members;
        }
        let key = next_value(&mut rest);
        rest = rest.trim_start().strip_prefix(':').unwrap();
        let value = next_value(&mut rest);
        members.push((key, value));
    }
}

/// Takes the first value of the text.
fn next_value<'a>(text: &mut &'a str) -> &'a RawValue {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next().unwrap().unwrap();
    *text = &text[values.byte_offset()..];
    value
}

/// Returns whether some JSON reader takes the top-level key for `model`.
fn is_ambiguous(spelling: &str, key: &str) -> bool {
    let mut rest = spelling;
    while let Some(at) = rest.find('\\') {
        let unit = rest[at + 1..].strip_prefix('u').map(|hex| &hex[..4]);
        let code = unit.map(|hex| u32::from_str_radix(hex, 16).unwrap());
        if code.is_some_and(|code| (0x20..0x7f).contains(&code)) {
            return true;
        }
        rest = &rest[at + 2..];
    }
    let skipped = |c: char| c.is_whitespace() || ['_', '-'].contains(&c);
    let front = key.split('\0').next().unwrap().replace(skipped, "");
    let is_special = ["<<", "__proto__", "$id", "$ref"].contains(&key);
    is_special || key != "model" && front.eq_ignore_ascii_case("model")
}

fn oracle(document: &str, is_inference: bool, rejects_unknown: bool) -> Expected {
    let members = members(document);
    let mut error = None;
    let mut model: Option<&RawValue> = None;
    // Whether the error comes after the model, so that either can be reported.
    let mut model_is_first = false;
    for (key, value) in &members {
        let spelling = key.get();
        let key: String = serde_json::from_str(spelling).unwrap();
        let found = match key.as_str() {
            key if is_ambiguous(spelling, key) => Some("ambiguous_model"),
            "model" if model.is_some() => Some("duplicate_model"),
            "model" => {
                model = Some(value);
                model_is_first = error.is_none();
                None
            }
            _ => None,
        };
        error = error.or(found);
    }
    let change = match model {
        Some(model) => replace(document, model.get(), is_inference, rejects_unknown),
        None if is_inference => {
            let comma = if members.is_empty() { "" } else { "," };
            let at = document.find('{').unwrap() + 1;
            Ok(Some((at..at, format!(r#""model":"0x0a"{comma}"#))))
        }
        None => Ok(None),
    };
    if !is_inference {
        // Whatever cannot be replaced passes.
        return match (change, error) {
            (Ok(Some(_)), Some(error)) if model_is_first => Expected::Rejected(vec![error]),
            (Ok(Some((range, with))), None) => {
                let mut served = document.to_owned();
                served.replace_range(range, &with);
                Expected::Served(served)
            }
            _ => Expected::Served(document.into()),
        };
    }
    match (change, error) {
        (Ok(None), None) => Expected::Served(document.into()),
        (Ok(Some((range, with))), None) => {
            let mut served = document.to_owned();
            served.replace_range(range, &with);
            Expected::Served(served)
        }
        (Err(code), Some(error)) if model_is_first => Expected::Rejected(vec![code, error]),
        (_, Some(error)) => Expected::Rejected(vec![error]),
        (Err(code), None) => Expected::Rejected(vec![code]),
    }
}

/// Replaces the model, of which `value` is the slice of the document.
fn replace(document: &str, value: &str, is_inference: bool, rejects_unknown: bool) -> Change {
    let start = value.as_ptr() as usize - document.as_ptr() as usize;
    let range = start..start + value.len();
    let name = match serde_json::from_str::<serde_json::Value>(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Null) => String::new(),
        _ if is_inference => return Err("invalid_model"),
        _ => return Ok(None),
    };
    let id = match name.trim() {
        "" if is_inference => "0x0a",
        "" => return Ok(None),
        name => match id_of(name) {
            Some("0x0b" | "0x0c" | "0x0d") if is_inference => return Err("model_type_mismatch"),
            Some(id) => id,
            None if !is_inference => return Ok(None),
            None if rejects_unknown => return Err("model_not_found"),
            None => "0x0a",
        },
    };
    Ok(Some((range, format!("{id:?}"))))
}

fn id_of(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let mut slug: Vec<char> = Vec::new();
    for c in name.chars() {
        let c = if c == '_' || c.is_whitespace() {
            '\0'
        } else {
            c
        };
        if c != '\0' || slug.last() != Some(&'\0') {
            slug.push(c);
        }
    }
    let slug = String::from_iter(slug).replace('\0', "-");
    let long = "0x000000000000000000000000000000000000000000000000000000000000abcd";
    let names = [
        ("venice-uncensored", "0xb603"),
        ("mistral-31-24b", "0x0a"),
        ("text-embedding-bge-m3", "0x0b"),
        ("tts-kokoro", "0x0c"),
        ("whisper-1", "0x0d"),
        ("mystery", "0x0e"),
        ("untyped", "0x0f"),
        ("picture maker", "0x10"),
        ("picture-maker", "0x10"),
        ("flux", "0x10"),
        ("m", long),
        ("0xb603", "0xb603"),
        ("0x10", "0x10"),
    ];
    let found = names
        .iter()
        .find(|(known, _)| [&name, &slug].contains(&&(*known).to_owned()));
    found.map(|(_, id)| *id)
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,5}"]
}

/// Returns a text as a JSON string, with some of its characters escaped.
fn json_string(text: &str, escapes: &[Index]) -> String {
    let escaped: Vec<_> = escapes
        .iter()
        .map(|index| index.index(text.chars().count().max(1)))
        .collect();
    let mut literal = String::from("\"");
    for (at, c) in text.chars().enumerate() {
        if escaped.contains(&at) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                literal.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            match c {
                '"' | '\\' => literal.extend(['\\', c]),
                '\n' => literal.push_str("\\n"),
                c if c < ' ' => literal.push_str(&format!("\\u{:04X}", c as u32)),
                c => literal.push(c),
            }
        }
    }
    literal + "\""
}

fn json_strings(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let escapes = prop_oneof![2 => vec(any::<Index>(), 0), 1 => vec(any::<Index>(), 1..4)];
    (text, escapes).prop_map(|(text, escapes)| json_string(&text, &escapes))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,16}",
        1 => "[a-z\"\\\\/\\[\\]{}:,]{0,40}",
        1 => "\\PC{0,8}",
        1 => "[\u{1}-\u{1f}]{0,3}",
        2 => select(vec!["漢字と仮名", "😀🏳️‍🌈", r#"{"model":"x"}"#, r"\", "\u{7f}\u{2028}", "model"])
            .prop_map(String::from),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?",
        Just("1e400".into()),
        "[1-9][0-9]{24}",
    ];
    let word = select(vec!["true", "false", "null"]).prop_map(String::from);
    let leaf = prop_oneof![3 => json_strings(text()), 1 => number, 1 => word];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let member = (key(), space(), inner.clone())
            .prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
        prop_oneof![
            (vec(inner, 0..5), space()).prop_map(|(items, space)| format!(
                "[{space}{}]",
                items.join(&format!(",{space}"))
            )),
            (vec(member, 0..5), space())
                .prop_map(|(members, space)| format!("{{{}{space}}}", members.join(","))),
        ]
    })
}

/// Generates a key that is not `model` in any case.
fn key() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        4 => text(),
        4 => select(vec!["messages", "stream", "n", "models", "mode"]).prop_map(String::from),
    ];
    json_strings(text.prop_filter("model", |text| !text.eq_ignore_ascii_case("model")))
}

fn model_key() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        16 => Just("model"),
        1 => select(vec!["Model", "MODEL", "modeL", "model\0"]),
    ];
    json_strings(text.prop_map(String::from))
}

fn model_value() -> impl Strategy<Value = String> {
    let name = select(vec![
        "venice-uncensored",
        "Venice-UNCENSORED ",
        "venice_uncensored",
        "mistral 31__24b",
        "Picture Maker",
        "PICTURE_MAKER",
        "flux",
        "\tFlux\u{a0}",
        "0xB603",
        "0XB603",
        "0x10",
        "whisper-1",
        "",
        " ",
        "gpt-9",
        "0x11",
    ]);
    let name = name.prop_map(String::from);
    prop_oneof![8 => json_strings(name), 1 => json_strings(text()), 2 => value()]
}

fn document() -> impl Strategy<Value = String> {
    let models = prop_oneof![
        2 => vec((model_key(), model_value(), any::<Index>()), 0),
        12 => vec((model_key(), model_value(), any::<Index>()), 1),
        1 => vec((model_key(), model_value(), any::<Index>()), 2),
    ];
    let member = (key(), value());
    (
        vec(member, 0..6),
        models,
        [space(), space(), space(), space()],
    )
        .prop_map(|(mut members, models, [a, b, c, d])| {
            for (key, value, index) in models {
                members.insert(index.index(members.len() + 1), (key, value));
            }
            let members: Vec<_> = members
                .into_iter()
                .map(|(key, value)| format!("{a}{key}{b}:{c}{value}{d}"))
                .collect();
            format!("{d}{{{}{b}}}{a}", members.join(","))
        })
}

/// The way in which a document is sent.
#[derive(Clone, Debug)]
struct Framing {
    /// Ends of frames, and whether a `Pending` follows.
    cuts: Vec<(Index, bool)>,
    hint: Hint,
    has_length: bool,
    reports_end: bool,
    has_trailers: bool,
}

fn framing() -> impl Strategy<Value = Framing> {
    let hint = select(vec![Hint::Exact, Hint::Unknown, Hint::Bounds]);
    let cuts = prop_oneof![
        vec(any::<(Index, bool)>(), 0..6),
        vec(any::<(Index, bool)>(), 30)
    ];
    (cuts, hint, any::<[bool; 3]>()).prop_map(
        |(cuts, hint, [has_length, reports_end, has_trailers])| Framing {
            cuts,
            hint,
            has_length,
            reports_end,
            has_trailers,
        },
    )
}

impl Framing {
    fn body(&self, document: &str) -> ScriptedBody {
        let mut cuts: Vec<_> = self
            .cuts
            .iter()
            .map(|(index, pending)| (index.index(document.len() + 1), *pending))
            .collect();
        cuts.sort_unstable();
        cuts.push((document.len(), false));
        let mut steps = Vec::new();
        let mut start = 0;
        for (end, pending) in cuts {
            steps.push(data(&document.as_bytes()[start..end]));
            steps.extend(pending.then_some(Step::Pending));
            start = end;
        }
        steps.extend(self.has_trailers.then(|| Step::Trailers(trailers())));
        ScriptedBody::new(steps)
            .hint(self.hint)
            .reports_end(self.reports_end)
    }
}

#[test]
fn equals_a_naive_replacement() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let gateways = [UnknownModel::Fallback, UnknownModel::Reject]
        .map(|policy| Gateway::with(|config| config.unknown_model(policy)));
    proptest!(|(
        document in document(),
        framing in framing(),
        is_inference in any::<bool>(),
        rejects_unknown in option::weighted(0.3, Just(())),
    )| {
        let gateway = &gateways[usize::from(rejects_unknown.is_some())];
        let path = if is_inference { CHAT } else { "/v1/other" };
        let mut request = post(path, framing.body(&document));
        if framing.has_length {
            request.headers_mut().insert("content-length", document.len().into());
        }
        let (response, received) = runtime.block_on(gateway.send(request));
        match oracle(&document, is_inference, rejects_unknown.is_some()) {
            Expected::Served(served) => {
                prop_assert_eq!(response.code(), "ok", "{:?}", response);
                let received = received.unwrap();
                prop_assert_eq!(received.body.as_deref(), Ok(served.as_bytes()));
                let length = framing.has_length.then(|| served.len().to_string());
                prop_assert_eq!(received.header("content-length"), length.as_deref());
                if framing.hint == Hint::Exact {
                    prop_assert_eq!(received.exact_size, Some(served.len() as u64));
                }
                prop_assert_eq!(received.trailers.is_some(), framing.has_trailers);
            }
            Expected::Rejected(codes) => {
                prop_assert!(codes.contains(&response.code()), "{:?} {:?}", codes, response);
                // At most a prefix of the body.
                prop_assert!(received.is_none_or(|received| received.body.is_err()));
            }
        }
        prop_assert_eq!(gateway.layer.held_bytes(), 0);
    });
}
