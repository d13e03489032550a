//! The error of all scanners.

use std::{error::Error, fmt};

use crate::{
    json::{JsonError, JsonErrorKind},
    multipart::{MultipartError, MultipartErrorKind},
};

/// The reason why a body was rejected, with the byte's offset.
///
/// Its `Display` names the problem, its place and the remedy. It contains nothing of the body, so
/// it can be shown to clients.
///
/// # Examples
///
/// ```
/// use model_scan::{ModelScanner, ScanErrorKind};
///
/// let mut scanner = ModelScanner::json();
/// let error = scanner.feed(br#"{"model":"a","model":"b"}"#).unwrap_err();
/// assert_eq!(error.kind(), ScanErrorKind::DuplicateModel);
/// assert_eq!(error.offset(), Some(13));
/// assert_eq!(
///     error.to_string(),
///     "a second top-level `model` key at byte 13: send exactly one `model`"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError(Repr);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repr {
    Json(JsonError),
    Multipart(MultipartError),
    UnsafeBoundary,
    InvalidModel,
}

/// The kinds of [`ScanError`].
///
/// Exhaustive on purpose: code that maps them to responses should not miss a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanErrorKind {
    /// The body has a second model.
    DuplicateModel,
    /// The body has a key or part name that some parsers read as `model` and others do not.
    AmbiguousModel,
    /// The body is not a JSON object, or one that two parsers might read differently.
    InvalidJson,
    /// The body is not a valid form, or one that two servers might read differently; or its
    /// boundary is invalid.
    InvalidMultipart,
    /// The replacement has the form's boundary in it, or a control character.
    UnsafeBoundary,
    /// The model is not valid UTF-8.
    InvalidModel,
}

impl ScanError {
    pub(crate) const UNSAFE_BOUNDARY: Self = Self(Repr::UnsafeBoundary);
    pub(crate) const INVALID_MODEL: Self = Self(Repr::InvalidModel);

    /// Returns the kind of the error.
    pub fn kind(&self) -> ScanErrorKind {
        match self.0 {
            Repr::Json(error) => match error.kind() {
                JsonErrorKind::DuplicateModel => ScanErrorKind::DuplicateModel,
                JsonErrorKind::AmbiguousModel => ScanErrorKind::AmbiguousModel,
                JsonErrorKind::Invalid(_) => ScanErrorKind::InvalidJson,
            },
            Repr::Multipart(error) => match error.kind() {
                MultipartErrorKind::DuplicateModel => ScanErrorKind::DuplicateModel,
                MultipartErrorKind::AmbiguousModel => ScanErrorKind::AmbiguousModel,
                MultipartErrorKind::Invalid(_) => ScanErrorKind::InvalidMultipart,
            },
            Repr::UnsafeBoundary => ScanErrorKind::UnsafeBoundary,
            Repr::InvalidModel => ScanErrorKind::InvalidModel,
        }
    }

    /// Returns the offset of the first byte that no acceptable body could have there, or of the key
    /// or part name that must not be there; the body's length if it ended too early. For an invalid
    /// boundary, an index into the boundary.
    ///
    /// Returns `None` if the error is not at one place of the body: for
    /// [`ScanErrorKind::UnsafeBoundary`] and [`ScanErrorKind::InvalidModel`].
    pub fn offset(&self) -> Option<u64> {
        match self.0 {
            Repr::Json(error) => Some(error.offset()),
            Repr::Multipart(error) => Some(error.offset()),
            Repr::UnsafeBoundary | Repr::InvalidModel => None,
        }
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Json(error) => error.fmt(f),
            Repr::Multipart(error) => error.fmt(f),
            Repr::UnsafeBoundary => f.write_str(
                "the form's boundary is part of the model's replacement; use a longer, random \
                 boundary",
            ),
            Repr::InvalidModel => {
                f.write_str("the model is not valid UTF-8; encode the body as UTF-8")
            }
        }
    }
}

impl Error for ScanError {}

impl From<JsonError> for ScanError {
    #[cold]
    fn from(error: JsonError) -> Self {
        Self(Repr::Json(error))
    }
}

impl From<MultipartError> for ScanError {
    #[cold]
    fn from(error: MultipartError) -> Self {
        Self(Repr::Multipart(error))
    }
}
