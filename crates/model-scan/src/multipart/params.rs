//! Reads the parameters of a part's Content-Disposition.

use super::{MultipartError, Reason};

/// One `; key=value` of a header's value.
pub(super) struct Param<'a> {
    pub(super) key: &'a str,
    pub(super) key_at: u64,
    /// A token, or the text between the quotes, with its backslashes.
    pub(super) value: &'a str,
    pub(super) value_at: u64,
}

/// The parameters of a Content-Disposition: `*( ";" SP token "=" ( token / quoted-string ) )` (RFC
/// 9110, section 5.6.6, without most of its white space and its empty parameters).
///
/// Stricter than many readers, because they differ: one space after a semicolon (Ruby's CGI finds
/// no name without one), no tabs (`multipart` for Python loses the parameters), no white space after
/// a value (multiparty for Node reads it as part of a token) or around `=` (Go accepts it), no empty
/// or trailing parameter (busboy drops the whole part), and no value without quotes that is not a
/// token (PHP reads it up to the next blank).
pub(super) struct Params<'a> {
    text: &'a str,
    pos: usize,
    /// Offset of `text` in the form.
    at: u64,
}

impl<'a> Params<'a> {
    /// Creates a reader of `text`, which begins at offset `at` of the form, from index `pos` on.
    pub(super) fn new(text: &'a str, pos: usize, at: u64) -> Self {
        Self { text, pos, at }
    }

    /// Reads the next parameter; `None` at the end.
    pub(super) fn read(&mut self) -> Result<Option<Param<'a>>, MultipartError> {
        if self.pos == self.text.len() {
            return Ok(None);
        }
        self.expect(b';')?;
        self.expect(b' ')?;
        let (key, key_at) = self.token()?;
        self.expect(b'=')?;
        let (value, value_at) = match self.peek() {
            Some(b'"') => self.quoted()?,
            _ => self.token()?,
        };
        Ok(Some(Param {
            key,
            key_at,
            value,
            value_at,
        }))
    }

    fn token(&mut self) -> Result<(&'a str, u64), MultipartError> {
        let start = self.pos;
        let rest = &self.text[start..];
        let len = rest.bytes().take_while(|&b| is_token(b)).count();
        if len == 0 {
            return Err(self.error());
        }
        self.pos += len;
        Ok((&rest[..len], self.at + start as u64))
    }

    /// Reads a quoted-string (RFC 9110, section 5.6.4): it ends at the first quote that is not
    /// escaped.
    fn quoted(&mut self) -> Result<(&'a str, u64), MultipartError> {
        self.pos += 1;
        let start = self.pos;
        loop {
            match self.peek() {
                None => return Err(self.error()),
                Some(b'"') => break,
                Some(b'\\') => self.pos += 2,
                Some(_) => self.pos += 1,
            }
        }
        let value = &self.text[start..self.pos];
        self.pos += 1;
        Ok((value, self.at + start as u64))
    }

    fn expect(&mut self, byte: u8) -> Result<(), MultipartError> {
        if self.peek() == Some(byte) {
            self.pos += 1;
            Ok(())
        } else {
            Err(self.error())
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn error(&self) -> MultipartError {
        let pos = self.pos.min(self.text.len());
        MultipartError::invalid(Reason::DispositionSyntax, self.at + pos as u64)
    }
}

/// Returns whether the byte is a `tchar` (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
