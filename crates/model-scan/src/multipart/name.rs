//! Classifies the names of parts.

use percent_encoding::percent_decode_str;

use super::params::is_token;

/// The meaning of a part's `name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Model,
    /// A name that some server may read as `model`.
    NearModel,
    /// The content names the charset of the other parts (RFC 7578, section 4.6).
    Charset,
    /// An encoded word (RFC 2047), which Apache Commons FileUpload decodes, although RFC 7578 has
    /// none.
    Encoded,
    Other,
}

impl Name {
    /// Classifies a parameter's value, without its quotes but with its backslashes.
    pub(super) fn of(raw: &str) -> Self {
        if raw == "model" {
            Self::Model
        } else if raw.contains("=?") {
            Self::Encoded
        } else if readings(raw).any(|name| is_near_model(&name)) {
            Self::NearModel
        } else if readings(raw).any(|name| trim(&name).eq_ignore_ascii_case("_charset_")) {
            Self::Charset
        } else {
            Self::Other
        }
    }
}

/// Returns the whole name, and each stretch of it between quotes, semicolons and equals signs:
/// formidable ends the name at the first quote, escaped or not, Perl's HTTP::Body and dicer end it
/// at the first semicolon, and parse-multipart-data at the first `=`; PHP reads single quotes as
/// quotes; and Python's `email` reads `utf-8''model` by RFC 2231, even if the parameter is not
/// `name*`.
///
/// Backslashes are removed (RFC 9110 removes them before any character, Go before some, formidable
/// nowhere), and percent-encoding is decoded (browsers encode quotes and line ends so; servers
/// decode those or nothing, and one that decodes all of it is conceivable).
fn readings(raw: &str) -> impl Iterator<Item = String> {
    std::iter::once(raw)
        .chain(raw.split(['"', '\'', ';', '=']))
        .map(|part| {
            let part = part.replace('\\', "");
            percent_decode_str(&part).decode_utf8_lossy().into_owned()
        })
}

/// Returns whether the name is `model` in any letter case, with white space or punctuation around
/// it (servers trim), or with an index: `model[]` and `model[x]` make `model` an array or an object
/// in PHP, Rails and multer for Node, and `model.x` in connect-multiparty.
fn is_near_model(name: &str) -> bool {
    let name = trim(name).as_bytes();
    let (head, tail) = name.split_at(name.len().min(5));
    head.eq_ignore_ascii_case(b"model") && (tail.is_empty() || matches!(tail[0], b'[' | b'.'))
}

fn trim(name: &str) -> &str {
    name.trim_matches(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
}

/// Returns whether a reader that ignores quotes could find a second parameter `name` in `text` that
/// is `model`: after a blank or a semicolon `name`, `=` and the token `model`, in any letter case.
///
/// Ruby's CGI takes the last ` name=` of a line up to a semicolon, Rack the last `;name=` and the
/// token after it, and blacksheep the last `name=` between semicolons. With an escaped quote in
/// front of it, as clients send `a"; name="model`, the second name is another for all of them.
pub(super) fn hides_model(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(5).enumerate().any(|(i, window)| {
        matches!(window[0], b' ' | b'\t' | b';')
            && window[1..].eq_ignore_ascii_case(b"name")
            && assigned_token(&bytes[i + 5..])
                .is_some_and(|token| token.eq_ignore_ascii_case(b"model"))
    })
}

/// Returns the token after `=`, if `text` begins with it, white space aside.
fn assigned_token(text: &[u8]) -> Option<&[u8]> {
    let value = text.trim_ascii_start().strip_prefix(b"=")?;
    let value = value.trim_ascii_start();
    let len = value.iter().take_while(|&&b| is_token(b)).count();
    Some(&value[..len])
}
