//! The results of the scanner: the model's place, and the place for an insertion.

use crate::edit::ValueKind;

/// The top-level `model`, as far as it has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// There was no such key so far.
    Unseen,
    /// The key was seen, but its value is not complete.
    Pending,
    /// A string, from its opening to just past its closing quote. Only one that is `escaped`
    /// contains backslashes.
    String { start: u64, end: u64, escaped: bool },
    /// The word `null`.
    Null { start: u64, end: u64 },
    /// Anything else, reported once its first byte was seen.
    Other { start: u64, kind: ValueKind },
}

/// The place where a member can be inserted: just past the top-level object's opening brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    pub(super) at: u64,
    /// Whether nothing else is in the object, so that no comma must follow. Known once the object
    /// has ended.
    pub(super) object_is_empty: bool,
}
