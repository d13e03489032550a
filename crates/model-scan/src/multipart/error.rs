//! The reasons why a form is rejected.

use std::fmt;

/// The reason why a form was rejected, with the byte's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MultipartError {
    kind: MultipartErrorKind,
    offset: u64,
}

impl MultipartError {
    pub(super) fn new(kind: MultipartErrorKind, offset: u64) -> Self {
        Self { kind, offset }
    }

    pub(super) fn invalid(reason: Reason, offset: u64) -> Self {
        Self::new(MultipartErrorKind::Invalid(reason), offset)
    }

    /// Returns the reason why the form is invalid.
    pub(crate) fn kind(&self) -> MultipartErrorKind {
        self.kind
    }

    /// Returns the offset of the first byte that is wrong, or the form's length if it ended too
    /// early. For [`Reason::Boundary`], an index into the boundary.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wrong, remedy) = self.kind.text();
        let place = match self.kind {
            MultipartErrorKind::Invalid(Reason::Boundary) => "boundary",
            _ => "form",
        };
        write!(f, "{wrong} (byte {} of the {place}); {remedy}", self.offset)
    }
}

/// The kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MultipartErrorKind {
    /// A second part named `model`.
    DuplicateModel,
    /// A part whose name some servers read as `model`, and others do not.
    AmbiguousModel,
    Invalid(Reason),
}

impl MultipartErrorKind {
    /// Returns the problem, and its remedy.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::DuplicateModel => (
                "the form has more than one `model` part",
                "send exactly one",
            ),
            Self::AmbiguousModel => (
                "a part's name is nearly `model`, and servers differ in how they read it",
                "spell it `name=\"model\"`",
            ),
            Self::Invalid(reason) => reason.text(),
        }
    }
}

/// The reason why a form is invalid, or ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The boundary is empty, too long, of dashes only, or has a character that it must not have.
    Boundary,
    /// Something other than one line end before the first delimiter.
    Preamble,
    /// Something other than a line end or `--` after a delimiter.
    DelimiterLine,
    /// White space between a delimiter and its line end.
    DelimiterPadding,
    /// The boundary within a part's content, not as a delimiter: after `--`, at the start of a line,
    /// in the model, before a Content-Disposition, or after `--` with a CR or an LF within it.
    DelimiterInContent,
    /// The boundary within a part's head.
    DelimiterInHead,
    /// Something other than line ends after the close delimiter.
    AfterClose,
    /// The input ended before the close delimiter, or within its line end.
    Truncated,
    /// A carriage return or a line feed alone in a part's head.
    BareLineEnd,
    /// A control character, or a Unicode line separator, in a part's head.
    ControlCharacter,
    /// A part's head is not UTF-8.
    HeadEncoding,
    /// A header continued on the next line.
    FoldedHeader,
    /// A line of a part's head that is not a header with a value.
    HeaderSyntax,
    /// A part's head of more than 4 KiB or more than 8 headers.
    HeadTooLong,
    /// A header that must be unique, twice in one part, or within another.
    RepeatedHeader,
    /// A part without a Content-Disposition.
    MissingDisposition,
    /// A disposition other than `form-data`.
    NotFormData,
    /// A Content-Disposition that does not follow the grammar.
    DispositionSyntax,
    /// A parameter twice in one Content-Disposition.
    RepeatedParameter,
    /// A Content-Disposition whose first parameter is not `name`.
    NameNotFirst,
    /// A name with an encoded word.
    EncodedName,
    /// A continued or an encoded parameter, except a `filename*` in UTF-8.
    EncodedParameter,
    /// An empty name.
    EmptyName,
    /// A second `name` parameter to lenient readers, which is `model`.
    HiddenModel,
    /// A `model` part with a file name, or with any other parameter.
    ModelParameter,
    /// A `model` part that is not plain text in UTF-8.
    ModelType,
    /// A `model` part with a content encoding.
    ModelEncoding,
    /// A `model` part of more than 64 KiB.
    ModelTooLong,
    /// A `_charset_` part.
    CharsetField,
    /// A part whose content is a form, a multipart or a message.
    DecodedType,
    /// A part with a charset other than UTF-8.
    PartCharset,
    /// A part with a Content-Transfer-Encoding other than `7bit`, `8bit` and `binary`.
    TransferEncoding,
    /// A Content-Length in a part's head that is not the content's length.
    ContentLength,
}

impl Reason {
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Boundary => (
                "the boundary is not a valid one",
                "use 1 to 70 letters, digits or characters of ()+_-./:?, not only dashes, and put \
                 it in double quotes in Content-Type",
            ),
            Self::Preamble => (
                "the form does not begin with its boundary",
                "send `--`, the boundary of the Content-Type header and CRLF first",
            ),
            Self::DelimiterLine => (
                "a boundary is not followed by a line end",
                "end the line with CRLF, or the form with `--`, and choose a boundary that no \
                 content contains",
            ),
            Self::DelimiterPadding => (
                "a boundary is followed by white space",
                "end the line with CRLF right after the boundary",
            ),
            Self::DelimiterInContent => (
                "a part's content contains the boundary, or what a server might take for it",
                "begin boundary lines with CRLF and `--`, and choose a long, random boundary that no \
                 content contains",
            ),
            Self::DelimiterInHead => (
                "a part's head contains the boundary",
                "end the head with an empty line, and choose a long, random boundary",
            ),
            Self::AfterClose => (
                "something follows the final boundary",
                "send CRLF or nothing after the final `--boundary--`",
            ),
            Self::Truncated => (
                "the form ends before its final boundary",
                "end it with `--boundary--` and, if anything, CRLF",
            ),
            Self::BareLineEnd => (
                "a part's head has a line end other than CRLF",
                "end every line of it with CRLF",
            ),
            Self::ControlCharacter => (
                "a part's head has a control character",
                "percent-encode it, or leave it out",
            ),
            Self::HeadEncoding => ("a part's head is not UTF-8", "encode names as UTF-8"),
            Self::FoldedHeader => (
                "a header of a part begins with white space",
                "write each header on one line",
            ),
            Self::HeaderSyntax => (
                "a line of a part's head is not a header with a value",
                "write `Name: value`, with a name of letters, digits, `-` and `_`",
            ),
            Self::HeadTooLong => (
                "a part's head is too long",
                "keep it within 4 KiB and 8 headers",
            ),
            Self::RepeatedHeader => (
                "a part has the same header twice, or one within another",
                "send Content-Disposition, Content-Type, Content-Transfer-Encoding and \
                 Content-Length at most once",
            ),
            Self::MissingDisposition => (
                "a part has no Content-Disposition",
                "send `Content-Disposition: form-data; name=\"...\"`",
            ),
            Self::NotFormData => (
                "a part's Content-Disposition is not `form-data`",
                "send `Content-Disposition: form-data; name=\"...\"`",
            ),
            Self::DispositionSyntax => (
                "a part's Content-Disposition is malformed",
                "send `Content-Disposition: form-data; name=\"...\"`, with one space after the colon \
                 and each semicolon, no empty parameter, and every value in double quotes",
            ),
            Self::RepeatedParameter => (
                "a part's Content-Disposition has the same parameter twice",
                "send each at most once",
            ),
            Self::NameNotFirst => (
                "a part's Content-Disposition does not begin with its name",
                "send `Content-Disposition: form-data; name=\"...\"`, and other parameters after \
                 `name`",
            ),
            Self::EncodedName => (
                "a part's name is encoded",
                "send it as plain UTF-8 in `name=\"...\"`",
            ),
            Self::EncodedParameter => (
                "a part's Content-Disposition has an encoded or a continued parameter",
                "send plain UTF-8 in `name=\"...\"` and `filename=\"...\"`; only \
                 `filename*=utf-8''...` may come beside them",
            ),
            Self::EmptyName => ("a part has an empty name", "give each part a name"),
            Self::HiddenModel => (
                "a part's Content-Disposition contains a second `name=model`",
                "rename the file, or leave ` name=model` and `;name=model` out of the parameter",
            ),
            Self::ModelParameter => (
                "the `model` part is sent as a file or with further parameters",
                "send only `form-data; name=\"model\"`",
            ),
            Self::ModelType => (
                "the `model` part is not plain text in UTF-8",
                "send it without a Content-Type, or as `text/plain; charset=utf-8` in lower case",
            ),
            Self::ModelEncoding => (
                "the `model` part is encoded",
                "send it as it is, without a Content-Encoding",
            ),
            Self::ModelTooLong => ("the `model` part is longer than 64 KiB", "send a name"),
            Self::CharsetField => (
                "the form has a `_charset_` part",
                "leave it out, and send UTF-8",
            ),
            Self::DecodedType => (
                "a part is itself a form, a multipart or a message",
                "send each field and each file as a part of its own",
            ),
            Self::PartCharset => (
                "a part has a charset other than UTF-8",
                "send UTF-8, with `charset=utf-8` or none, or a file as `application/octet-stream`",
            ),
            Self::TransferEncoding => (
                "a part has a Content-Transfer-Encoding",
                "leave it out, or send `7bit`, `8bit` or `binary`",
            ),
            Self::ContentLength => (
                "a part's Content-Length is not the length of its content",
                "leave it out, or send the right one",
            ),
        }
    }

    #[cfg(test)]
    pub(super) const ALL: [Self; 33] = [
        Self::Boundary,
        Self::Preamble,
        Self::DelimiterLine,
        Self::DelimiterPadding,
        Self::DelimiterInContent,
        Self::DelimiterInHead,
        Self::AfterClose,
        Self::Truncated,
        Self::BareLineEnd,
        Self::ControlCharacter,
        Self::HeadEncoding,
        Self::FoldedHeader,
        Self::HeaderSyntax,
        Self::HeadTooLong,
        Self::RepeatedHeader,
        Self::MissingDisposition,
        Self::NotFormData,
        Self::DispositionSyntax,
        Self::RepeatedParameter,
        Self::NameNotFirst,
        Self::EncodedName,
        Self::EncodedParameter,
        Self::EmptyName,
        Self::HiddenModel,
        Self::ModelParameter,
        Self::ModelType,
        Self::ModelEncoding,
        Self::ModelTooLong,
        Self::CharsetField,
        Self::DecodedType,
        Self::PartCharset,
        Self::TransferEncoding,
        Self::ContentLength,
    ];
}
