//! Reads whole documents by `serde_json`.

use std::fmt;

use serde::{
    Deserializer,
    de::{self, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{
    super::{JsonErrorKind, Model},
    keys::is_model,
};
use crate::edit::ValueKind;

/// The most levels of nesting.
const MAX_DEPTH: usize = 1024;

const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The results of the naive reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) result: Result<(), Rejected>,
    pub(crate) model: Model,
    /// Whether the closing brace was read, without any error before it.
    pub(crate) complete: bool,
}

/// The reason why a document is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The key at this index.
    Key(JsonErrorKind, usize),
    Invalid,
}

/// A member of the top-level object, as it is spelled.
#[derive(Clone, Copy)]
struct Member<'a> {
    key: &'a str,
    /// Absent if it is not complete, or not valid.
    value: Option<&'a str>,
}

/// Reads a document, with only this key in the role of `model` if there is one.
pub(crate) fn read(document: &[u8], key: Option<&str>) -> Verdict {
    let text = valid_part(document);
    let (members, complete, is_valid) = members(text);
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let mut verdict = Verdict {
        result: Ok(()),
        model: Model::Unseen,
        complete: false,
    };
    for Member {
        key: spelling,
        value,
    } in members
    {
        let Ok(decoded) = serde_json::from_str::<String>(spelling) else {
            verdict.result = Err(Rejected::Invalid);
            return verdict;
        };
        let is_model = match key {
            Some(key) => Ok(decoded == key),
            None => is_model(&decoded, spelling),
        };
        let is_model = match is_model {
            Ok(true) if verdict.model != Model::Unseen => Err(JsonErrorKind::DuplicateModel),
            other => other,
        };
        match is_model {
            Err(kind) => {
                verdict.result = Err(Rejected::Key(kind, offset(spelling)));
                return verdict;
            }
            Ok(false) => continue,
            Ok(true) => {}
        }
        let begin = offset(spelling) + spelling.len();
        verdict.model = model(text, begin, value);
        let is_string = value.is_some_and(|value| value.starts_with('"'));
        if is_string && value.is_some_and(|value| serde_json::from_str::<String>(value).is_err()) {
            // An unpaired surrogate.
            verdict.model = Model::Pending;
            verdict.result = Err(Rejected::Invalid);
            return verdict;
        }
    }
    verdict.complete = complete && !is_too_deep(text);
    if !is_valid || !verdict.complete || text.len() < document.len() {
        verdict.result = Err(Rejected::Invalid);
    }
    verdict
}

/// Returns the model, whose key ends at index `at`.
fn model(text: &str, at: usize, value: Option<&str>) -> Model {
    let rest = text[at..].trim_start_matches(WHITE_SPACE);
    let rest = rest.strip_prefix(':').unwrap_or_default();
    let rest = rest.trim_start_matches(WHITE_SPACE);
    let start = (text.len() - rest.len()) as u64;
    let end = start + value.map_or(0, str::len) as u64;
    let kind = match (rest.bytes().next(), value) {
        (Some(b'"'), Some(value)) => {
            return Model::String {
                start,
                end,
                escaped: value.contains('\\'),
            };
        }
        (Some(b'n'), Some(_)) => return Model::Null { start, end },
        (Some(b'['), _) => ValueKind::Array,
        (Some(b'{'), _) => ValueKind::Object,
        (Some(b't' | b'f'), _) => ValueKind::Boolean,
        (Some(b'-' | b'0'..=b'9'), _) => ValueKind::Number,
        _ => return Model::Pending,
    };
    Model::Other { start, kind }
}

/// Returns whether a valid document may begin with these bytes. The depth, and surrogates in keys
/// and in the model, are not considered.
pub(super) fn may_go_on(document: &[u8]) -> bool {
    let text = valid_part(document);
    let is_cut = match str::from_utf8(document) {
        Ok(_) => false,
        Err(error) if error.error_len().is_none() => true,
        Err(_) => return false,
    };
    // Characters beyond ASCII occur in strings only.
    let in_string = || {
        let continued = format!("{text}\u{e9}");
        may_go_on(continued.as_bytes())
    };
    if is_cut {
        return in_string();
    }
    let begin = text.trim_start_matches(WHITE_SPACE);
    if !begin.is_empty() && !begin.starts_with('{') {
        return false;
    }
    let is_open = |text: &str| match serde_json::from_str::<Object>(text) {
        Ok(Object) => true,
        Err(error) => error.is_eof(),
    };
    // It does not check the digits of an escape that is cut. An escaped backslash and a `u` are no
    // escape of this kind.
    let missing = text
        .rfind("\\u")
        .filter(|&at| {
            let before = text[..at].trim_end_matches('\\');
            (at - before.len()).is_multiple_of(2)
        })
        .map_or(0, |at| (at + "\\u0000".len()).saturating_sub(text.len()));
    let text = format!("{text}{}", "0".repeat(missing));
    // Of a number that is cut, it says that it is invalid.
    is_open(&text) || is_open(&format!("{text}0"))
}

fn valid_part(document: &[u8]) -> &str {
    match str::from_utf8(document) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&document[..error.valid_up_to()]).unwrap(),
    }
}

/// Returns whether the object that the text begins with is nested too deep.
fn is_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' => drop(bytes.next()),
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Returns the members up to the end or the first error, whether the object is valid, and whether
/// nothing is after it.
fn members(text: &str) -> (Vec<Member<'_>>, bool, bool) {
    let mut members = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let complete = deserializer.deserialize_map(Members(&mut members)).is_ok();
    let is_valid = complete && deserializer.end().is_ok();
    (members, complete, is_valid)
}

/// Collects the members of an object.
struct Members<'a, 'de>(&'a mut Vec<Member<'de>>);

impl<'de> de::Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&RawValue>()? {
            self.0.push(Member {
                key: key.get(),
                value: None,
            });
            let value = map.next_value::<&RawValue>()?;
            if let Some(member) = self.0.last_mut() {
                member.value = Some(value.get());
            }
        }
        Ok(())
    }
}

/// An object with anything in it.
struct Object;

impl<'de> de::Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

impl<'de> de::Visitor<'de> for Object {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // Raw keys may have unpaired surrogates.
        while map.next_entry::<&RawValue, IgnoredAny>()?.is_some() {}
        Ok(Object)
    }
}
