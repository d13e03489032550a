//! Validates UTF-8 ahead of the blocks of a frame.

/// The number of bytes that are validated first. Each time it doubles, up to `MAX_CHUNK`, so that
/// little is validated twice if the scan stops early.
const MIN_CHUNK: usize = 256;
const MAX_CHUNK: usize = 16 * 1024;

/// The place up to which a frame is known to be UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Utf8 {
    end: usize,
    chunk: usize,
}

impl Utf8 {
    /// Begins at index `at`, where a character must begin.
    pub(super) fn new(at: usize) -> Self {
        Self {
            end: at,
            chunk: MIN_CHUNK,
        }
    }

    /// Returns how many bytes from index `at` on are known to be UTF-8, or the beginning of it.
    #[inline(always)]
    pub(super) fn known_len(&self, at: usize) -> usize {
        self.end.saturating_sub(at)
    }

    /// Returns whether the bytes up to index `end` are known to be UTF-8, or the beginning of it.
    #[inline(always)]
    fn covers(&self, end: usize) -> bool {
        self.end >= end
    }

    /// Returns whether the bytes from index `at` up to index `end`, at most a block, are UTF-8, or
    /// the beginning of it. A character must begin at index `at` unless the bytes before it have
    /// been checked.
    #[inline(always)]
    pub(super) fn check(&mut self, bytes: &[u8], at: usize, end: usize) -> bool {
        if !self.covers(end) {
            // By value, so that the state of the blocks can be in registers.
            *self = self.advance(bytes, at);
        }
        self.covers(end)
    }

    #[inline(never)]
    fn advance(self, bytes: &[u8], at: usize) -> Self {
        let start = self.end.max(at);
        let chunk = &bytes[start..bytes.len().min(start + self.chunk)];
        let chunk = &chunk[..chunk.len() - cut_len(chunk)];
        let valid = match simdutf8::basic::from_utf8(chunk) {
            Ok(_) => chunk.len(),
            Err(_) => str::from_utf8(chunk).map_or_else(|error| error.valid_up_to(), str::len),
        };
        Self {
            end: start + valid,
            chunk: MAX_CHUNK.min(self.chunk * 2),
        }
    }
}

/// Returns the index where the character begins that the byte at index `at` is a part of, at most
/// three bytes before.
pub(super) fn begin_of_char(bytes: &[u8], at: usize) -> usize {
    at - cut_len(&bytes[..at])
}

/// Returns the number of bytes at the end that are a character without its last bytes.
pub(super) fn cut_len(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(3).zip(1..);
    for (&byte, len) in last {
        let whole = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0.. => 4,
            _ => 1,
        };
        return if len < whole { len } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_characters_are_left_out() {
        for text in ["a", "é", "漢", "😀"] {
            let text = format!("é{text}");
            for len in 2..text.len() {
                assert_eq!(cut_len(&text.as_bytes()[..len]), len - 2, "{text}");
            }
            assert_eq!(cut_len(text.as_bytes()), 0);
        }
        assert_eq!(cut_len(b""), 0);
        assert_eq!(cut_len(b"\x80\x80\x80\x80"), 0);
    }

    #[test]
    fn blocks_are_checked_up_to_the_first_that_is_not_utf8() {
        for bad in [0, 1, 300, 5_000, 49_000] {
            let mut bytes = "漢".repeat(20_000).into_bytes();
            bytes[bad] = b'a';
            let mut utf8 = Utf8::new(0);
            let found = (0..bytes.len()).step_by(64).find(|&at| {
                let end = bytes.len().min(at + 64);
                !utf8.check(&bytes, at, end)
            });
            assert_eq!(found, Some(bad / 3 * 3 / 64 * 64));
        }
    }

    #[test]
    fn characters_are_found_by_their_last_bytes() {
        let text = "aé漢😀".as_bytes();
        let begins: Vec<_> = (0..=text.len()).map(|at| begin_of_char(text, at)).collect();
        assert_eq!(begins, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
    }
}
