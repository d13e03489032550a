//! Skips a string of which only the end matters.

use std::mem;

/// A string that ends at the first quote that is not escaped, and is not validated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SkippedString {
    /// The last byte was a backslash that escapes the next one.
    pub(super) escaped: bool,
    /// The number of blocks without a backslash since the last one with one.
    #[cfg(feature = "simd")]
    pub(super) clean: u32,
}

impl SkippedString {
    /// Skips the string and returns the index just past its closing quote; `None` if that is not in
    /// `bytes`. There must be a byte at index `at`.
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
