/// What a part's `name` means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Model,
    /// Some server may read it as `model`.
    NearModel,
    /// RFC 7578, section 4.6: the content names the charset of the other parts.
    Charset,
    /// An encoded word (RFC 2047), which Apache Commons FileUpload decodes, although RFC 7578
    /// knows no such thing.
    Encoded,
    Other,
}

impl Name {
    /// `raw` is the parameter's value, less its quotes but with its backslashes.
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

/// The whole name, and each stretch between quotes in it: formidable ends the name at the first
/// quote, escaped or not; PHP takes single quotes for quotes; and Python's `email` reads
/// `utf-8''model` as RFC 2231 has it, even where the parameter is not `name*`.
///
/// Without backslashes (RFC 9110 takes them away before any character, Go before some, formidable
/// nowhere) and percent-decoded (browsers encode quotes and line ends so, and servers decode
/// those or nothing; one that decodes all is not far).
fn readings(raw: &str) -> impl Iterator<Item = String> {
    std::iter::once(raw)
        .chain(raw.split(['"', '\'']))
        .map(|part| percent_decoded(&part.replace('\\', "")))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |k: usize| bytes.get(k).and_then(|&b| char::from(b).to_digit(16));
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `model` in other letter case, with white space or punctuation around it (servers trim), or with
/// an index: `model[]` and `model[x]` make `model` a list or an object in PHP, Rails and multer for
/// Node.
fn is_near_model(name: &str) -> bool {
    let name = trim(name).as_bytes();
    let (head, tail) = name.split_at(name.len().min(5));
    head.eq_ignore_ascii_case(b"model") && (tail.is_empty() || tail[0] == b'[')
}

fn trim(name: &str) -> &str {
    name.trim_matches(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
}

/// Whether a reader that does not mind quotes could find a parameter `name` or `name*` in
/// `text`: `name`, not within a longer word, then white space or the marks of RFC 2231, and `=`.
///
/// formidable takes the first match of `\bname=` and multer for Rust the first `name=` after a
/// blank or a semicolon, inside another parameter's quotes or not.
pub(super) fn hides_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|i| {
        let Some(word) = bytes.get(i..i + 4) else {
            return false;
        };
        let within_word = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
        word.eq_ignore_ascii_case(b"name")
            && !within_word
            && bytes[i + 4..]
                .iter()
                .find(|b| !matches!(b, b' ' | b'\t' | b'*' | b'0'..=b'9'))
                == Some(&b'=')
    })
}
