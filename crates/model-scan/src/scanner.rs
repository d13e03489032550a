//! One interface to the scanners of both body formats.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use crate::{
    edit::{Edit, ValueKind},
    error::ScanError,
    json::{self, JsonScanner},
    multipart::{self, MultipartScanner},
};

/// An incremental scanner that finds the model of a request body.
///
/// See the [crate's page](crate) for an example, for what is accepted, and for the cost.
#[derive(Debug)]
pub struct ModelScanner(Scanner);

#[derive(Debug)]
enum Scanner {
    Json(JsonScanner),
    // Boxed: it is larger by itself, and rare.
    Multipart(Box<MultipartScanner>),
}

/// The model of a body, as far as it has been scanned.
///
/// Spans are offsets from the beginning of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelField {
    /// No model so far; none at all once the body has ended.
    Unseen,
    /// The model's key or part head has been scanned, but its value is not complete.
    Pending,
    /// A string.
    String {
        /// The string as it is spelled in the body: in JSON with its quotes, in a form the part's
        /// content.
        span: Range<u64>,
        /// Whether the spelling has backslashes in it, as JSON has them.
        escaped: bool,
    },
    /// JSON's `null`.
    Null {
        /// The four bytes of the word.
        span: Range<u64>,
    },
    /// A JSON value that cannot name a model, reported with its first byte.
    NotString {
        /// The type of the value.
        kind: ValueKind,
    },
}

/// The text that replaces the model.
///
/// Both spellings are the caller's, so that a name used often is escaped only once.
#[derive(Clone, Copy, Debug)]
pub struct Replacement<'a> {
    /// The text itself, for forms.
    pub text: &'a str,
    /// The text as a JSON string literal, with its quotes, for JSON. It is not checked.
    pub literal: &'a Bytes,
}

impl ModelScanner {
    /// Creates a scanner of a JSON object.
    #[inline]
    pub fn json() -> Self {
        Self(Scanner::Json(JsonScanner::new()))
    }

    /// Creates a scanner of a `multipart/form-data` body with this boundary: the value of the
    /// `boundary` parameter of its `Content-Type`, without quotes.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidMultipart`](crate::ScanErrorKind::InvalidMultipart) unless the boundary has
    /// 1 to 70 of RFC 2046's characters and does not end in a space.
    ///
    /// # Examples
    ///
    /// ```
    /// use model_scan::{ModelField, ModelScanner};
    ///
    /// let mut scanner = ModelScanner::multipart(b"XyZ")?;
    /// scanner.feed(b"--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n")?;
    /// assert_eq!(scanner.model(), ModelField::Pending);
    /// scanner.feed(b"whisper-1\r\n--XyZ--\r\n")?;
    /// scanner.finish()?;
    /// let (span, escaped) = (55..64, false);
    /// assert_eq!(scanner.model(), ModelField::String { span, escaped });
    /// # Ok::<_, model_scan::ScanError>(())
    /// ```
    pub fn multipart(boundary: &[u8]) -> Result<Self, ScanError> {
        let scanner = Box::new(MultipartScanner::new(boundary)?);
        Ok(Self(Scanner::Multipart(scanner)))
    }

    /// Scans the next bytes of the body, however many.
    ///
    /// Time is linear in their number.
    ///
    /// # Errors
    ///
    /// Returns an error as soon as no continuation of the body would be acceptable. The error does
    /// not depend on how the body is cut, and every later call returns it again.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        match &mut self.0 {
            Scanner::Json(scanner) => scanner.feed(bytes)?,
            Scanner::Multipart(scanner) => scanner.feed(bytes)?,
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not complete, or an earlier call failed.
    #[inline]
    pub fn finish(&mut self) -> Result<(), ScanError> {
        match &mut self.0 {
            Scanner::Json(scanner) => scanner.finish()?,
            Scanner::Multipart(scanner) => scanner.finish()?,
        }
        Ok(())
    }

    /// Returns whether the body may end here: after the closing brace of the JSON object, or the
    /// final delimiter of the form.
    #[inline]
    pub fn is_complete(&self) -> bool {
        match &self.0 {
            Scanner::Json(scanner) => scanner.is_complete(),
            Scanner::Multipart(scanner) => scanner.is_complete(),
        }
    }

    /// Returns the model, as far as the body has been scanned.
    #[inline]
    pub fn model(&self) -> ModelField {
        match &self.0 {
            Scanner::Json(scanner) => match scanner.model() {
                json::Model::Unseen => ModelField::Unseen,
                json::Model::Pending => ModelField::Pending,
                json::Model::String {
                    start,
                    end,
                    escaped,
                } => ModelField::String {
                    span: start..end,
                    escaped,
                },
                json::Model::Null { start, end } => ModelField::Null { span: start..end },
                json::Model::Other { kind, .. } => ModelField::NotString { kind },
            },
            Scanner::Multipart(scanner) => match scanner.model() {
                multipart::Model::Unseen => ModelField::Unseen,
                multipart::Model::Pending => ModelField::Pending,
                multipart::Model::Value { start, end } => ModelField::String {
                    span: start..end,
                    escaped: false,
                },
            },
        }
    }

    /// Decodes the bytes at the span of a [`ModelField::String`] with this `escaped`.
    ///
    /// Copies only if there are escapes. A byte order mark is not part of a form's model: readers
    /// that decode by the [Encoding Standard](https://encoding.spec.whatwg.org/#utf-8-decode) drop
    /// it.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidModel`](crate::ScanErrorKind::InvalidModel) if a form's model is not UTF-8,
    /// or the bytes are not those that were scanned.
    pub fn decode<'a>(&self, raw: &'a [u8], escaped: bool) -> Result<Cow<'a, str>, ScanError> {
        match &self.0 {
            Scanner::Json(_) => json::decode_string(raw, escaped),
            Scanner::Multipart(_) => str::from_utf8(raw)
                .ok()
                .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text).into()),
        }
        .ok_or(ScanError::INVALID_MODEL)
    }

    /// Returns whether the bytes at the span of a [`ModelField::String`] with this `escaped` decode
    /// to white space, or to nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`decode`](Self::decode).
    #[inline]
    pub fn is_blank(&self, raw: &[u8], escaped: bool) -> Result<bool, ScanError> {
        match (&self.0, raw) {
            // The usual case: a letter follows the quote.
            (Scanner::Json(_), [_, first, ..]) if !escaped && first.is_ascii_alphanumeric() => {
                Ok(false)
            }
            _ => Ok(self.decode(raw, escaped)?.trim().is_empty()),
        }
    }

    /// Returns the edits after which the body names `replacement`, at most two, in descending
    /// order: applied one after the other, each leaves the spans of the next as they are.
    ///
    /// A string or `null` is replaced, and so is the `Content-Length` of its part in a form. If the
    /// model is [`Unseen`](ModelField::Unseen), a member or part is inserted at the
    /// beginning: call this only once the body has ended, because a model that follows would be a
    /// second one. There are no edits while the model is [`Pending`](ModelField::Pending), for a
    /// value that is not a string, and before the first byte of an object or form.
    ///
    /// # Errors
    ///
    /// Returns [`UnsafeBoundary`](crate::ScanErrorKind::UnsafeBoundary) if the text, as the content
    /// of a part, could be read as more or less than the text: the client chooses the boundary, and
    /// must not be able to cut the replacement in two.
    pub fn edits(
        &self,
        replacement: Replacement<'_>,
    ) -> Result<impl Iterator<Item = Edit> + use<>, ScanError> {
        let edits = match &self.0 {
            Scanner::Json(scanner) => [scanner.edit(replacement.literal), None],
            Scanner::Multipart(scanner) => scanner
                .edits(replacement.text)
                .ok_or(ScanError::UNSAFE_BOUNDARY)?,
        };
        Ok(edits.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ScanErrorKind;

    const HEAD: &str = "--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";

    fn json(body: &str) -> ModelScanner {
        let mut scanner = ModelScanner::json();
        scanner.feed(body.as_bytes()).unwrap();
        scanner
    }

    fn form(body: &[u8]) -> ModelScanner {
        let mut scanner = ModelScanner::multipart(b"XyZ").unwrap();
        scanner.feed(body).unwrap();
        scanner
    }

    fn string(span: Range<u64>, escaped: bool) -> ModelField {
        ModelField::String { span, escaped }
    }

    #[test]
    fn model_is_reported_as_far_as_it_is_scanned() {
        let not_string = |kind| ModelField::NotString { kind };
        for (body, expected) in [
            ("{\"a\":1}", ModelField::Unseen),
            ("{\"model\":\"a", ModelField::Pending),
            ("{\"model\":\"a\"", string(9..12, false)),
            ("{\"model\":\"\\n\"", string(9..13, true)),
            ("{\"model\":null", ModelField::Null { span: 9..13 }),
            ("{\"model\":1", not_string(ValueKind::Number)),
            ("{\"model\":t", not_string(ValueKind::Boolean)),
            ("{\"model\":[", not_string(ValueKind::Array)),
            ("{\"model\":{", not_string(ValueKind::Object)),
        ] {
            assert_eq!(json(body).model(), expected, "{body}");
        }
        for (content, expected) in [
            ("", ModelField::Pending),
            ("a\r\n--XyZ--", string(55..56, false)),
        ] {
            assert_eq!(
                form(format!("{HEAD}{content}").as_bytes()).model(),
                expected
            );
        }
        assert_eq!(form(b"--XyZ--").model(), ModelField::Unseen);
    }

    #[test]
    fn body_is_complete_at_its_end() {
        assert!(!json("{").is_complete());
        assert!(json("{}").is_complete());
        assert!(!form(b"--XyZ").is_complete());
        assert!(form(b"--XyZ--").is_complete());
        for (mut scanner, kind) in [
            (json("{"), ScanErrorKind::InvalidJson),
            (form(b"--XyZ"), ScanErrorKind::InvalidMultipart),
        ] {
            assert_eq!(scanner.finish().unwrap_err().kind(), kind);
            assert_eq!(scanner.feed(b" ").unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn json_is_edited_to_name_the_replacement() {
        let replacement = Replacement {
            text: "not used",
            literal: &Bytes::from_static(b"\"0x\\n\""),
        };
        for (body, expected) in [
            (r#"{"model":"abc","a":1}"#, r#"{"model":"0x\n","a":1}"#),
            (r#"{"model":null}"#, r#"{"model":"0x\n"}"#),
            (" {}", r#" {"model":"0x\n"}"#),
            (r#"{"a":1}"#, r#"{"model":"0x\n","a":1}"#),
            (r#"{"model":7}"#, r#"{"model":7}"#),
            (r#"{"model":"#, r#"{"model":"#),
            ("", ""),
        ] {
            let mut edited = body.to_owned();
            for Edit { span, bytes } in json(body).edits(replacement).unwrap() {
                let new = str::from_utf8(&bytes).unwrap();
                edited.replace_range(span.start as usize..span.end as usize, new);
            }
            assert_eq!(edited, expected);
        }
    }

    #[test]
    fn form_whose_boundary_cuts_the_replacement_is_rejected() {
        let literal = Bytes::from_static(b"\"--XyZ\"");
        let replacement = Replacement {
            text: "--XyZ",
            literal: &literal,
        };
        let error = form(b"--XyZ--").edits(replacement).err().unwrap();
        assert_eq!(error.kind(), ScanErrorKind::UnsafeBoundary);
        assert_eq!(error.offset(), None);
        assert!(error.to_string().contains("longer, random boundary"));
        assert_eq!(json("{}").edits(replacement).unwrap().count(), 1);
    }

    #[test]
    fn model_is_decoded_by_its_format() {
        let (json, form) = (json("{"), form(b"--XyZ"));
        assert_eq!(json.decode(br#""a\n""#, true).unwrap(), "a\n");
        assert_eq!(form.decode(br#""a\n""#, false).unwrap(), r#""a\n""#);
        assert_eq!(form.decode("\u{feff}a".as_bytes(), false).unwrap(), "a");
        assert_eq!(
            json.decode("\"\u{feff}a\"".as_bytes(), false).unwrap(),
            "\u{feff}a"
        );
        for error in [json.decode(b"a", false), form.decode(b"\xff", false)] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ScanErrorKind::InvalidModel);
            assert_eq!(error.offset(), None);
            assert!(error.to_string().contains("UTF-8"));
        }
        for (raw, escaped, expected) in [
            (r#""""#, false, true),
            (r#"" ""#, false, true),
            ("\"\u{3000}\"", false, true),
            (r#""\n\t""#, true, true),
            (r#"" a""#, false, false),
            (r#""a""#, false, false),
            (r#""\u0061""#, true, false),
        ] {
            assert_eq!(
                json.is_blank(raw.as_bytes(), escaped),
                Ok(expected),
                "{raw}"
            );
        }
        assert_eq!(form.is_blank(b" \t", false), Ok(true));
        assert_eq!(form.is_blank("\u{feff}".as_bytes(), false), Ok(true));
        assert_eq!(form.is_blank(b" a", false), Ok(false));
        assert!(form.is_blank(b" \xff", false).is_err());
    }

    #[test]
    fn errors_have_a_kind_and_an_offset() {
        for (body, kind, offset) in [
            (
                "{\"model\":1,\"model\":1}",
                ScanErrorKind::DuplicateModel,
                11,
            ),
            ("{\"Model\":1}", ScanErrorKind::AmbiguousModel, 1),
            ("{a", ScanErrorKind::InvalidJson, 1),
        ] {
            let error = ModelScanner::json().feed(body.as_bytes()).unwrap_err();
            assert_eq!((error.kind(), error.offset()), (kind, Some(offset)));
        }
        let part = format!("{HEAD}\r\n{HEAD}");
        let near = HEAD.replace("model", "Model");
        for (body, kind, offset) in [
            (&*part, ScanErrorKind::DuplicateModel, 102),
            (&near, ScanErrorKind::AmbiguousModel, 45),
            ("-x", ScanErrorKind::InvalidMultipart, 1),
        ] {
            let mut scanner = ModelScanner::multipart(b"XyZ").unwrap();
            let error = scanner.feed(body.as_bytes()).unwrap_err();
            assert_eq!((error.kind(), error.offset()), (kind, Some(offset)));
            assert!(
                error
                    .to_string()
                    .contains(&format!("(byte {offset} of the form)"))
            );
        }
        let error = ModelScanner::multipart(b"a b ").unwrap_err();
        assert_eq!(error.kind(), ScanErrorKind::InvalidMultipart);
    }
}
