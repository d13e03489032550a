//! The interface to the code that skips the bulk of a document, and its bytewise version.

use super::{
    nested::{Nested, NestedEnd},
    skipped_string::SkippedString,
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

    /// See [`SkippedString::skip`].
    fn skip_string(self, string: &mut SkippedString, bytes: &[u8], at: usize) -> Option<usize>;

    /// See [`Nested::scan`].
    fn nested(self, nested: &mut Nested, bytes: &[u8], at: usize) -> NestedEnd;
}

/// The engine that scans byte by byte, and by `memchr` in strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytewise;

impl Engine for Bytewise {
    type Window = ();

    fn plain_string(self, (): &mut (), bytes: &[u8], at: usize) -> Option<usize> {
        let mut rest = bytes[at..].iter();
        let len = rest.position(|&byte| byte == b'"' || !is_plain(byte))?;
        (bytes[at + len] == b'"').then_some(at + len)
    }

    fn short_string(self, (): &mut (), bytes: &[u8], at: usize) -> Option<usize> {
        // Longer strings are skipped faster by `memchr`.
        const SHORT: usize = 32;

        let short = &bytes[..bytes.len().min(at + SHORT)];
        self.plain_string(&mut (), short, at)
    }

    fn skip_string(self, string: &mut SkippedString, bytes: &[u8], at: usize) -> Option<usize> {
        string.skip(bytes, at)
    }

    fn nested(self, nested: &mut Nested, bytes: &[u8], at: usize) -> NestedEnd {
        nested.scan(bytes, at)
    }
}

/// Returns whether a byte in a string, other than a quote, stands for itself.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=0x7f) && byte != b'\\'
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
