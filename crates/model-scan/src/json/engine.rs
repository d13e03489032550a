//! The interface to the code that skips the bulk of a document, and its bytewise version.

use super::{
    scanner::{JsonScanner, State},
    string::JsonString,
};

/// A way to skip the bulk of a document, which takes nearly all of the time.
///
/// All engines return the same results.
pub(super) trait Engine: Copy {
    /// The bytes around the previous string, already loaded; the next string may be among them.
    type Window: Default;

    /// Returns the index of the closing quote of the string that begins at index `at`, if the
    /// string is plain ASCII without escapes. May return `None` for any string.
    fn plain_string(self, window: &mut Self::Window, bytes: &[u8], at: usize) -> Option<usize>;

    /// Does the same as [`plain_string`](Self::plain_string), for strings of which most are short.
    fn short_string(self, window: &mut Self::Window, bytes: &[u8], at: usize) -> Option<usize>;

    /// Consumes bytes from index `at` on, of nested values or of a string, and returns the index
    /// where it stopped. It stops before any byte that is not allowed there, at the end of the
    /// outermost nested value, and may stop anywhere else.
    ///
    /// The scanner's state is then the one after consuming all these bytes one by one.
    fn skip(self, scanner: &mut JsonScanner, bytes: &[u8], at: usize) -> usize;
}

/// The engine that scans byte by byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytewise;

impl Engine for Bytewise {
    type Window = ();

    fn plain_string(self, (): &mut (), bytes: &[u8], at: usize) -> Option<usize> {
        let end = skip_plain(bytes, at);
        (bytes.get(end) == Some(&b'"')).then_some(end)
    }

    fn short_string(self, (): &mut (), bytes: &[u8], at: usize) -> Option<usize> {
        self.plain_string(&mut (), bytes, at)
    }

    #[inline(always)]
    fn skip(self, scanner: &mut JsonScanner, bytes: &[u8], at: usize) -> usize {
        match &scanner.state {
            State::String(text) if matches!(text.string, JsonString::Plain) => {
                skip_plain(bytes, at)
            }
            _ => at,
        }
    }
}

/// Skips the bytes of a string that stand for themselves.
fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| is_plain(byte)) {
        at += 1;
    }
    at
}

/// Returns whether a byte in a string stands for itself, and is ASCII.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=0x7f) && !matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_strings_end_at_their_quote() {
        for (string, end) in [
            ("a ~\x7f\", \"", Some(5)),
            ("\"", Some(1)),
            ("a", None),
            ("a\\\"\"", None),
            ("a\u{e9}\"", None),
            ("a\n\"", None),
        ] {
            let bytes = [b"\"", string.as_bytes()].concat();
            assert_eq!(Bytewise.plain_string(&mut (), &bytes, 1), end, "{string}");
        }
    }
}
