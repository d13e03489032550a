//! One immutable, parsed snapshot of the registry.

mod index;
mod parse;

use std::{collections::HashMap, fmt, sync::Arc};

use super::entry::ModelEntry;

use self::index::fold_id;
pub use self::parse::CatalogError;
pub(crate) use self::{
    index::slug,
    parse::{hex, sha256},
};

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

impl Catalog {
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
