//! One model of a catalog, read leniently from a document or made by a program.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

/// The longest name or ID of an entry. Both get into headers, logs, labels and requests.
const MAX_TEXT_BYTES: usize = 1024;

/// One active model of a [`Catalog`](super::Catalog).
///
/// [`Catalog::parse`](super::Catalog::parse) reads entries from a document, and
/// [`new`](Self::new) makes one of any other data.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{Catalog, ModelType};
///
/// let document = br#"{"models":[{"Name":"tts-kokoro","Id":"0x0c","ModelType":"TTS","Tags":7}]}"#;
/// let catalog = Catalog::parse(document)?;
/// let entry = catalog.entries().next().expect("a catalog is never empty");
/// assert_eq!((entry.name(), entry.id()), ("tts-kokoro", "0x0c"));
/// assert_eq!(entry.model_type(), &ModelType::Tts);
/// assert!(entry.tags().is_empty());
/// # Ok::<(), tower_model_routing::registry::CatalogError>(())
/// ```
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
    /// Returns an entry with this name and ID, of unknown type, and with no other field.
    ///
    /// White space around the name and the ID is removed.
    /// [`Catalog::from_entries`](super::Catalog::from_entries) leaves out an entry whose name or ID
    /// is empty or longer than 1,024 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::registry::{ModelEntry, ModelType};
    ///
    /// let entry = ModelEntry::new("tts-kokoro", "0x0c")
    ///     .with_model_type("TTS")
    ///     .with_tags(["speech", "82m"])
    ///     .with_created_at(1_735_689_600);
    /// assert_eq!((entry.name(), entry.id()), ("tts-kokoro", "0x0c"));
    /// assert_eq!(entry.model_type(), &ModelType::Tts);
    /// ```
    pub fn new(name: impl AsRef<str>, id: impl AsRef<str>) -> Self {
        let (name, id) = (name.as_ref().trim(), id.as_ref().trim());
        Self {
            name: name.into(),
            id: id.into(),
            id_literal: json_literal(id),
            name_literal: json_literal(name),
            id_header_value: header_value(id),
            name_header_value: header_value(name),
            model_type: ModelType::Unknown,
            tags: Vec::new(),
            created_at: 0,
            owner: None,
            venice_id: None,
        }
    }

    /// Sets the kind of inference that the model does: a [`ModelType`] or its name.
    #[must_use]
    pub fn with_model_type(mut self, model_type: impl Into<ModelType>) -> Self {
        self.model_type = model_type.into();
        self
    }

    /// Sets the publisher's tags.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Sets when the model was published, in seconds since the Unix epoch. Of two entries with one
    /// name, the newer one has it.
    #[must_use]
    pub fn with_created_at(mut self, seconds: u64) -> Self {
        self.created_at = seconds;
        self
    }

    /// Sets the publisher. An empty string removes it.
    #[must_use]
    pub fn with_owner(mut self, owner: impl AsRef<str>) -> Self {
        self.owner = non_empty(owner);
        self
    }

    /// Sets an alias, by which the model is found too unless another entry has it as its name or
    /// alias. An empty string removes it.
    #[must_use]
    pub fn with_venice_id(mut self, alias: impl AsRef<str>) -> Self {
        self.venice_id = non_empty(alias);
        self
    }

    /// Returns the model's name, spelled as in the document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the model's ID, which replaces the name in requests.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the kind of inference that the model does.
    pub fn model_type(&self) -> &ModelType {
        &self.model_type
    }

    /// Returns the publisher's tags, in their order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Returns when the model was published, in seconds since the Unix epoch, or 0 if the document
    /// has no date.
    pub fn created_at(&self) -> u64 {
        self.created_at
    }

    /// Returns the publisher, which is an address on Morpheus.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Returns the alias that the catalog gives the model beside the slug of its name.
    pub fn venice_id(&self) -> Option<&str> {
        self.venice_id.as_deref()
    }

    /// Returns the name as a cheap handle, for labels of metrics.
    #[cfg(feature = "metrics")]
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the ID as a JSON string literal, to splice it into a request body.
    pub(crate) fn id_literal(&self) -> &Bytes {
        &self.id_literal
    }

    /// Returns the name as a JSON string literal, to splice it into a response body.
    pub(crate) fn name_literal(&self) -> &Bytes {
        &self.name_literal
    }

    /// Returns the ID as a header value.
    pub(crate) fn id_header_value(&self) -> &HeaderValue {
        &self.id_header_value
    }

    /// Returns the name as a header value.
    pub(crate) fn name_header_value(&self) -> &HeaderValue {
        &self.name_header_value
    }

    /// Reads an element of the document's `models`. Returns `None` if it is deleted or has no
    /// usable `Name` or `Id`.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        if value.get("IsDeleted") == Some(&Value::Bool(true)) {
            return None;
        }
        let text = |key: &str| value.get(key)?.as_str();
        let entry = Self::new(text("Name")?, text("Id")?);
        if !entry.is_usable() {
            return None;
        }
        let tags = value.get("Tags").and_then(Value::as_array);
        let enrichment = |key: &str| value.get("enrichment")?.get(key)?.as_str();
        let venice_id = enrichment("veniceId").or_else(|| enrichment("venice_id"));
        Some(
            entry
                .with_model_type(text("ModelType").unwrap_or_default())
                .with_tags(tags.into_iter().flatten().filter_map(Value::as_str))
                .with_created_at(value.get("CreatedAt").and_then(Value::as_u64).unwrap_or(0))
                .with_owner(text("Owner").unwrap_or_default())
                .with_venice_id(venice_id.unwrap_or_default()),
        )
    }

    /// Returns whether the name and the ID are neither empty nor too long.
    pub(super) fn is_usable(&self) -> bool {
        let is_usable = |text: &str| (1..=MAX_TEXT_BYTES).contains(&text.len());
        is_usable(&self.name) && is_usable(&self.id)
    }

    /// Returns the entry as text, which is the same only for equal entries.
    pub(super) fn to_canonical_text(&self) -> String {
        serde_json::json!([
            self.name(),
            self.id(),
            self.model_type.as_str(),
            self.tags,
            self.created_at,
            self.owner,
            self.venice_id,
        ])
        .to_string()
    }
}

/// Returns `text` without white space around it, or `None` if there is nothing else.
fn non_empty(text: impl AsRef<str>) -> Option<String> {
    let text = text.as_ref().trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The kind of inference that a model does: the `ModelType` of its entry.
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
    /// `UNKNOWN` or absent, which is compatible with every endpoint.
    Unknown,
    /// Any other type, as the document spells it, which is compatible with every endpoint.
    Other(Box<str>),
}

impl ModelType {
    /// Returns the type as documents spell it.
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
}

impl From<&str> for ModelType {
    /// Reads a type in any letter case. The empty text is [`ModelType::Unknown`].
    fn from(name: &str) -> Self {
        let name = name.trim();
        if name.is_empty() {
            return Self::Unknown;
        }
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

impl From<String> for ModelType {
    /// Reads a type like [`From<&str>`](#impl-From%3C%26str%3E-for-ModelType).
    fn from(name: String) -> Self {
        Self::from(&*name)
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Returns `text` as a JSON string literal.
fn json_literal(text: &str) -> Bytes {
    Value::from(text).to_string().into()
}

/// Returns `text` as a header value: unchanged if it is printable ASCII (RFC 9110, 5.5), else
/// percent-encoded.
fn header_value(text: &str) -> HeaderValue {
    // `%` too, so that the value can be decoded.
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

    let text = if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Cow::Borrowed(text)
    } else {
        Cow::from(utf8_percent_encode(text, ESCAPED))
    };
    // Every printable ASCII text is a header value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unusable_entry_is_left_out() {
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
    fn longest_name_and_id_are_kept() {
        let longest = "x".repeat(MAX_TEXT_BYTES);
        let entry = ModelEntry::from_value(&json!({"Id": longest, "Name": longest})).unwrap();
        assert_eq!((entry.id(), entry.name()), (&*longest, &*longest));
    }

    #[test]
    fn optional_field_of_unexpected_type_is_absent() {
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
    fn model_type_is_read_in_any_case() {
        for (spelling, expected) in [
            ("LLM", ModelType::Llm),
            ("embedding", ModelType::Embedding),
            ("Tts", ModelType::Tts),
            ("STT", ModelType::Stt),
            ("unknown", ModelType::Unknown),
            ("IMAGE", ModelType::Other("IMAGE".into())),
        ] {
            assert_eq!(ModelType::from(spelling), expected);
        }
        assert_eq!(ModelType::from(" "), ModelType::Unknown);
    }

    #[test]
    fn id_literal_is_json() {
        let entry = ModelEntry::from_value(&json!({"Id": "a\"b\\c\n", "Name": "a"})).unwrap();
        let decoded: String = serde_json::from_slice(entry.id_literal()).unwrap();
        assert_eq!(decoded, entry.id());
    }

    #[test]
    fn header_value_is_printable_ascii() {
        for (text, value) in [
            ("llama-3.2 3b", "llama-3.2 3b"),
            ("100%", "100%"),
            ("größe 1%", "gr%C3%B6%C3%9Fe 1%25"),
            ("a\r\nx: y\0", "a%0D%0Ax: y%00"),
        ] {
            assert_eq!(header_value(text), value);
        }
    }
}
