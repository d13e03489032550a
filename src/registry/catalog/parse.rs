//! Makes catalogs of the document that a registry publishes, and of entries.

use std::{borrow::Cow, collections::HashMap, error::Error, fmt::Write as _, sync::Arc};

use serde_json::{Value, error::Category, value::RawValue};
use sha2::{Digest, Sha256};

use super::{Catalog, ModelEntry};

/// The most entries of a catalog, usable or not.
const MAX_ENTRIES: usize = 100_000;

/// The error of [`Catalog::parse`] and [`Catalog::from_entries`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The document is not a JSON object, or its `models` is not an array.
    #[error(
        "the document is not {{\"models\": [...]}} in JSON; check that the registry URL serves \
         the active models"
    )]
    #[non_exhaustive]
    Document {
        /// The parser's error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The document has no `models`.
    #[error("the document has no `models`; check that the registry URL serves the active models")]
    NoModels,
    /// There are too many entries, usable or not.
    #[error("there are {0} entries; at most {MAX_ENTRIES} are allowed")]
    TooManyEntries(usize),
    /// None of the entries is usable.
    #[error(
        "none of the {0} entries is active and has a name and an ID of at most 1,024 bytes, so \
         there is nothing to route to"
    )]
    NoUsableEntry(usize),
}

impl CatalogError {
    /// Returns the error for a document that is not what was `expected`.
    fn document(error: serde_json::Error, expected: &'static str) -> Self {
        let source = match error.classify() {
            // The parser's message would repeat the whole value.
            Category::Data => format!("{expected} was expected").into(),
            _ => error.into(),
        };
        Self::Document { source }
    }
}

impl Catalog {
    /// Parses a document of the [format](#format) above.
    ///
    /// # Errors
    ///
    /// Returns an error if the document is not JSON, has no `models` array, has more than 100,000
    /// entries, or has no usable one.
    pub fn parse(document: &[u8]) -> Result<Self, CatalogError> {
        Self::parse_hashed(document, sha256(document))
    }

    /// Parses a document whose SHA-256 is known.
    pub(in crate::registry) fn parse_hashed(
        document: &[u8],
        sha256: [u8; 32],
    ) -> Result<Self, CatalogError> {
        let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(document)
            .map_err(|error| CatalogError::document(error, "an object"))?;
        let models = fields.get("models").ok_or(CatalogError::NoModels)?;
        let models: Vec<&RawValue> = serde_json::from_str(models.get())
            .map_err(|error| CatalogError::document(error, "an array under `models`"))?;
        check_count(models.len())?;
        // Each entry is parsed by itself, so that a number out of range or an unpaired surrogate
        // makes one entry unusable only.
        let entries: Vec<_> = models
            .iter()
            .filter_map(|raw| serde_json::from_str::<Value>(raw.get()).ok())
            .filter_map(|value| ModelEntry::from_value(&value))
            .map(Arc::new)
            .collect();
        if entries.is_empty() {
            return Err(CatalogError::NoUsableEntry(models.len()));
        }
        Ok(Self::index(entries, sha256))
    }

    /// Returns a catalog of these entries, such as the rows of a database.
    ///
    /// Entries whose name or ID is empty or longer than 1,024 bytes are left out. The
    /// [`sha256`](Self::sha256) is that of the entries, so that a [`Registry`](super::super::Registry)
    /// takes equal ones in the same order as unchanged.
    ///
    /// # Errors
    ///
    /// Returns an error if there are more than 100,000 entries, or if none is usable.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::registry::{Catalog, ModelEntry};
    ///
    /// let rows = [("venice-uncensored", "0xb603", "LLM"), ("tts-kokoro", "0x0c", "TTS")];
    /// let catalog = Catalog::from_entries(
    ///     rows.map(|(name, id, kind)| ModelEntry::new(name, id).with_model_type(kind)),
    /// )?;
    /// assert_eq!(catalog.find("TTS Kokoro").map(|found| found.entry.id()), Some("0x0c"));
    /// # Ok::<(), tower_model_routing::registry::CatalogError>(())
    /// ```
    pub fn from_entries(
        entries: impl IntoIterator<Item = ModelEntry>,
    ) -> Result<Self, CatalogError> {
        let mut entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
        let count = entries.len();
        check_count(count)?;
        entries.retain(|entry| entry.is_usable());
        if entries.is_empty() {
            return Err(CatalogError::NoUsableEntry(count));
        }
        let mut hash = Sha256::new();
        for entry in &entries {
            hash.update(entry.to_canonical_text());
        }
        Ok(Self::index(entries, hash.finalize().into()))
    }
}

fn check_count(entries: usize) -> Result<(), CatalogError> {
    if entries > MAX_ENTRIES {
        return Err(CatalogError::TooManyEntries(entries));
    }
    Ok(())
}

/// Returns the SHA-256 of `document`.
pub(crate) fn sha256(document: &[u8]) -> [u8; 32] {
    Sha256::digest(document).into()
}

/// Returns `bytes` in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
