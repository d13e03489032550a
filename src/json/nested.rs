use super::{
    brackets::{Bracket, Brackets},
    error::Reason,
};

/// An array or object inside the top-level object, of which only the brackets,
/// the strings' ends and the alphabet are checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Nested {
    brackets: Brackets,
    text: Option<Text>,
}

/// A string of which only the end matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    /// The last byte was a backslash that escapes the next one.
    escaped: bool,
}

impl Text {
    /// Skips to just past the closing quote; `None` if it is not in `bytes`.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = usize::from(self.escaped && !bytes.is_empty());
        self.escaped &= bytes.is_empty();
        while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
            at += found + 1;
            if bytes[at - 1] == b'"' {
                return Some(at);
            }
            if at == bytes.len() {
                self.escaped = true;
                break;
            }
            at += 1;
        }
        None
    }
}

impl Nested {
    /// The top-level object is the first level, and open.
    pub(super) fn enter_document(&mut self) -> Result<(), Reason> {
        self.brackets.open(Bracket::Object)
    }

    /// Starts a value with its opening bracket.
    pub(super) fn enter(&mut self, bracket: Bracket) -> Result<(), Reason> {
        self.brackets.open(bracket)
    }

    /// Scans up to just past the bracket that ends the value, which is the
    /// first that leaves nothing open but the top-level object. `None` if that
    /// bracket is not in `bytes`; an error comes with its place.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, (usize, Reason)> {
        let mut at = 0;
        while at < bytes.len() {
            if let Some(text) = &mut self.text {
                match text.skip(&bytes[at..]) {
                    Some(len) => at += len,
                    None => return Ok(None),
                }
                self.text = None;
                continue;
            }
            let byte = bytes[at];
            if self.outside(byte).map_err(|reason| (at, reason))? {
                return Ok(Some(at + 1));
            }
            at += 1;
        }
        Ok(None)
    }

    /// Takes a byte outside strings and says whether it ended the value.
    fn outside(&mut self, byte: u8) -> Result<bool, Reason> {
        match byte {
            b'"' => self.text = Some(Text::default()),
            b'[' => self.brackets.open(Bracket::Array)?,
            b'{' => self.brackets.open(Bracket::Object)?,
            b']' | b'}' => {
                let kind = if byte == b']' {
                    Bracket::Array
                } else {
                    Bracket::Object
                };
                self.brackets.close(kind)?;
                return Ok(self.brackets.depth() == 1);
            }
            _ if is_in_alphabet(byte) => {}
            _ => return Err(Reason::of_unexpected(byte)),
        }
        Ok(false)
    }
}

/// Whether the byte occurs in JSON outside strings, quotes and brackets aside:
/// in white space, punctuation, numbers, or the three words.
fn is_in_alphabet(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'0'
            ..=b'9'
                | b'+'
                | b'-'
                | b'.'
                | b'E'
                | b't'
                | b'r'
                | b'u'
                | b'e'
                | b'f'
                | b'a'
                | b'l'
                | b's'
                | b'n'
    )
}
