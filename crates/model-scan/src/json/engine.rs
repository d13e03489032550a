use super::{
    nested::{Nested, NestedEnd},
    skipped_string::SkippedString,
};

/// How to get over the bulk of a document: what takes nearly all of the time.
///
/// All engines give the same results.
pub(super) trait Engine: Copy {
    /// What was seen of the bytes at hand around the string before: of one that
    /// begins further on there may be nothing more to load.
    type Window: Default;

    /// The place of the closing quote of a string that begins here, if the
    /// string is plain ASCII, without escapes. May be `None` if it's not worth
    /// it.
    fn plain_string(self, window: &mut Self::Window, bytes: &[u8], at: usize) -> Option<usize>;

    /// The same, for strings of which most are short.
    fn short_string(self, window: &mut Self::Window, bytes: &[u8], at: usize) -> Option<usize>;

    /// See [`SkippedString::skip`].
    fn skip_string(self, string: &mut SkippedString, bytes: &[u8], at: usize) -> Option<usize>;

    /// See [`Nested::scan`].
    fn nested(self, nested: &mut Nested, bytes: &[u8], at: usize) -> NestedEnd;
}

/// Byte by byte, and `memchr` in strings.
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
        // To go over all of a long one would be in vain.
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

/// Whether a byte in a string stands for itself. (A quote does not, but it's
/// looked for first.)
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=0x7f) && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_string_ends_at_its_quote_and_no_other_is_taken() {
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
