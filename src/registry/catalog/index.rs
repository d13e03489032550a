//! Indexes the entries of a catalog by ID, name and alias.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry as Slot},
    sync::Arc,
};

use super::{Catalog, ModelEntry};

impl Catalog {
    pub(super) fn index(entries: Vec<Arc<ModelEntry>>, sha256: [u8; 32]) -> Self {
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
            // An entry that lost its name has no aliases.
            if names[&**folded] != index {
                continue;
            }
            // An ID takes precedence over a name, in any hex case.
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

/// Maps `key` to the newest entry that claims it, or the first one of equals. Returns whether an
/// entry had claimed it before.
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

/// Returns a hex ID in lower case, and any other ID as it is.
pub(super) fn fold_id(id: &str) -> Cow<'_, str> {
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

/// Returns `name`, which is in lower case, with each run of white space and underscores replaced by
/// one `-`.
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
