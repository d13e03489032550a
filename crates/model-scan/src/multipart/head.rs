//! Reads the head of a part.

use super::name::{Name, hides_model};
use super::params::{Params, is_token};
use super::{MultipartError, MultipartErrorKind, Reason};

/// multipart for Python, unless it is strict, reads no part of a form in which one has more.
const MAX_HEADERS: usize = 8;

pub(super) const DISPOSITION: &str = "content-disposition";

/// The head of one part, fed line by line.
#[derive(Debug, Default)]
pub(super) struct Head {
    headers: usize,
    disposition: Option<Disposition>,
    /// Whether a `model` part may have this value, and its offset.
    content_type: Option<(bool, u64)>,
    transfer_encoding: Option<Identity>,
    /// The offset of a header by which some server would decode the content.
    encoding_at: Option<u64>,
    /// The offset of any other header that mentions a file name.
    file_name_at: Option<u64>,
    content_length: Option<ContentLength>,
}

#[derive(Clone, Copy, Debug)]
struct Disposition {
    name: Name,
    name_at: u64,
    /// The offset of the first parameter other than the name.
    other_at: Option<u64>,
}

/// A Content-Transfer-Encoding that leaves the content as it is.
#[derive(Clone, Copy, Debug)]
struct Identity;

/// The Content-Length of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentLength {
    pub(super) value: u64,
    /// Offsets of the digits.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The result of reading a part's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) is_model: bool,
    pub(super) name_at: u64,
    pub(super) content_length: Option<ContentLength>,
}

impl Head {
    /// Reads a line, without its CRLF, that begins at offset `at` of the form and is not empty.
    pub(super) fn line(&mut self, line: &[u8], at: u64) -> Result<(), MultipartError> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(MultipartError::invalid(Reason::HeadTooLong, at));
        }
        let text = text(line, at)?;
        if text.starts_with([' ', '\t']) {
            // Obsolete by RFC 9112, section 5.2. Werkzeug, busboy and Go join the lines,
            // python-multipart and formidable reject them.
            return Err(MultipartError::invalid(Reason::FoldedHeader, at));
        }
        // blacksheep takes dashes at the start of a line for those of a delimiter.
        let colon = match text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            true => text.bytes().take_while(|&b| is_header_name(b)).count(),
            false => 0,
        };
        if colon == 0 || text.as_bytes().get(colon) != Some(&b':') {
            return Err(MultipartError::invalid(
                Reason::HeaderSyntax,
                at + colon as u64,
            ));
        }
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if name.eq_ignore_ascii_case(DISPOSITION) {
            // Perl's CGI and HTTP::Body find no other spellings.
            if has_inner_capital(name) {
                return Err(MultipartError::invalid(Reason::DispositionSyntax, at));
            }
            let disposition = Disposition::parse(value, at + colon as u64 + 1)?;
            return set(&mut self.disposition, disposition, repeated(at));
        }
        let value = value.trim_start_matches([' ', '\t']);
        let value_at = at + (line.len() - value.len()) as u64;
        if value.is_empty() {
            // Perl's CGI takes the next line for the value.
            return Err(MultipartError::invalid(Reason::HeaderSyntax, value_at));
        }
        self.header(name, value, at, value_at)
    }

    /// Reads a header other than Content-Disposition.
    fn header(
        &mut self,
        name: &str,
        value: &str,
        at: u64,
        value_at: u64,
    ) -> Result<(), MultipartError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // Rack searches the whole head for `Content-Disposition:` and `Content-Type:`, so it also
        // finds one in another header's value, or at the end of its name.
        let is_hidden = |known: &str| {
            contains_ignoring_case(value, known)
                || contains_ignoring_case(name, known) && !is(known)
        };
        if is_hidden(DISPOSITION) || is_hidden("content-type") {
            return Err(repeated(at));
        }
        if is("content-length") {
            let length = ContentLength::parse(value, value_at)?;
            return set(&mut self.content_length, length, repeated(at));
        }
        let value = value.trim_end_matches([' ', '\t']);
        if is("content-type") {
            let reason = if is_decoded(value) {
                Reason::DecodedType
            } else if has_charset_other_than_utf_8(value) {
                Reason::PartCharset
            } else {
                let content_type = (is_plain_text(value), value_at);
                return set(&mut self.content_type, content_type, repeated(at));
            };
            Err(MultipartError::invalid(reason, value_at))
        } else if is("content-transfer-encoding") {
            let identity = Identity::parse(value, value_at)?;
            set(&mut self.transfer_encoding, identity, repeated(at))
        } else {
            if is("content-encoding") || is("transfer-encoding") {
                // aiohttp decodes by the former.
                self.encoding_at.get_or_insert(value_at);
            }
            // Rack takes the parameters of all headers for those of Content-Disposition.
            if contains_ignoring_case(value, "filename") {
                self.file_name_at.get_or_insert(value_at);
            }
            Ok(())
        }
    }

    /// Ends the head, whose empty line begins at offset `at` of the form.
    pub(super) fn finish(&self, at: u64) -> Result<Part, MultipartError> {
        // busboy skips a part without one, Starlette and Werkzeug reject the form.
        let Disposition {
            name,
            name_at,
            other_at,
        } = self
            .disposition
            .ok_or(MultipartError::invalid(Reason::MissingDisposition, at))?;
        match name {
            Name::Model => self.check_model(other_at)?,
            Name::NearModel => {
                return Err(MultipartError::new(
                    MultipartErrorKind::AmbiguousModel,
                    name_at,
                ));
            }
            Name::Charset => return Err(MultipartError::invalid(Reason::CharsetField, name_at)),
            Name::Encoded => return Err(MultipartError::invalid(Reason::EncodedName, name_at)),
            Name::Other => {}
        }
        Ok(Part {
            is_model: name == Name::Model,
            name_at,
            content_length: self.content_length,
        })
    }

    /// Checks that the `model` part is a plain field for every reader. With a file name, or of the
    /// type `application/octet-stream`, it is a file for some; and some decode content encodings and
    /// charsets other than UTF-8 (RFC 7578, section 4.4).
    fn check_model(&self, other_at: Option<u64>) -> Result<(), MultipartError> {
        let type_at = self
            .content_type
            .and_then(|(is_plain, at)| (!is_plain).then_some(at));
        let checks = [
            (Reason::ModelParameter, other_at.or(self.file_name_at)),
            (Reason::ModelType, type_at),
            (Reason::ModelEncoding, self.encoding_at),
        ];
        match checks.iter().find_map(|&(reason, at)| Some((reason, at?))) {
            Some((reason, at)) => Err(MultipartError::invalid(reason, at)),
            None => Ok(()),
        }
    }
}

/// Returns `true` if a letter within a word of a header's name is in upper case.
fn has_inner_capital(name: &str) -> bool {
    name.split('-')
        .any(|word| word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase()))
}

impl Disposition {
    /// Parses ` form-data; name="…"`, and further parameters (RFC 7578, section 4.2), that follow
    /// the colon at offset `at` of the form.
    fn parse(value: &str, at: u64) -> Result<Self, MultipartError> {
        // Sanic skips one byte after the colon, whatever it is.
        let Some(value) = value.strip_prefix(' ') else {
            return Err(MultipartError::invalid(Reason::DispositionSyntax, at));
        };
        let at = at + 1;
        let kind = value.bytes().take_while(|&b| is_token(b)).count();
        // Letter case should not matter (RFC 2183, section 2), but every client sends it in lower
        // case, and Tornado requires that.
        if &value[..kind] != "form-data" {
            return Err(MultipartError::invalid(Reason::NotFormData, at));
        }
        let mut params = Params::new(value, kind, at);
        let mut keys: Vec<&str> = Vec::new();
        let mut disposition = None;
        while let Some(param) = params.read()? {
            let error = |reason| Err(MultipartError::invalid(reason, param.key_at));
            if keys.iter().any(|key| key.eq_ignore_ascii_case(param.key)) {
                return error(Reason::RepeatedParameter);
            }
            keys.push(param.key);
            if hides_model(param.value) {
                return Err(MultipartError::invalid(Reason::HiddenModel, param.value_at));
            }
            let is_file_name = param.key == "filename*" && is_utf_8_extended(param.value);
            if param.key.contains('*') && !is_file_name {
                // Werkzeug and Go prefer `name*` to `name`, Starlette ignores it.
                return error(Reason::EncodedParameter);
            }
            match &mut disposition {
                // Letter case should not matter (RFC 9110, section 5.6.6), but every client sends
                // `name` first and in lower case. multer for Rust finds no name in `Name=`, and
                // formidable the one in `filename="name=model"` if that comes before.
                None if param.key == "name" => {
                    if param.value.is_empty() {
                        // Rack takes the file name for it.
                        return Err(MultipartError::invalid(Reason::EmptyName, param.value_at));
                    }
                    disposition = Some(Self {
                        name: Name::of(param.value),
                        name_at: param.value_at,
                        other_at: None,
                    });
                }
                None => return error(Reason::NameNotFirst),
                Some(disposition) => {
                    disposition.other_at.get_or_insert(param.key_at);
                }
            }
        }
        disposition.ok_or(MultipartError::invalid(Reason::NameNotFirst, at))
    }
}

impl Identity {
    /// Parses a Content-Transfer-Encoding, which is obsolete in forms (RFC 7578, section 4.7) and
    /// which some Java clients send. Go decodes `quoted-printable` in any part, and Gin reads no
    /// field at all of a form in which that fails.
    fn parse(value: &str, at: u64) -> Result<Self, MultipartError> {
        let known = ["7bit", "8bit", "binary"];
        if known.iter().any(|known| known.eq_ignore_ascii_case(value)) {
            Ok(Self)
        } else {
            Err(MultipartError::invalid(Reason::TransferEncoding, at))
        }
    }
}

impl ContentLength {
    /// Parses a decimal number without leading zeros, which multipart for Python does not read.
    fn parse(value: &str, at: u64) -> Result<Self, MultipartError> {
        let error = MultipartError::invalid(Reason::ContentLength, at);
        let is_padded = value.len() > 1 && value.starts_with('0');
        if is_padded || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error);
        }
        Ok(Self {
            value: value.parse().map_err(|_| error)?,
            start: at,
            end: at + value.len() as u64,
        })
    }
}

/// Returns whether the byte may be in the name of a header. Those that are not in names of known
/// headers are invalid to multipart for Python, which then reads no part of the form.
fn is_header_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn set<T>(slot: &mut Option<T>, value: T, repeated: MultipartError) -> Result<(), MultipartError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(repeated),
    }
}

/// Returns the line as text, without line ends of any convention, and without control characters.
///
/// NUL ends the name for C; `\x0b`, `\x0c`, `\x1c` to `\x1e`, U+0085, U+2028 and U+2029 end the
/// line for Python's `str.splitlines`; Werkzeug fails on text that is not UTF-8, and a reader that
/// drops invalid bytes would see another name.
fn text(line: &[u8], at: u64) -> Result<&str, MultipartError> {
    if let Some(i) = memchr::memchr(b'\r', line) {
        return Err(MultipartError::invalid(Reason::BareLineEnd, at + i as u64));
    }
    let text = std::str::from_utf8(line)
        .map_err(|e| MultipartError::invalid(Reason::HeadEncoding, at + e.valid_up_to() as u64))?;
    let bad = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
    match text.find(bad) {
        Some(i) => Err(MultipartError::invalid(
            Reason::ControlCharacter,
            at + i as u64,
        )),
        None => Ok(text),
    }
}

/// Returns whether readers decode content of this type, so that it may name a model of its own.
///
/// Python's `cgi` reads parts that are forms, or multiparts (obsolete by RFC 7578, section 4.3), and
/// its `email` reads messages.
fn is_decoded(content_type: &str) -> bool {
    ["urlencoded", "multipart/", "message/"]
        .iter()
        .any(|decoded| contains_ignoring_case(content_type, decoded))
}

/// Returns whether a `charset` is in the type other than as a parameter of UTF-8 or ASCII.
///
/// Readers decode contents, and some names, by it, and reject the form if they do not know it.
fn has_charset_other_than_utf_8(content_type: &str) -> bool {
    content_type
        .split(';')
        .any(|part| contains_ignoring_case(part, "charset") && !is_utf_8_charset(part))
}

fn is_utf_8_charset(parameter: &str) -> bool {
    let parameter = parameter.strip_prefix(' ').unwrap_or(parameter);
    parameter.split_once('=').is_some_and(|(key, value)| {
        let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        key.eq_ignore_ascii_case("charset")
            && ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(quoted.unwrap_or(value)))
    })
}

/// Returns whether the type is `text/plain` with no parameter except a charset of UTF-8 or ASCII.
///
/// Letter case should not matter (RFC 2045, section 5.1), but every client sends it in lower case,
/// and Falcon reads no text from a part whose type has a capital letter.
fn is_plain_text(content_type: &str) -> bool {
    let (essence, parameter) = match content_type.split_once(';') {
        Some((essence, parameter)) => (essence, Some(parameter)),
        None => (content_type, None),
    };
    essence == "text/plain" && parameter.is_none_or(is_utf_8_charset)
}

/// Returns whether the value of a `filename*` is in UTF-8 (RFC 8187).
fn is_utf_8_extended(value: &str) -> bool {
    value
        .get(..7)
        .is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8''"))
}

fn repeated(at: u64) -> MultipartError {
    // Of two headers Go and busboy read the first, Starlette the last, others both.
    MultipartError::invalid(Reason::RepeatedHeader, at)
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    find_ignoring_case(text.as_bytes(), word.as_bytes()).is_some()
}

pub(super) fn find_ignoring_case(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len())
        .position(|window| window.eq_ignore_ascii_case(word))
}
