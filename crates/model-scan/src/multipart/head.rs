//! Reads the head of a part.

use super::name::{Name, hides_name};
use super::params::{Params, is_token};
use super::{MultipartError, MultipartErrorKind, Reason};

/// busboy forgets every header after the 2,000th; python-multipart rejects the ninth.
const MAX_HEADERS: usize = 32;

const DISPOSITION: &str = "content-disposition";

/// The head of one part, fed line by line.
#[derive(Debug, Default)]
pub(super) struct Head {
    headers: usize,
    disposition: Option<Disposition>,
    /// Whether a `model` part may have this value, and its offset.
    content_type: Option<(bool, u64)>,
    transfer_encoding: Option<(bool, u64)>,
    /// The offset of a header by which some server would decode the content.
    encoding_at: Option<u64>,
    content_length: Option<ContentLength>,
}

#[derive(Clone, Copy, Debug)]
struct Disposition {
    name: Name,
    name_at: u64,
    /// The offset of the first parameter other than the name.
    other_at: Option<u64>,
}

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
        let colon = text.bytes().take_while(|&b| is_token(b)).count();
        if colon == 0 || text.as_bytes().get(colon) != Some(&b':') {
            return Err(MultipartError::invalid(
                Reason::HeaderSyntax,
                at + colon as u64,
            ));
        }
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        let value = value.trim_start_matches([' ', '\t']);
        self.header(name, value, at, at + (line.len() - value.len()) as u64)
    }

    fn header(
        &mut self,
        name: &str,
        value: &str,
        at: u64,
        value_at: u64,
    ) -> Result<(), MultipartError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let untrimmed = value;
        let value = value.trim_end_matches([' ', '\t']);
        // Of two headers Go and busboy read the first, Starlette the last, others both.
        let repeated = MultipartError::invalid(Reason::RepeatedHeader, at);
        if is(DISPOSITION) {
            let disposition = Disposition::parse(untrimmed, value_at)?;
            set(&mut self.disposition, disposition, repeated)
        } else if is("content-type") {
            if contains_ignoring_case(value, DISPOSITION) {
                return Err(repeated);
            }
            if starts_with_ignoring_case(value, "multipart/") {
                // Obsolete by RFC 7578, section 4.3. Some readers look for parts within it.
                return Err(MultipartError::invalid(Reason::NestedMultipart, value_at));
            }
            let content_type = (is_plain_text(value), value_at);
            set(&mut self.content_type, content_type, repeated)
        } else if is("content-transfer-encoding") {
            let identity = ["7bit", "8bit", "binary"];
            let identity = identity.iter().any(|i| i.eq_ignore_ascii_case(value));
            set(&mut self.transfer_encoding, (identity, value_at), repeated)
        } else if is("content-length") {
            let length = ContentLength::parse(value, value_at)?;
            set(&mut self.content_length, length, repeated)
        } else {
            // Rack searches the whole head for `Content-Disposition:`, so it also finds one in
            // another header's value, or at the end of its name.
            if contains_ignoring_case(name, DISPOSITION)
                || contains_ignoring_case(value, DISPOSITION)
            {
                return Err(repeated);
            }
            if is("content-encoding") || is("transfer-encoding") {
                // aiohttp decodes by the former.
                self.encoding_at.get_or_insert(value_at);
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
    /// type `application/octet-stream`, it is a file for some; and some decode encodings and
    /// charsets other than UTF-8 (RFC 7578, sections 4.4 and 4.7).
    fn check_model(&self, other_at: Option<u64>) -> Result<(), MultipartError> {
        let invalid = |value: Option<(bool, u64)>| value.and_then(|(ok, at)| (!ok).then_some(at));
        let checks = [
            (Reason::ModelParameter, other_at),
            (Reason::ModelType, invalid(self.content_type)),
            (Reason::ModelEncoding, invalid(self.transfer_encoding)),
            (Reason::ModelEncoding, self.encoding_at),
        ];
        match checks.iter().find_map(|&(reason, at)| Some((reason, at?))) {
            Some((reason, at)) => Err(MultipartError::invalid(reason, at)),
            None => Ok(()),
        }
    }
}

impl Disposition {
    /// Parses `form-data` with a name (RFC 7578, section 4.2).
    fn parse(value: &str, at: u64) -> Result<Self, MultipartError> {
        let kind = value.bytes().take_while(|&b| is_token(b)).count();
        // Letter case should not matter (RFC 2183, section 2), but every client sends it in lower
        // case, and Tornado requires that.
        if &value[..kind] != "form-data" {
            return Err(MultipartError::invalid(Reason::NotFormData, at));
        }
        let mut name = None;
        let mut other_at = None;
        let mut keys: Vec<&str> = Vec::new();
        let mut params = Params::new(value, kind, at, Reason::DispositionSyntax);
        while let Some(param) = params.read()? {
            let error = |reason| MultipartError::invalid(reason, param.key_at);
            if keys.iter().any(|key| key.eq_ignore_ascii_case(param.key)) {
                return Err(error(Reason::RepeatedParameter));
            }
            keys.push(param.key);
            if hides_name(param.value) {
                return Err(MultipartError::invalid(Reason::HiddenName, param.value_at));
            }
            if param.key.eq_ignore_ascii_case("name") {
                // Letter case should not matter (RFC 9110, section 5.6.6), but every client sends
                // it in lower case, and multer for Rust finds no name, and so no model, in `Name=`.
                if param.key != "name" {
                    return Err(error(Reason::DispositionSyntax));
                }
                name = Some((Name::of(param.value), param.value_at));
                continue;
            }
            other_at.get_or_insert(param.key_at);
            if starts_with_ignoring_case(param.key, "name*") {
                // RFC 7578, section 4.2 forbids RFC 5987's parameters. Werkzeug and Go prefer them
                // to `name`, Starlette ignores them.
                return Err(error(Reason::EncodedName));
            }
            if hides_name(&format!("{}=", param.key)) {
                return Err(error(Reason::HiddenName));
            }
        }
        let (name, name_at) = name.ok_or(MultipartError::invalid(Reason::MissingName, at))?;
        Ok(Self {
            name,
            name_at,
            other_at,
        })
    }
}

impl ContentLength {
    fn parse(value: &str, at: u64) -> Result<Self, MultipartError> {
        let error = MultipartError::invalid(Reason::ContentLength, at);
        if !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error);
        }
        Ok(Self {
            value: value.parse().map_err(|_| error)?,
            start: at,
            end: at + value.len() as u64,
        })
    }
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

/// Returns whether the type is `text/plain` with no parameter except a charset of UTF-8 or ASCII.
fn is_plain_text(value: &str) -> bool {
    const TYPE: &str = "text/plain";
    if !starts_with_ignoring_case(value, TYPE) {
        return false;
    }
    let mut params = Params::new(value, TYPE.len(), 0, Reason::ModelType);
    let mut charsets = 0;
    while let Ok(param) = params.read() {
        let Some(param) = param else {
            return charsets <= 1;
        };
        let known = ["utf-8", "utf8", "us-ascii"];
        if !param.key.eq_ignore_ascii_case("charset")
            || !known.iter().any(|k| k.eq_ignore_ascii_case(param.value))
        {
            return false;
        }
        charsets += 1;
    }
    false
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}
