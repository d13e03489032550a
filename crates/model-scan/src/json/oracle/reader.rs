//! A naive reader of whole JSON documents.

use super::super::{Insertion, JsonErrorKind, Model, Reason};
use crate::edit::ValueKind;

type Rejected = (JsonErrorKind, usize);

/// The results of the naive reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) result: Result<(), Rejected>,
    pub(crate) model: Model,
    pub(crate) insertion: Option<Insertion>,
    pub(crate) complete: bool,
    /// Whether the full grammar holds for all of the document: it has no nested values, and no
    /// strings except keys and the model.
    pub(crate) all_strict: bool,
}

pub(crate) fn read(bytes: &[u8]) -> Verdict {
    read_key(bytes, "model")
}

/// Reads a document, with another key in the role of `model`.
pub(crate) fn read_key(bytes: &[u8], wanted: &'static str) -> Verdict {
    let mut reader = Reader {
        bytes,
        wanted,
        at: 0,
        verdict: Verdict {
            result: Ok(()),
            model: Model::Unseen,
            insertion: None,
            complete: false,
            all_strict: true,
        },
    };
    reader.verdict.result = reader.document();
    reader.verdict
}

struct Reader<'a> {
    bytes: &'a [u8],
    wanted: &'static str,
    at: usize,
    verdict: Verdict,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Rejected> {
        self.white_space();
        match self.peek() {
            None => return self.fail(Reason::EmptyBody),
            Some(b'{') => self.at += 1,
            Some(0xef | 0xfe | 0xff) => return self.fail(Reason::ByteOrderMark),
            Some(0) => return self.fail(Reason::WideText),
            Some(b'/' | b'#') => return self.fail(Reason::Comment),
            Some(_) => return self.fail(Reason::NotAnObject),
        }
        self.verdict.insertion = Some(Insertion {
            at: self.at as u64,
            object_is_empty: false,
        });
        self.white_space();
        if self.peek() == Some(b'}') {
            self.verdict.insertion.as_mut().unwrap().object_is_empty = true;
        } else {
            self.members()?;
        }
        self.at += 1;
        self.verdict.complete = true;
        self.white_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail(Reason::TrailingData),
        }
    }

    fn members(&mut self) -> Result<(), Rejected> {
        loop {
            self.white_space();
            let start = self.at;
            self.expect(b'"')?;
            let key = self.strict_string(true)?;
            if key == self.wanted {
                if self.verdict.model != Model::Unseen {
                    return Err((JsonErrorKind::DuplicateModel, start));
                }
                self.verdict.model = Model::Pending;
            } else if key.to_lowercase() == self.wanted {
                return Err((JsonErrorKind::AmbiguousModel, start));
            }
            self.white_space();
            self.expect(b':')?;
            self.white_space();
            self.value(key == self.wanted)?;
            self.white_space();
            match self.peek() {
                Some(b'}') => return Ok(()),
                Some(b']') => return self.fail(Reason::Bracket),
                _ => self.expect(b',')?,
            }
            self.white_space();
            if self.peek() == Some(b'}') {
                return self.fail(Reason::TrailingComma);
            }
        }
    }

    fn value(&mut self, is_model: bool) -> Result<(), Rejected> {
        let start = self.at as u64;
        let kind = match self.peek() {
            Some(b'"') => {
                self.at += 1;
                if is_model {
                    self.strict_string(false)?;
                    let end = self.at as u64;
                    let escaped = self.bytes[start as usize..self.at].contains(&b'\\');
                    self.verdict.model = Model::String {
                        start,
                        end,
                        escaped,
                    };
                } else {
                    self.verdict.all_strict = false;
                    self.loose_string()?;
                }
                return Ok(());
            }
            Some(b'n') => {
                self.word("null")?;
                if is_model {
                    let end = self.at as u64;
                    self.verdict.model = Model::Null { start, end };
                }
                return Ok(());
            }
            Some(b't' | b'f') => ValueKind::Boolean,
            Some(b'[') => ValueKind::Array,
            Some(b'{') => ValueKind::Object,
            Some(b'-' | b'0'..=b'9') => ValueKind::Number,
            Some(b'+' | b'.') => return self.fail(Reason::Number),
            _ => return self.unexpected(),
        };
        if is_model {
            self.verdict.model = Model::Other { start, kind };
        }
        match kind {
            ValueKind::Boolean if self.peek() == Some(b't') => self.word("true"),
            ValueKind::Boolean => self.word("false"),
            ValueKind::Number => self.number(),
            ValueKind::Array | ValueKind::Object => {
                self.verdict.all_strict = false;
                self.nested(1)
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Rejected> {
        for expected in word.bytes() {
            match self.peek() {
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return self.fail(Reason::Word),
                None => return self.unexpected(),
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Rejected> {
        if self.peek() == Some(b'-') {
            self.at += 1;
            if self.peek() == Some(b'I') {
                return self.fail(Reason::Word);
            }
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if self.peek().is_some_and(|b| b.is_ascii_digit()) {
                return self.fail(Reason::Number);
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Reads one or more digits.
    fn digits(&mut self) -> Result<(), Rejected> {
        match self.peek() {
            None => return self.unexpected(),
            Some(b'0'..=b'9') => {}
            Some(_) => return self.fail(Reason::Number),
        }
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// Reads an array or object with `outer` levels around it.
    fn nested(&mut self, outer: usize) -> Result<(), Rejected> {
        let open = self.bytes[self.at];
        if outer == 1024 {
            return self.fail(Reason::TooDeep);
        }
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'[' | b'{') => self.nested(outer + 1)?,
                Some(close @ (b']' | b'}')) => {
                    // In ASCII each closing bracket is two past its opening one.
                    if close != open + 2 {
                        return self.fail(Reason::Bracket);
                    }
                    self.at += 1;
                    return Ok(());
                }
                Some(b'"') => {
                    self.at += 1;
                    self.loose_string()?;
                }
                Some(b) if b" \t\r\n,:0123456789+-.eEtruefalsenull".contains(&b) => self.at += 1,
                _ => return self.unexpected(),
            }
        }
    }

    /// Reads the rest of a string that is not validated.
    fn loose_string(&mut self) -> Result<(), Rejected> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') if self.at + 1 < self.bytes.len() => self.at += 2,
                Some(b'\\') => self.at += 1,
                Some(_) => self.at += 1,
                None => return self.unexpected(),
            }
        }
    }

    /// Reads and decodes the rest of a string that is validated.
    fn strict_string(&mut self, is_key: bool) -> Result<String, Rejected> {
        let mut decoded = String::new();
        loop {
            let Some(byte) = self.peek() else {
                return self.unexpected();
            };
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(decoded);
                }
                b'\\' => {
                    self.at += 1;
                    decoded.push(self.escape(is_key)?);
                }
                0..=0x1f => return self.fail(Reason::ControlCharacter),
                0x20..=0x7f => {
                    self.at += 1;
                    decoded.push(byte.into());
                }
                _ => decoded.push(self.raw_char()?),
            }
        }
    }

    fn raw_char(&mut self) -> Result<char, Rejected> {
        let rest = &self.bytes[self.at..];
        let rest = &rest[..rest.len().min(4)];
        let error = match str::from_utf8(rest) {
            Ok(text) => {
                let c = text.chars().next().unwrap();
                self.at += c.len_utf8();
                return Ok(c);
            }
            Err(error) => error,
        };
        if error.valid_up_to() > 0 {
            let text = str::from_utf8(&rest[..error.valid_up_to()]).unwrap();
            let c = text.chars().next().unwrap();
            self.at += c.len_utf8();
            return Ok(c);
        }
        match error.error_len() {
            None => {
                self.at = self.bytes.len();
                self.unexpected()
            }
            Some(len) => {
                let can_lead = matches!(rest[0], 0xc2..=0xf4);
                self.at += if can_lead { len } else { 0 };
                self.fail(Reason::Utf8)
            }
        }
    }

    /// Reads an escape without its backslash.
    fn escape(&mut self, is_key: bool) -> Result<char, Rejected> {
        let Some(byte) = self.peek() else {
            return self.unexpected();
        };
        let index = b"\"\\/bfnrt".iter().position(|&b| b == byte);
        if let Some(index) = index {
            self.at += 1;
            return Ok(['"', '\\', '/', '\x08', '\x0c', '\n', '\r', '\t'][index]);
        }
        if byte != b'u' {
            return self.fail(Reason::Escape);
        }
        let unit = self.unicode()?;
        if unit == 0 && is_key {
            return Err((Reason::NulInKey.into(), self.at - 1));
        }
        if let Some(c) = char::from_u32(unit) {
            return Ok(c);
        }
        if unit >= 0xdc00 {
            return Err((Reason::Surrogate.into(), self.at - 1));
        }
        for expected in *b"\\u" {
            match self.peek() {
                Some(b) if b == expected && b == b'u' => {}
                Some(b) if b == expected => self.at += 1,
                Some(_) => return self.fail(Reason::Surrogate),
                None => return self.unexpected(),
            }
        }
        let low = self.unicode()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err((Reason::Surrogate.into(), self.at - 1));
        }
        Ok(char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).unwrap())
    }

    /// Reads the `u` and the digits of an escape.
    fn unicode(&mut self) -> Result<u32, Rejected> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let Some(byte) = self.peek() else {
                return self.unexpected();
            };
            let Some(digit) = char::from(byte).to_digit(16) else {
                return self.fail(Reason::Escape);
            };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Rejected> {
        if self.peek() != Some(byte) {
            return self.unexpected();
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected<T>(&self) -> Result<T, Rejected> {
        self.fail(match self.peek() {
            None => Reason::UnexpectedEnd,
            Some(0) => Reason::WideText,
            Some(b'/' | b'#') => Reason::Comment,
            Some(b'\'' | b'`') => Reason::SingleQuote,
            Some(b) if b.is_ascii_alphabetic() => Reason::Word,
            Some(_) => Reason::UnexpectedByte,
        })
    }

    fn fail<T>(&self, reason: Reason) -> Result<T, Rejected> {
        Err((reason.into(), self.at))
    }
}
