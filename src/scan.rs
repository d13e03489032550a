//! One face for the scanners of both body formats: where the model is, what it
//! says, and which bytes take its place.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use model_scan::{json, multipart};

use crate::{request::BodyFormat, response::Rejection};

/// Finds the model of a body that is fed to it frame by frame.
#[derive(Debug)]
pub(crate) enum ModelScanner {
    Json(json::Scanner),
    Multipart {
        // Boxed: it is the larger one by far, and the rarer.
        scanner: Box<multipart::Scanner>,
        boundary: Vec<u8>,
    },
}

/// The model as far as it has been seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    /// Not there so far (not there at all, once the body has ended).
    Unseen,
    /// There, but not complete.
    Pending,
    /// A text, whose spelling in the body takes these bytes.
    Text { span: Range<u64>, escaped: bool },
    /// JSON's `null`, in these bytes.
    Null { span: Range<u64> },
    /// A JSON value that cannot name a model, such as "a number".
    NotText { kind: &'static str },
}

/// A replacement of some bytes of the body.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(crate) span: Range<u64>,
    pub(crate) with: Bytes,
}

/// What takes the model's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id<'a> {
    pub(crate) text: &'a str,
    /// The text as a JSON string literal.
    pub(crate) literal: &'a Bytes,
}

impl ModelScanner {
    pub(crate) fn new(format: BodyFormat) -> Result<Self, Rejection> {
        Ok(match format {
            BodyFormat::Json => Self::Json(json::Scanner::new()),
            BodyFormat::Multipart { boundary } => Self::Multipart {
                scanner: Box::new(multipart::Scanner::new(&boundary)?),
                boundary,
            },
        })
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        match self {
            Self::Json(scanner) => scanner.feed(bytes)?,
            Self::Multipart { scanner, .. } => scanner.feed(bytes)?,
        }
        Ok(())
    }

    /// Says that the body has ended: an error unless it was whole.
    pub(crate) fn finish(&mut self) -> Result<(), Rejection> {
        match self {
            Self::Json(scanner) => scanner.finish()?,
            Self::Multipart { scanner, .. } => scanner.finish()?,
        }
        Ok(())
    }

    /// Whether the body could end here.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Json(scanner) => scanner.is_complete(),
            Self::Multipart { scanner, .. } => scanner.is_complete(),
        }
    }

    pub(crate) fn field(&self) -> Field {
        match self {
            Self::Json(scanner) => match scanner.model() {
                json::Model::Unseen => Field::Unseen,
                json::Model::Pending => Field::Pending,
                json::Model::String {
                    start,
                    end,
                    escaped,
                } => Field::Text {
                    span: start..end,
                    escaped,
                },
                json::Model::Null { start, end } => Field::Null { span: start..end },
                json::Model::Other { kind, .. } => Field::NotText {
                    kind: match kind {
                        json::ValueKind::Number => "a number",
                        json::ValueKind::Boolean => "a boolean",
                        json::ValueKind::Array => "an array",
                        json::ValueKind::Object => "an object",
                    },
                },
            },
            Self::Multipart { scanner, .. } => match scanner.model() {
                multipart::Model::Unseen => Field::Unseen,
                multipart::Model::Pending => Field::Pending,
                multipart::Model::Value { start, end } => Field::Text {
                    span: start..end,
                    escaped: false,
                },
            },
        }
    }

    /// The text that these bytes of the body spell.
    pub(crate) fn decode<'a>(
        &self,
        spelling: &'a [u8],
        escaped: bool,
    ) -> Result<Cow<'a, str>, Rejection> {
        match self {
            Self::Json(_) => json::decode_string(spelling, escaped),
            Self::Multipart { .. } => std::str::from_utf8(spelling).ok().map(Cow::Borrowed),
        }
        .ok_or_else(Rejection::model_not_utf8)
    }

    /// Whether these bytes of the body spell nothing but white space.
    pub(crate) fn is_blank(&self, spelling: &[u8], escaped: bool) -> Result<bool, Rejection> {
        match (self, spelling) {
            // The usual case: there is a letter behind the quote.
            (Self::Json(_), [_, first, ..]) if !escaped && first.is_ascii_alphanumeric() => {
                Ok(false)
            }
            _ => Ok(self.decode(spelling, escaped)?.trim().is_empty()),
        }
    }

    /// The splices that make the body name this ID, the last one
    /// first, so that each leaves the offsets of the next as they are. None
    /// when there is no place for it, which a scanner that knows what the body
    /// asks for excludes.
    pub(crate) fn splices(&self, id: Id<'_>) -> Result<Splices, Rejection> {
        let splice = match (self, self.field()) {
            (Self::Json(_), Field::Text { span, .. } | Field::Null { span }) => Some(Splice {
                span,
                with: id.literal.clone(),
            }),
            (Self::Json(scanner), Field::Unseen) => scanner.insertion().map(
                |json::Insertion {
                     at,
                     object_is_empty,
                 }| {
                    let comma: &[u8] = if object_is_empty { b"" } else { b"," };
                    let member = [b"\"model\":", &id.literal[..], comma].concat();
                    Splice {
                        span: at..at,
                        with: member.into(),
                    }
                },
            ),
            (Self::Multipart { scanner, boundary }, field) => {
                return form_splices(scanner, boundary, field, id.text);
            }
            (_, Field::Pending | Field::NotText { .. }) => None,
        };
        Ok([splice, None])
    }
}

/// At most two: a part may say its own length.
pub(crate) type Splices = [Option<Splice>; 2];

fn form_splices(
    scanner: &multipart::Scanner,
    boundary: &[u8],
    field: Field,
    id: &str,
) -> Result<Splices, Rejection> {
    if !multipart::is_safe_content(boundary, id) {
        return Err(Rejection::unsafe_boundary());
    }
    Ok(match field {
        Field::Text { span, .. } => [
            Some(Splice {
                span,
                with: Bytes::copy_from_slice(id.as_bytes()),
            }),
            scanner.model_length().map(|(start, end)| Splice {
                span: start..end,
                with: id.len().to_string().into(),
            }),
        ],
        Field::Unseen => {
            let part = || multipart::model_part(boundary, id).into();
            [
                scanner.insertion().map(|at| Splice {
                    span: at..at,
                    with: part(),
                }),
                None,
            ]
        }
        Field::Pending | Field::NotText { .. } | Field::Null { .. } => [None, None],
    })
}
