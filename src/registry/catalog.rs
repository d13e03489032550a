//! One immutable, parsed snapshot of the registry.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry as Slot},
    error::Error,
    fmt::{self, Write as _},
    sync::Arc,
};

use serde_json::{Value, error::Category, value::RawValue};
use sha2::{Digest, Sha256};

use super::entry::ModelEntry;

/// An immutable snapshot of the registry's active models, indexed for lookup.
///
/// Entries that are deleted, or lack a name or an ID, are left out, and so are
/// those whose name or ID is longer than 1,024 bytes. Of two
/// entries with one name (letter case ignored) the newer `CreatedAt` wins, and
/// [`ambiguous_names`](Self::ambiguous_names) counts the name. Several names
/// may share one ID.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{Catalog, ResolvedBy};
///
/// let catalog = Catalog::parse(br#"{"models":[{"Name":"Llama 3.2 3B","Id":"0xf84e"}]}"#)?;
/// let found = catalog.find("llama-3.2-3b").expect("it is in the catalog");
/// assert_eq!(found.entry.id(), "0xf84e");
/// assert_eq!(found.resolved_by, ResolvedBy::Alias);
/// # Ok::<(), tower_model_routing::registry::CatalogError>(())
/// ```
pub struct Catalog {
    entries: Vec<Arc<ModelEntry>>,
    /// Names as their entries spell them, so that the usual lookup needs no case
    /// folding.
    spelled: HashMap<Box<str>, u32>,
    /// IDs by [`fold_id`].
    ids: HashMap<Box<str>, u32>,
    /// Names in lower case.
    names: HashMap<Box<str>, u32>,
    /// Derived names in lower case, none of which is also a name. One that two
    /// entries claim is `None`: whichever was meant, the other would be the
    /// wrong model.
    aliases: HashMap<Box<str>, Option<u32>>,
    ambiguous_names: usize,
    sha256: [u8; 32],
}

/// Why a name was taken for an entry; the order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolvedBy {
    /// It is the entry's ID, in any hex case.
    Id,
    /// It is the entry's name, trimmed and in any letter case.
    Name,
    /// It is an alias that only this entry claims: its `enrichment.veniceId`,
    /// or the slug of its name.
    Alias,
    /// Its slug is the entry's name or alias.
    Slug,
    /// It is not in the catalog, or the request names no model: the endpoint's
    /// fallback took its place.
    Fallback,
}

impl ResolvedBy {
    /// The reason in lower case, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Alias => "alias",
            Self::Slug => "slug",
            Self::Fallback => "fallback",
        }
    }
}

impl fmt::Display for ResolvedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What [`Catalog::find`] has found.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CatalogMatch<'a> {
    /// The entry.
    pub entry: &'a Arc<ModelEntry>,
    /// Why the name stands for it.
    pub resolved_by: ResolvedBy,
}

/// Why a document is not a catalog.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// It is not a JSON object, or its `models` is not an array.
    #[error(
        "the document is not {{\"models\": [...]}} in JSON; check that the registry URL serves \
         the active models"
    )]
    #[non_exhaustive]
    Document {
        /// What the parser found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It has no `models`.
    #[error("the document has no `models`; check that the registry URL serves the active models")]
    NoModels,
    /// None of its entries can be used.
    #[error(
        "none of the {0} entries under `models` is active and has a `Name` and an `Id` of at most \
         1,024 bytes, so there is nothing to route to"
    )]
    NoUsableEntry(usize),
}

impl CatalogError {
    /// `expected`: what the document or a part of it should be.
    fn document(error: serde_json::Error, expected: &'static str) -> Self {
        let source = match error.classify() {
            // Its message repeats the value in its full length.
            Category::Data => format!("{expected} was expected").into(),
            _ => error.into(),
        };
        Self::Document { source }
    }
}

impl Catalog {
    /// Parses the feed: `{"models":[{"Id","Name","ModelType",…}]}`.
    ///
    /// A bad entry is left out and never spoils the rest.
    ///
    /// # Errors
    ///
    /// When the document is not JSON, has no `models` array, or has no usable
    /// entry in it.
    pub fn parse(document: &[u8]) -> Result<Self, CatalogError> {
        Self::parse_hashed(document, sha256(document))
    }

    /// [`parse`](Self::parse) where the document's SHA-256 is known.
    pub(super) fn parse_hashed(document: &[u8], sha256: [u8; 32]) -> Result<Self, CatalogError> {
        let feed: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(document)
            .map_err(|error| CatalogError::document(error, "an object"))?;
        let models = feed.get("models").ok_or(CatalogError::NoModels)?;
        let models: Vec<&RawValue> = serde_json::from_str(models.get())
            .map_err(|error| CatalogError::document(error, "an array under `models`"))?;
        // Each entry is parsed by itself: a number out of range or an unpaired
        // surrogate in one is that entry's trouble only.
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

    /// The entry that `name` stands for, and why: by ID, name, unique alias or
    /// slug, in this order.
    ///
    /// Takes time linear in the length of `name`, whatever the catalog's size,
    /// and allocates nothing for a name spelled as in the catalog, nor for an ID
    /// in lower case.
    pub fn find(&self, name: &str) -> Option<CatalogMatch<'_>> {
        let (index, resolved_by) = self.find_index(name)?;
        Some(CatalogMatch {
            entry: &self.entries[index as usize],
            resolved_by,
        })
    }

    fn find_index(&self, name: &str) -> Option<(u32, ResolvedBy)> {
        if let Some(&index) = self.spelled.get(name) {
            return Some((index, ResolvedBy::Name));
        }
        let name = name.trim();
        if let Some(&index) = self.ids.get(&*fold_id(name)) {
            return Some((index, ResolvedBy::Id));
        }
        let folded = name.to_lowercase();
        if let Some(&index) = self.names.get(&*folded) {
            return Some((index, ResolvedBy::Name));
        }
        if let Some(index) = self.alias(&folded) {
            return Some((index, ResolvedBy::Alias));
        }
        let slug = slug(&folded);
        let index = self.names.get(&*slug).copied();
        let index = index.or_else(|| self.alias(&slug))?;
        Some((index, ResolvedBy::Slug))
    }

    /// Every usable entry, in the feed's order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ModelEntry> {
        self.entries.iter().map(|entry| &**entry)
    }

    /// The entries that a name leads to, in the feed's order: all but those
    /// that lost their name to a newer entry.
    pub fn named_entries(&self) -> impl Iterator<Item = &ModelEntry> {
        (0_u32..)
            .zip(self.entries())
            .filter(|(index, entry)| self.names.get(&*entry.name().to_lowercase()) == Some(index))
            .map(|(_, entry)| entry)
    }

    /// How many usable entries there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a catalog is never empty")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many different names lead to an entry, letter case ignored.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// How many different IDs there are.
    pub fn id_count(&self) -> usize {
        self.ids.len()
    }

    /// How many names are claimed by more than one entry.
    pub fn ambiguous_names(&self) -> usize {
        self.ambiguous_names
    }

    /// The SHA-256 of the document that was parsed.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    fn alias(&self, folded: &str) -> Option<u32> {
        *self.aliases.get(folded)?
    }

    fn index(entries: Vec<Arc<ModelEntry>>, sha256: [u8; 32]) -> Self {
        let mut ids = HashMap::with_capacity(entries.len());
        let mut names = HashMap::with_capacity(entries.len());
        let mut ambiguous = HashSet::new();
        let folded: Vec<String> = entries.iter().map(|e| e.name().to_lowercase()).collect();
        let indexed = || (0_u32..).zip(&entries).zip(&folded);
        for ((index, entry), folded) in indexed() {
            claim(&mut ids, &fold_id(entry.id()), index, &entries);
            if claim(&mut names, folded, index, &entries) {
                ambiguous.insert(folded);
            }
        }

        let mut spelled = HashMap::with_capacity(names.len());
        let mut aliases: HashMap<Box<str>, Option<u32>> = HashMap::new();
        for ((index, entry), folded) in indexed() {
            // Only an entry that holds its name derives aliases from it.
            if names[&**folded] != index {
                continue;
            }
            // An ID goes before a name, in whatever case.
            if !ids.contains_key(&*fold_id(entry.name())) {
                spelled.insert(entry.name().into(), index);
            }
            let venice_id = entry.venice_id().map(|id| id.trim().to_lowercase());
            for alias in [Some(slug(folded)), venice_id].into_iter().flatten() {
                if alias.is_empty() || names.contains_key(&*alias) {
                    continue;
                }
                aliases
                    .entry(alias.into())
                    .and_modify(|claim| *claim = claim.filter(|&claimed| claimed == index))
                    .or_insert(Some(index));
            }
        }
        let ambiguous_names = ambiguous.len();

        Self {
            entries,
            spelled,
            ids,
            names,
            aliases,
            ambiguous_names,
            sha256,
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("entries", &self.len())
            .field("names", &self.name_count())
            .field("ids", &self.id_count())
            .finish_non_exhaustive()
    }
}

/// The SHA-256 of `document`, by which two fetches are told apart.
pub(crate) fn sha256(document: &[u8]) -> [u8; 32] {
    Sha256::digest(document).into()
}

/// `bytes` in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Gives `key` to the newest entry that claims it (the first among equals).
/// True when there was a claim already.
fn claim(
    map: &mut HashMap<Box<str>, u32>,
    key: &str,
    index: u32,
    entries: &[Arc<ModelEntry>],
) -> bool {
    match map.entry(key.into()) {
        Slot::Vacant(slot) => {
            slot.insert(index);
            false
        }
        Slot::Occupied(mut slot) => {
            let held = entries[*slot.get() as usize].created_at();
            if entries[index as usize].created_at() > held {
                slot.insert(index);
            }
            true
        }
    }
}

/// A hex ID in lower case; any other kind of ID as it is.
fn fold_id(id: &str) -> Cow<'_, str> {
    let digits = id.strip_prefix("0x").or_else(|| id.strip_prefix("0X"));
    match digits {
        Some(digits)
            if id.bytes().any(|b| b.is_ascii_uppercase())
                && digits.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            Cow::Owned(id.to_ascii_lowercase())
        }
        _ => Cow::Borrowed(id),
    }
}

/// `name` (in lower case already) with runs of white space and underscores
/// turned into one `-` each.
pub(crate) fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    let mut in_run = false;
    for c in name.trim().chars() {
        let separator = c.is_whitespace() || c == '_';
        if !separator {
            slug.push(c);
        } else if !in_run {
            slug.push('-');
        }
        in_run = separator;
    }
    slug
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(models: Value) -> Catalog {
        Catalog::parse(json!({ "models": models }).to_string().as_bytes()).unwrap()
    }

    fn found<'a>(catalog: &'a Catalog, name: &str) -> Option<(&'a str, ResolvedBy)> {
        let found = catalog.find(name)?;
        Some((found.entry.id(), found.resolved_by))
    }

    #[test]
    fn an_id_is_found_in_any_hex_case_and_goes_before_a_name() {
        let catalog = catalog(json!([
            {"Id": "0xAb01", "Name": "a"},
            {"Id": "0x02", "Name": "0XAB01"},
            {"Id": "Opaque", "Name": "c"},
        ]));
        for spelling in ["0xAb01", "0xab01", "0XAB01", " 0xaB01\n"] {
            assert_eq!(
                found(&catalog, spelling),
                Some(("0xAb01", ResolvedBy::Id)),
                "{spelling}"
            );
        }
        assert_eq!(found(&catalog, "Opaque"), Some(("Opaque", ResolvedBy::Id)));
        assert_eq!(
            found(&catalog, "opaque"),
            None,
            "only hex digits have no case"
        );
    }

    #[test]
    fn a_name_is_found_trimmed_and_in_any_case() {
        let catalog = catalog(json!([{"Id": "0x1", "Name": "Größe-1"}]));
        for spelling in ["Größe-1", "grösse-1", "GRÖßE-1", "  größe-1\t"] {
            let expected = (spelling != "grösse-1").then_some(("0x1", ResolvedBy::Name));
            assert_eq!(found(&catalog, spelling), expected, "{spelling}");
        }
    }

    #[test]
    fn a_venice_id_and_the_slug_of_a_name_are_aliases() {
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "Hermes 3  Llama_3.1", "enrichment": {"veniceId": "Venice-H3"}},
        ]));
        for alias in ["hermes-3-llama-3.1", "HERMES-3-LLAMA-3.1", "venice-h3"] {
            assert_eq!(
                found(&catalog, alias),
                Some(("0x1", ResolvedBy::Alias)),
                "{alias}"
            );
        }
    }

    #[test]
    fn an_alias_never_overrides_a_name() {
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "Deep Seek", "enrichment": {"veniceId": "other"}},
            {"Id": "0x2", "Name": "deep-seek"},
            {"Id": "0x3", "Name": "Other"},
        ]));
        assert_eq!(
            found(&catalog, "deep-seek"),
            Some(("0x2", ResolvedBy::Name))
        );
        assert_eq!(found(&catalog, "other"), Some(("0x3", ResolvedBy::Name)));
    }

    #[test]
    fn an_alias_that_two_entries_claim_is_dropped() {
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "Deep Seek"},
            {"Id": "0x2", "Name": "Deep_Seek"},
            {"Id": "0x3", "Name": "c", "enrichment": {"veniceId": "deep  seek"}},
            {"Id": "0x4", "Name": "d", "enrichment": {"veniceId": "v"}},
            {"Id": "0x5", "Name": "e", "enrichment": {"veniceId": "V"}},
        ]));
        assert_eq!(found(&catalog, "deep-seek"), None);
        assert_eq!(found(&catalog, "v"), None);
        assert_eq!(
            found(&catalog, "Deep Seek"),
            Some(("0x1", ResolvedBy::Name))
        );
    }

    #[test]
    fn an_alias_that_one_entry_claims_twice_stands() {
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "Deep Seek", "enrichment": {"veniceId": "deep-seek"}},
        ]));
        assert_eq!(
            found(&catalog, "deep-seek"),
            Some(("0x1", ResolvedBy::Alias))
        );
    }

    #[test]
    fn the_slug_of_the_requested_name_is_tried_last() {
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "llama-3.2-3b"},
            {"Id": "0x2", "Name": "x", "enrichment": {"veniceId": "qwen-4b"}},
        ]));
        assert_eq!(
            found(&catalog, "Llama 3.2 3B"),
            Some(("0x1", ResolvedBy::Slug))
        );
        assert_eq!(
            found(&catalog, "llama_3.2 __ 3b"),
            Some(("0x1", ResolvedBy::Slug))
        );
        assert_eq!(found(&catalog, "Qwen 4B"), Some(("0x2", ResolvedBy::Slug)));
        assert_eq!(found(&catalog, "llama"), None);
    }

    #[test]
    fn of_two_entries_with_one_name_the_newer_wins_and_the_name_is_counted() {
        let models = json!([
            {"Id": "0x1", "Name": "Llama 7.1-dev", "CreatedAt": 10},
            {"Id": "0x2", "Name": "llama 7.1-DEV", "CreatedAt": 20},
            {"Id": "0x3", "Name": "Llama 7.1-dev", "CreatedAt": 5},
            {"Id": "0x4", "Name": "b"},
        ]);
        let catalog = catalog(models);
        for spelling in ["Llama 7.1-dev", "llama 7.1-DEV"] {
            assert_eq!(found(&catalog, spelling), Some(("0x2", ResolvedBy::Name)));
        }
        assert_eq!(
            found(&catalog, "llama-7.1-dev"),
            Some(("0x2", ResolvedBy::Alias))
        );
        assert_eq!(
            found(&catalog, "0x1"),
            Some(("0x1", ResolvedBy::Id)),
            "still there by ID"
        );
        assert_eq!(catalog.ambiguous_names(), 1);
        let counts = (catalog.len(), catalog.name_count(), catalog.id_count());
        assert_eq!(counts, (4, 2, 4));
        let named: Vec<_> = catalog.named_entries().map(ModelEntry::id).collect();
        assert_eq!(named, ["0x2", "0x4"]);
    }

    #[test]
    fn several_names_may_share_one_id() {
        let catalog = catalog(json!([
            {"Id": "0x1", "Name": "code", "CreatedAt": 1},
            {"Id": "0x1", "Name": "sonnet", "CreatedAt": 2},
        ]));
        assert_eq!(found(&catalog, "code"), Some(("0x1", ResolvedBy::Name)));
        assert_eq!(found(&catalog, "sonnet"), Some(("0x1", ResolvedBy::Name)));
        assert_eq!(
            catalog.find("0x1").unwrap().entry.name(),
            "sonnet",
            "the newer one's"
        );
        assert_eq!(catalog.id_count(), 1);
        assert_eq!(catalog.ambiguous_names(), 0);
    }

    #[test]
    fn a_bad_entry_never_spoils_the_rest() {
        let document = br#"{"models":[7,{"Name":"x"},{"Id":"0x9","Name":"big","Fee":1e400},
            {"Id":"0x8","Name":"\ud800"},{"Id":"0x1","Name":"good"},null],"more":true}"#;
        let catalog = Catalog::parse(document).unwrap();
        assert_eq!(catalog.len(), 1);
        assert_eq!(found(&catalog, "good"), Some(("0x1", ResolvedBy::Name)));
    }

    #[test]
    fn a_document_without_a_usable_entry_is_refused() {
        for document in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"models":{}}"#,
            r#"{"models":[{}"#,
        ] {
            let error = Catalog::parse(document.as_bytes()).unwrap_err();
            assert!(
                matches!(
                    error,
                    CatalogError::Document { .. } | CatalogError::NoModels
                ),
                "{document}: {error}"
            );
        }
        let cause = Catalog::parse(b"{").unwrap_err();
        assert!(cause.source().unwrap().is::<serde_json::Error>());
        for document in [r#"{"models":[]}"#, r#"{"models":[{"Id":"0x1"}]}"#] {
            let error = Catalog::parse(document.as_bytes()).unwrap_err();
            assert!(
                matches!(error, CatalogError::NoUsableEntry(_)),
                "{document}: {error}"
            );
        }
    }
}
