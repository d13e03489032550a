//! The reasons why a document is rejected.

use std::fmt;

/// The reason why a document was rejected, with the byte's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    kind: JsonErrorKind,
    offset: u64,
}

impl JsonError {
    pub(super) fn new(kind: JsonErrorKind, offset: u64) -> Self {
        Self { kind, offset }
    }

    /// Returns the reason why the document is invalid.
    pub(crate) fn kind(&self) -> JsonErrorKind {
        self.kind
    }

    /// Returns the offset of the first byte that no acceptable document could have there, or of the
    /// opening quote of a key that must not be there.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, remedy) = self.kind.texts();
        write!(f, "{what} at byte {}: {remedy}", self.offset)
    }
}

/// The kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonErrorKind {
    /// A second top-level `model` key.
    DuplicateModel,
    /// A top-level key that some parsers read as `model`, and others do not.
    AmbiguousModel,
    /// Not a JSON object, or one that two parsers might read differently.
    Invalid(Reason),
}

impl JsonErrorKind {
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::DuplicateModel => ("a second top-level `model` key", "send exactly one `model`"),
            Self::AmbiguousModel => (
                "a top-level key that some JSON readers take for `model`",
                "spell it `model`, without escapes, or remove it",
            ),
            Self::Invalid(reason) => reason.texts(),
        }
    }
}

impl From<Reason> for JsonErrorKind {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}

/// The reason why a document is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    UnexpectedByte,
    UnexpectedEnd,
    EmptyBody,
    NotAnObject,
    TrailingData,
    TrailingComma,
    ControlCharacter,
    Escape,
    Utf8,
    Surrogate,
    Bracket,
    TooDeep,
    Number,
    /// An unquoted word that begins like `NaN` or `Infinity`.
    NotFinite,
    /// Any other unquoted word except `true`, `false` and `null`.
    Word,
    Comment,
    SingleQuote,
    ByteOrderMark,
    /// A zero byte outside strings.
    WideText,
    /// A byte beyond ASCII outside strings.
    NotAscii,
}

impl Reason {
    /// Returns the reason for a byte that is not allowed outside a string. Bytes that show what the
    /// sender meant have a reason of their own.
    pub(super) fn of_unexpected(byte: u8) -> Self {
        match byte {
            0 => Self::WideText,
            b'/' | b'#' => Self::Comment,
            b'\'' | b'`' => Self::SingleQuote,
            b'N' | b'I' => Self::NotFinite,
            b'a'..=b'z' | b'A'..=b'Z' => Self::Word,
            0x80.. => Self::NotAscii,
            _ => Self::UnexpectedByte,
        }
    }

    /// Returns the problem, and its remedy.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::UnexpectedByte => (
                "a byte that JSON does not allow",
                "check the punctuation just before it",
            ),
            Self::UnexpectedEnd => (
                "the JSON ends too early",
                "send the whole object, up to its closing brace",
            ),
            Self::EmptyBody => ("the body is empty", "send a JSON object"),
            Self::NotAnObject => (
                "the body is not a JSON object",
                "send one object, which starts with `{`",
            ),
            Self::TrailingData => (
                "data after the end of the JSON object",
                "send one object and nothing after it",
            ),
            Self::TrailingComma => (
                "a comma after the last member or element",
                "remove the comma",
            ),
            Self::ControlCharacter => (
                "a raw control character in a string",
                "escape it, a line feed as `\\n` and others like `\\u0001`",
            ),
            Self::Escape => (
                "a bad escape in a string",
                "use only \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u with four hex digits",
            ),
            Self::Utf8 => (
                "a string that is not valid UTF-8",
                "encode the body as UTF-8",
            ),
            Self::Surrogate => (
                "an unpaired surrogate in a string",
                "write a character beyond U+FFFF as UTF-8, or as a high and a low `\\u` escape",
            ),
            Self::Bracket => (
                "a closing bracket of the wrong kind",
                "close `[` with `]` and `{` with `}`",
            ),
            Self::TooDeep => (
                "more than 1,024 levels of nesting",
                "send a flatter document",
            ),
            Self::Number => (
                "a malformed number",
                "write numbers like `-1`, `0.5` or `2e10`, without a plus sign or leading zeros",
            ),
            Self::NotFinite => (
                "an unquoted `NaN`, `Infinity` or similar word",
                "send `null` for a number that is not finite, and for `None`",
            ),
            Self::Word => (
                "an unquoted word",
                "put keys and texts in double quotes; of bare words JSON has only `true`, `false` \
                 and `null`",
            ),
            Self::Comment => ("a comment", "remove it, as JSON has no comments"),
            Self::SingleQuote => (
                "a single quote or back-tick outside a string",
                "put keys and texts in double quotes",
            ),
            Self::ByteOrderMark => ("a byte order mark", "encode the body as UTF-8 without BOM"),
            Self::WideText => (
                "a zero byte, as in UTF-16 or UTF-32",
                "encode the body as UTF-8 without BOM",
            ),
            Self::NotAscii => (
                "a byte outside strings that is not ASCII",
                "use plain spaces and straight double quotes, and encode the body as UTF-8",
            ),
        }
    }
}
