//! The types that the scanners of both body formats report: kinds of values, and edits.

use std::{fmt, ops::Range};

use bytes::Bytes;

/// The types of JSON values that cannot name a model.
///
/// Their `Display` is [`as_str`](Self::as_str).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl ValueKind {
    /// Returns the type with its article, as in "a number" and "an object".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A replacement of some bytes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to replace; empty for an insertion.
    pub span: Range<u64>,
    /// The new bytes.
    pub bytes: Bytes,
}

/// The edits of one body: at most two, as a part may state its own length.
pub(crate) type Edits = [Option<Edit>; 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_kinds_are_padded() {
        assert_eq!(format!("{:>10}|", ValueKind::Boolean), " a boolean|");
        let all = [ValueKind::Number, ValueKind::Array, ValueKind::Object];
        assert_eq!(
            all.map(ValueKind::as_str),
            ["a number", "an array", "an object"]
        );
    }
}
