//! Validates and decodes strings.

use std::borrow::Cow;

use super::error::Reason;

/// The effect of one byte of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Part of a character that is not complete, or that has been reported.
    Part,
    /// A decoded UTF-16 unit. All raw characters beyond ASCII are reported as [`NOT_ASCII`].
    Unit(u16),
    /// The closing quote.
    End,
}

/// The unit that stands for any raw character beyond ASCII.
pub(super) const NOT_ASCII: u16 = 0xfffd;

/// A string that is validated in full, byte by byte, from just past its opening quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValidatedString {
    inside: Inside,
    /// Whether the last escape was a high surrogate, which a low one must follow.
    high: bool,
}

#[derive(Clone, Copy, Debug)]
enum Inside {
    Plain,
    /// A UTF-8 sequence that needs `need` more bytes, the next one between `first` and `last`.
    Utf8 {
        need: u8,
        first: u8,
        last: u8,
    },
    Escape,
    Hex {
        digits: u8,
        unit: u16,
    },
}

impl ValidatedString {
    pub(super) fn new() -> Self {
        Self {
            inside: Inside::Plain,
            high: false,
        }
    }

    pub(super) fn step(&mut self, byte: u8) -> Result<Step, Reason> {
        match self.inside {
            Inside::Plain => self.text(byte),
            Inside::Utf8 { need, first, last } => {
                if !(first..=last).contains(&byte) {
                    return Err(Reason::Utf8);
                }
                self.inside = match need {
                    1 => Inside::Plain,
                    _ => continuation(need - 1, 0x80, 0xbf),
                };
                Ok(Step::Part)
            }
            Inside::Escape => self.escape(byte),
            Inside::Hex { digits, unit } => {
                let digit = hex_value(byte).ok_or(Reason::Escape)?;
                let unit = unit << 4 | digit;
                if digits < 3 {
                    let digits = digits + 1;
                    self.inside = Inside::Hex { digits, unit };
                    return Ok(Step::Part);
                }
                self.inside = Inside::Plain;
                self.high = match (self.high, unit) {
                    (false, 0xd800..=0xdbff) => true,
                    (true, 0xdc00..=0xdfff) => false,
                    (true, _) | (false, 0xdc00..=0xdfff) => return Err(Reason::Surrogate),
                    (false, _) => false,
                };
                Ok(Step::Unit(unit))
            }
        }
    }

    fn text(&mut self, byte: u8) -> Result<Step, Reason> {
        if self.high && byte != b'\\' {
            return Err(Reason::Surrogate);
        }
        // Unicode's table 3-7 has the well-formed UTF-8 sequences.
        self.inside = match byte {
            b'"' => return Ok(Step::End),
            b'\\' => {
                self.inside = Inside::Escape;
                return Ok(Step::Part);
            }
            0..=0x1f => return Err(Reason::ControlCharacter),
            0x20..=0x7f => return Ok(Step::Unit(byte.into())),
            0xc2..=0xdf => continuation(1, 0x80, 0xbf),
            0xe0 => continuation(2, 0xa0, 0xbf),
            0xed => continuation(2, 0x80, 0x9f),
            0xe1..=0xef => continuation(2, 0x80, 0xbf),
            0xf0 => continuation(3, 0x90, 0xbf),
            0xf1..=0xf3 => continuation(3, 0x80, 0xbf),
            0xf4 => continuation(3, 0x80, 0x8f),
            0x80..=0xc1 | 0xf5..=0xff => return Err(Reason::Utf8),
        };
        Ok(Step::Unit(NOT_ASCII))
    }

    fn escape(&mut self, byte: u8) -> Result<Step, Reason> {
        if byte == b'u' {
            self.inside = Inside::Hex { digits: 0, unit: 0 };
            return Ok(Step::Part);
        }
        if self.high {
            return Err(Reason::Surrogate);
        }
        let unescaped = simple_escape(byte).ok_or(Reason::Escape)?;
        self.inside = Inside::Plain;
        Ok(Step::Unit(unescaped.into()))
    }
}

fn continuation(need: u8, first: u8, last: u8) -> Inside {
    Inside::Utf8 { need, first, last }
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
