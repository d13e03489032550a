//! The immutable, indexed snapshot of a registry, and the lookup of names in it.

mod index;
mod parse;

use std::{collections::HashMap, fmt, sync::Arc};

use super::entry::ModelEntry;

use self::index::fold_id;
pub use self::parse::CatalogError;
pub(super) use self::parse::sha256;
pub(crate) use self::{index::slug, parse::hex};

/// An immutable snapshot of a registry's active models, indexed for lookup.
///
/// If two entries have the same name (letter case ignored), the one with the newer `CreatedAt`
/// wins, and [`ambiguous_names`](Self::ambiguous_names) counts the name. Several names may share one
/// ID.
///
/// # Format
///
/// [`parse`](Self::parse) reads a JSON object whose `models` is an array of objects with these keys,
/// spelled so:
///
/// | key | type | meaning | if absent or of another type |
/// |---|---|---|---|
/// | `Name` | string of 1 to 1,024 bytes | name, trimmed | the entry is left out |
/// | `Id` | string of 1 to 1,024 bytes | ID, trimmed, which replaces the name in requests | the entry is left out |
/// | `IsDeleted` | boolean | `true` leaves the entry out | `false` |
/// | `ModelType` | string | [`ModelType`](super::ModelType) in any letter case: `LLM`, `EMBEDDING`, `TTS`, `STT`, `UNKNOWN` or any other | `UNKNOWN` |
/// | `CreatedAt` | integer | publication, in seconds since the Unix epoch | 0 |
/// | `Tags` | array | tags; elements that are not strings are left out | none |
/// | `Owner` | string | publisher | none |
/// | `enrichment.veniceId`, else `enrichment.venice_id` | string | alias | none |
///
/// All other keys are ignored, in the document and in entries. An entry that is left out, or that is
/// not an object, never affects the others. [`from_entries`](Self::from_entries) makes a catalog
/// without JSON.
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
    /// Names as their entries spell them, so that the usual lookup needs no case folding.
    spelled: HashMap<Box<str>, u32>,
    /// IDs by [`fold_id`].
    ids: HashMap<Box<str>, u32>,
    /// Names in lower case.
    names: HashMap<Box<str>, u32>,
    /// Derived names in lower case, none of which is also a name. `None` if two entries claim it,
    /// as either could be the wrong model.
    aliases: HashMap<Box<str>, Option<u32>>,
    ambiguous_names: usize,
    sha256: [u8; 32],
}

/// The rule by which a name was resolved, in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolvedBy {
    /// The name is the entry's ID, in any hex case.
    Id,
    /// The name is the entry's name, trimmed and in any letter case.
    Name,
    /// The name is an alias that only this entry has: its `enrichment.veniceId` or the slug of its
    /// name; or an [operator's alias](crate::RoutingConfigBuilder::alias).
    Alias,
    /// The slug of the name is the entry's name or alias.
    Slug,
    /// The endpoint's fallback, as the name is not in the catalog or the request names no model.
    Fallback,
}

impl ResolvedBy {
    /// Returns the rule in lower case, for logs and labels.
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

/// The result of [`Catalog::find`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CatalogMatch<'a> {
    /// The entry that the name stands for.
    pub entry: &'a Arc<ModelEntry>,
    /// The rule by which it was found.
    pub resolved_by: ResolvedBy,
}

impl Catalog {
    /// Returns the entry that `name` stands for: by ID, name, unique alias or slug, in this order.
    ///
    /// The time is linear in the length of `name` and independent of the size of the catalog. A
    /// name spelled as in the catalog and an ID in lower case need no allocation.
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

    /// Returns the entry with this ID, in any hex case.
    pub(crate) fn find_id(&self, id: &str) -> Option<&ModelEntry> {
        let index = *self.ids.get(&*fold_id(id))?;
        Some(&self.entries[index as usize])
    }

    /// Returns all entries, in the order of the document.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ModelEntry> {
        self.entries.iter().map(|entry| &**entry)
    }

    /// Returns the entries that can be found by name, in the order of the document: all but those
    /// that lost their name to a newer entry.
    pub fn named_entries(&self) -> impl Iterator<Item = &ModelEntry> {
        (0_u32..)
            .zip(self.entries())
            .filter(|(index, entry)| self.names.get(&*entry.name().to_lowercase()) == Some(index))
            .map(|(_, entry)| entry)
    }

    /// Returns the number of entries, which is never 0.
    #[expect(clippy::len_without_is_empty, reason = "a catalog is never empty")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of different names, letter case ignored.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of different IDs.
    pub fn id_count(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of names that more than one entry has.
    pub fn ambiguous_names(&self) -> usize {
        self.ambiguous_names
    }

    /// Returns the SHA-256 of the document, or of the entries if there was none.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    fn alias(&self, folded: &str) -> Option<u32> {
        *self.aliases.get(folded)?
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

#[cfg(test)]
mod tests;
