//! Names as they are spelled, packed for lookups in long catalogs.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Finds an index by a name. All names lie in one piece of memory, and the table
/// has four bytes for each: in a map of boxed names, a lookup among 100,000 would
/// take most of its time to get at three far places instead of one.
pub(super) struct SpelledNames {
    /// For each name its index (four bytes), its length (two) and itself.
    packed: Vec<u8>,
    /// Where in `packed` a name begins.
    offsets: HashTable<u32>,
    hasher: RandomState,
}

/// The bytes before a name.
const HEAD_LEN: usize = 6;

impl SpelledNames {
    /// For this many names.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            packed: Vec::new(),
            offsets: HashTable::with_capacity(count),
            hasher: RandomState::new(),
        }
    }

    /// Adds a name that is not there yet. One too many or too long to be packed
    /// is left out.
    pub(super) fn insert(&mut self, name: &str, index: u32) {
        let (Ok(offset), Ok(len)) = (u32::try_from(self.packed.len()), u16::try_from(name.len()))
        else {
            return;
        };
        self.packed.extend_from_slice(&index.to_le_bytes());
        self.packed.extend_from_slice(&len.to_le_bytes());
        self.packed.extend_from_slice(name.as_bytes());
        let hash = |name: &[u8]| self.hasher.hash_one(name);
        self.offsets
            .insert_unique(hash(name.as_bytes()), offset, |&offset| {
                hash(unpack(&self.packed, offset).1)
            });
    }

    /// The index of a name that is spelled just like this.
    pub(super) fn get(&self, name: &str) -> Option<u32> {
        let name = name.as_bytes();
        let is_name = |&offset: &u32| unpack(&self.packed, offset).1 == name;
        let offset = self.offsets.find(self.hasher.hash_one(name), is_name)?;
        Some(unpack(&self.packed, *offset).0)
    }
}

/// The index and the name that begin at `offset`.
fn unpack(packed: &[u8], offset: u32) -> (u32, &[u8]) {
    let (head, rest) = packed[offset as usize..].split_at(HEAD_LEN);
    let index = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let len = u16::from_le_bytes([head[4], head[5]]);
    (index, &rest[..usize::from(len)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_as_it_is_spelled_and_no_other_way() {
        let mut names = SpelledNames::with_capacity(4);
        let longest = "x".repeat(1024);
        let all = ["a", "A", "", "grö", &longest, "a\0"];
        for (index, name) in (10..).zip(all) {
            names.insert(name, index);
        }
        for (index, name) in (10..).zip(all) {
            assert_eq!(names.get(name), Some(index), "{name:?}");
        }
        for absent in ["b", "a ", "x", &longest[1..]] {
            assert_eq!(names.get(absent), None, "{absent:?}");
        }
    }
}
