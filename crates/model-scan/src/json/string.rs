//! Validates and decodes strings.

use std::borrow::Cow;

use super::error::Reason;

/// The effect of one byte of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Part of a character that is not complete.
    Part,
    /// A character that stands for itself.
    Raw(char),
    /// An escaped UTF-16 unit.
    Escaped(u16),
    /// The closing quote.
    End,
}

/// A string that is validated byte by byte, from just past its opening quote on. Unpaired
/// surrogates are valid as escapes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum JsonString {
    /// Between two characters.
    #[default]
    Plain,
    /// In a UTF-8 sequence that needs `need` more bytes, the next one between `first` and `last`.
    Utf8 {
        need: u8,
        first: u8,
        last: u8,
        code: u32,
    },
    /// After a backslash.
    Escape,
    /// In the digits of a `\u` escape.
    Hex { digits: u8, unit: u16 },
}

impl JsonString {
    pub(super) fn step(&mut self, byte: u8) -> Result<Step, Reason> {
        match *self {
            Self::Plain => self.plain(byte),
            Self::Utf8 {
                need,
                first,
                last,
                code,
            } => {
                if !(first..=last).contains(&byte) {
                    return Err(Reason::Utf8);
                }
                let code = code << 6 | u32::from(byte & 0x3f);
                if need > 1 {
                    *self = continuation(need - 1, 0x80, 0xbf, code);
                    return Ok(Step::Part);
                }
                *self = Self::Plain;
                char::from_u32(code).map(Step::Raw).ok_or(Reason::Utf8)
            }
            Self::Escape if byte == b'u' => {
                *self = Self::Hex { digits: 0, unit: 0 };
                Ok(Step::Part)
            }
            Self::Escape => {
                let unescaped = simple_escape(byte).ok_or(Reason::Escape)?;
                *self = Self::Plain;
                Ok(Step::Escaped(unescaped.into()))
            }
            Self::Hex { digits, unit } => {
                let digit = hex_value(byte).ok_or(Reason::Escape)?;
                let unit = unit << 4 | digit;
                if digits < 3 {
                    let digits = digits + 1;
                    *self = Self::Hex { digits, unit };
                    return Ok(Step::Part);
                }
                *self = Self::Plain;
                Ok(Step::Escaped(unit))
            }
        }
    }

    fn plain(&mut self, byte: u8) -> Result<Step, Reason> {
        let bits = |mask: u8| u32::from(byte & mask);
        // Unicode's table 3-7 has the well-formed UTF-8 sequences.
        *self = match byte {
            b'"' => return Ok(Step::End),
            b'\\' => Self::Escape,
            0..=0x1f => return Err(Reason::ControlCharacter),
            0x20..=0x7f => return Ok(Step::Raw(byte.into())),
            0xc2..=0xdf => continuation(1, 0x80, 0xbf, bits(0x1f)),
            0xe0 => continuation(2, 0xa0, 0xbf, 0),
            0xed => continuation(2, 0x80, 0x9f, bits(0x0f)),
            0xe1..=0xef => continuation(2, 0x80, 0xbf, bits(0x0f)),
            0xf0 => continuation(3, 0x90, 0xbf, 0),
            0xf1..=0xf3 => continuation(3, 0x80, 0xbf, bits(0x07)),
            0xf4 => continuation(3, 0x80, 0x8f, bits(0x07)),
            0x80..=0xc1 | 0xf5..=0xff => return Err(Reason::Utf8),
        };
        Ok(Step::Part)
    }
}

/// A string in which surrogates must be paired too: a top-level key, or the model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairedString {
    string: JsonString,
    /// The last escape, if it was a high surrogate, which a low one must follow.
    high: Option<u16>,
}

/// The effect of one byte of a [`PairedString`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairedStep {
    /// Part of a character that is not complete.
    Part,
    /// A character.
    Char {
        decoded: char,
        /// Whether it is spelled by a `\u` escape.
        unicode_escape: bool,
    },
    /// The closing quote.
    End,
}

impl PairedString {
    pub(super) fn step(&mut self, byte: u8) -> Result<PairedStep, Reason> {
        let is_unicode_escape = match self.string {
            JsonString::Plain if self.high.is_some() && byte != b'\\' => {
                return Err(Reason::Surrogate);
            }
            JsonString::Escape if self.high.is_some() && byte != b'u' => {
                return Err(Reason::Surrogate);
            }
            JsonString::Hex { .. } => true,
            _ => false,
        };
        let unit = match self.string.step(byte)? {
            Step::Part => return Ok(PairedStep::Part),
            Step::End => return Ok(PairedStep::End),
            Step::Raw(decoded) => {
                return Ok(PairedStep::Char {
                    decoded,
                    unicode_escape: false,
                });
            }
            Step::Escaped(unit) => unit,
        };
        if self.high.is_none() && (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return Ok(PairedStep::Part);
        }
        let decoded = match self.high.take() {
            None => char::from_u32(unit.into()),
            Some(high) => char::decode_utf16([high, unit]).next().and_then(Result::ok),
        };
        Ok(PairedStep::Char {
            decoded: decoded.ok_or(Reason::Surrogate)?,
            unicode_escape: is_unicode_escape,
        })
    }
}

fn continuation(need: u8, first: u8, last: u8, code: u32) -> JsonString {
    JsonString::Utf8 {
        need,
        first,
        last,
        code,
    }
}

fn hex_value(byte: u8) -> Option<u16> {
    char::from(byte).to_digit(16)?.try_into().ok()
}

fn simple_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// Decodes a string literal, with its quotes; `None` if it is not valid. Borrows unless `escaped`.
pub(crate) fn decode_string(literal: &[u8], escaped: bool) -> Option<Cow<'_, str>> {
    let text = literal.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut rest = str::from_utf8(text).ok()?;
    if !escaped {
        return Some(Cow::Borrowed(rest));
    }
    let mut decoded = String::with_capacity(rest.len());
    while let Some((raw, escape)) = rest.split_once('\\') {
        decoded.push_str(raw);
        if escape.starts_with('u') {
            let (high, after) = unicode_escape(escape.get(1..)?)?;
            let mut units = [high, 0];
            let mut used = 1;
            rest = after;
            if (0xd800..0xdc00).contains(&high) {
                (units[1], rest) = unicode_escape(after.strip_prefix("\\u")?)?;
                used = 2;
            }
            for c in char::decode_utf16(units[..used].iter().copied()) {
                decoded.push(c.ok()?);
            }
        } else {
            decoded.push(simple_escape(*escape.as_bytes().first()?)?.into());
            rest = escape.get(1..)?;
        }
    }
    decoded.push_str(rest);
    Some(Cow::Owned(decoded))
}

/// Decodes four hex digits, and returns the rest.
fn unicode_escape(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = digits
        .bytes()
        .try_fold(0, |unit, digit| Some(unit << 4 | hex_value(digit)?))?;
    Some((unit, rest))
}
