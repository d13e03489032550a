use std::mem;

/// A string of which only the end matters: the first quote that is not escaped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SkippedString {
    /// The last byte was a backslash that escapes the next one.
    pub(super) escaped: bool,
    /// How many blocks without a backslash came last.
    #[cfg(feature = "simd")]
    pub(super) clean: u32,
}

impl SkippedString {
    /// Skips to just past the closing quote and returns its place; `None` if it
    /// is not in `bytes`. There must be a byte at this place.
    pub(super) fn skip(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        at += usize::from(mem::take(&mut self.escaped));
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
