//! One model of a catalog, read leniently from the feed.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

/// The longest name or ID that an entry may have.
const MAX_TEXT_BYTES: usize = 1024;

/// One active model of a [`Catalog`](super::Catalog).
///
/// The feed's optional fields are read leniently: one of an unexpected type
/// counts as absent, so that a publisher's slip in one of them never takes a
/// model out of service.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    name: Arc<str>,
    id: Arc<str>,
    id_literal: Bytes,
    name_literal: Bytes,
    id_header_value: HeaderValue,
    name_header_value: HeaderValue,
    model_type: ModelType,
    tags: Vec<String>,
    created_at: u64,
    owner: Option<String>,
    venice_id: Option<String>,
}

impl ModelEntry {
    /// The model's name, spelled as in the catalog.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's ID, which is what goes upstream in place of the name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the model does.
    pub fn model_type(&self) -> &ModelType {
        &self.model_type
    }

    /// The publisher's tags, in their order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// When the model was published, in seconds since the Unix epoch; 0 when
    /// the feed does not say.
    pub fn created_at(&self) -> u64 {
        self.created_at
    }

    /// Who published the model (an address on Morpheus).
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The name as a cheap handle, for labels of metrics.
    #[cfg(feature = "metrics")]
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The ID as a JSON string literal, ready to be spliced into a body.
    pub(crate) fn id_literal(&self) -> &Bytes {
        &self.id_literal
    }

    /// The name as a JSON string literal, ready to be spliced into an answer.
    pub(crate) fn name_literal(&self) -> &Bytes {
        &self.name_literal
    }

    /// The ID as the value of a header.
    pub(crate) fn id_header_value(&self) -> &HeaderValue {
        &self.id_header_value
    }

    /// The name as the value of a header.
    pub(crate) fn name_header_value(&self) -> &HeaderValue {
        &self.name_header_value
    }

    pub(super) fn venice_id(&self) -> Option<&str> {
        self.venice_id.as_deref()
    }

    /// Reads one element of the feed's `models` array. `None`: deleted, or
    /// without a usable `Name` or `Id`. One that is too long is not usable:
    /// names and IDs get into headers, logs, labels and every request.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        if value.get("IsDeleted") == Some(&Value::Bool(true)) {
            return None;
        }
        let text = |key: &str| {
            let text = value.get(key)?.as_str()?.trim();
            (!text.is_empty()).then_some(text)
        };
        let short = |key: &str| text(key).filter(|text| text.len() <= MAX_TEXT_BYTES);
        let id = short("Id")?;
        let name = short("Name")?;
        Some(Self {
            name: name.into(),
            id: id.into(),
            id_literal: serde_json::to_vec(id).ok()?.into(),
            name_literal: serde_json::to_vec(name).ok()?.into(),
            id_header_value: header_value(id)?,
            name_header_value: header_value(name)?,
            model_type: ModelType::parse(text("ModelType")),
            tags: value
                .get("Tags")
                .and_then(Value::as_array)
                .map(|tags| {
                    tags.iter()
                        .filter_map(Value::as_str)
                        .map(String::from)
                        .collect()
                })
                .unwrap_or_default(),
            created_at: value.get("CreatedAt").and_then(Value::as_u64).unwrap_or(0),
            owner: text("Owner").map(String::from),
            venice_id: value
                .get("enrichment")
                .and_then(|enrichment| enrichment.get("veniceId")?.as_str())
                .map(String::from),
        })
    }
}

/// What kind of inference a model does: the feed's `ModelType`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelType {
    /// Text generation.
    Llm,
    /// Embeddings.
    Embedding,
    /// Text to speech.
    Tts,
    /// Speech to text.
    Stt,
    /// The feed says `UNKNOWN` or nothing; such a model suits every endpoint.
    Unknown,
    /// A type this version has not heard of, as the feed spells it; such a
    /// model suits every endpoint.
    Other(Box<str>),
}

impl ModelType {
    /// The type as the feed spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Llm => "LLM",
            Self::Embedding => "EMBEDDING",
            Self::Tts => "TTS",
            Self::Stt => "STT",
            Self::Unknown => "UNKNOWN",
            Self::Other(name) => name,
        }
    }

    fn parse(name: Option<&str>) -> Self {
        let Some(name) = name else {
            return Self::Unknown;
        };
        [
            Self::Llm,
            Self::Embedding,
            Self::Tts,
            Self::Stt,
            Self::Unknown,
        ]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(name))
        .unwrap_or_else(|| Self::Other(name.into()))
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `text` as a header's value: as it is when it is visible ASCII, which
/// every recipient can read (RFC 9110, 5.5), else percent-encoded.
fn header_value(text: &str) -> Option<HeaderValue> {
    // `%` too, so that the encoding can be undone.
    const UNFIT: &AsciiSet = &CONTROLS.add(b'%');

    let text = if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Cow::Borrowed(text)
    } else {
        Cow::from(utf8_percent_encode(text, UNFIT))
    };
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deleted_nameless_or_idless_entry_is_left_out() {
        for value in [
            json!({"Id": "0x1", "Name": "a", "IsDeleted": true}),
            json!({"Id": "0x1"}),
            json!({"Id": "0x1", "Name": " "}),
            json!({"Id": "0x1", "Name": 7}),
            json!({"Name": "a"}),
            json!({"Name": "a", "Id": ""}),
            json!({"Name": "a", "Id": "x".repeat(MAX_TEXT_BYTES + 1)}),
            json!({"Name": "x".repeat(MAX_TEXT_BYTES + 1), "Id": "0x1"}),
            json!("a"),
            json!(null),
        ] {
            assert!(ModelEntry::from_value(&value).is_none(), "{value}");
        }
    }

    #[test]
    fn the_longest_name_and_id_are_kept() {
        let longest = "x".repeat(MAX_TEXT_BYTES);
        let entry = ModelEntry::from_value(&json!({"Id": longest, "Name": longest})).unwrap();
        assert_eq!((entry.id(), entry.name()), (&*longest, &*longest));
    }

    #[test]
    fn a_slip_in_an_optional_field_keeps_the_entry() {
        let entry = ModelEntry::from_value(&json!({
            "Id": "0x1", "Name": "a", "IsDeleted": null, "ModelType": 3, "Tags": "x",
            "CreatedAt": "yesterday", "Owner": [], "enrichment": "none",
        }))
        .unwrap();
        assert_eq!(entry.model_type(), &ModelType::Unknown);
        assert!(entry.tags().is_empty());
        assert_eq!(entry.created_at(), 0);
        assert_eq!((entry.owner(), entry.venice_id()), (None, None));
    }

    #[test]
    fn every_type_is_read_in_any_case_and_an_unheard_of_one_is_kept() {
        for (spelling, expected) in [
            ("LLM", ModelType::Llm),
            ("embedding", ModelType::Embedding),
            ("Tts", ModelType::Tts),
            ("STT", ModelType::Stt),
            ("unknown", ModelType::Unknown),
            ("IMAGE", ModelType::Other("IMAGE".into())),
        ] {
            assert_eq!(ModelType::parse(Some(spelling)), expected);
        }
        assert_eq!(ModelType::parse(None), ModelType::Unknown);
    }

    #[test]
    fn the_id_literal_is_the_id_as_json() {
        let entry = ModelEntry::from_value(&json!({"Id": "a\"b\\c\n", "Name": "a"})).unwrap();
        let decoded: String = serde_json::from_slice(entry.id_literal()).unwrap();
        assert_eq!(decoded, entry.id());
    }

    #[test]
    fn a_header_value_is_ascii_and_cannot_break_a_line() {
        for (text, value) in [
            ("llama-3.2 3b", "llama-3.2 3b"),
            ("100%", "100%"),
            ("größe 1%", "gr%C3%B6%C3%9Fe 1%25"),
            ("a\r\nx: y\0", "a%0D%0Ax: y%00"),
        ] {
            assert_eq!(header_value(text).unwrap(), value);
        }
    }
}
