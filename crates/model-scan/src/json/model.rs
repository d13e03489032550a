/// The top-level `model`, as far as it has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// There was no such key so far.
    Unseen,
    /// The key was seen, but its value is not complete.
    Pending,
    /// A string, from its opening to just past its closing quote. Only one that
    /// is `escaped` contains backslashes.
    String { start: u64, end: u64, escaped: bool },
    /// The word `null`.
    Null { start: u64, end: u64 },
    /// Anything else, reported once its first byte was seen.
    Other { start: u64, kind: ValueKind },
}

/// The kinds of values that cannot name a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Number,
    Boolean,
    Array,
    Object,
}

/// Where a member can be inserted: just past the top-level object's opening
/// brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insertion {
    pub at: u64,
    /// Whether nothing else is in the object, so that no comma must follow.
    /// Known once the object has ended.
    pub object_is_empty: bool,
}
