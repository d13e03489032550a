//! Scans arrays and objects inside the top-level object.

use super::{
    brackets::{Bracket, Brackets},
    error::Reason,
    skipped_string::SkippedString,
};

/// An array or object inside the top-level object, of which only brackets, the ends of strings and
/// the alphabet are checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Nested {
    pub(super) brackets: Brackets,
    /// The string that the last byte belongs to.
    pub(super) string: Option<SkippedString>,
}

/// The index just past a nested value, if it ends, or the index and reason of an error.
pub(super) type NestedEnd = Result<Option<usize>, (usize, Reason)>;

impl Nested {
    /// Opens the bracket of the document, or of a value in it.
    pub(super) fn enter(&mut self, bracket: Bracket) -> Result<(), Reason> {
        self.brackets.open(bracket)
    }

    /// Scans up to the bracket that ends the value, the first one after which only the top-level
    /// object is open. Returns the index just past it; `None` if it is not in `bytes`.
    pub(super) fn scan(&mut self, bytes: &[u8], mut at: usize) -> NestedEnd {
        while at < bytes.len() {
            if let Some(string) = &mut self.string {
                match string.skip(bytes, at) {
                    Some(end) => at = end,
                    None => return Ok(None),
                }
                self.string = None;
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

    /// Consumes a byte outside strings, and returns whether it ended the value.
    pub(super) fn outside(&mut self, byte: u8) -> Result<bool, Reason> {
        match byte {
            b'"' => self.string = Some(SkippedString::default()),
            b'[' => self.brackets.open(Bracket::Array)?,
            b'{' => self.brackets.open(Bracket::Object)?,
            b']' => return self.close(Bracket::Array),
            b'}' => return self.close(Bracket::Object),
            // The rest of JSON's alphabet: white space, punctuation, numbers, and the letters of
            // its three words.
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'E' => {}
            b't' | b'r' | b'u' | b'e' | b'f' | b'a' | b'l' | b's' | b'n' => {}
            _ => return Err(Reason::of_unexpected(byte)),
        }
        Ok(false)
    }

    /// Consumes the brackets of the block that begins at index `at`, one by one, and returns the
    /// index just past the one that ends the value.
    #[cfg(feature = "simd")]
    pub(super) fn take_each(&mut self, mut brackets: u64, bytes: &[u8], at: usize) -> NestedEnd {
        while brackets != 0 {
            let place = at + brackets.trailing_zeros() as usize;
            if self
                .outside(bytes[place])
                .map_err(|reason| (place, reason))?
            {
                return Ok(Some(place + 1));
            }
            brackets &= brackets - 1;
        }
        Ok(None)
    }

    fn close(&mut self, bracket: Bracket) -> Result<bool, Reason> {
        self.brackets.close(bracket)?;
        Ok(self.brackets.depth() == 1)
    }
}
