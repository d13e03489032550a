//! Validates UTF-8 ahead of the blocks of a frame.

/// The number of bytes that are validated at once.
const CHUNK: usize = 1024;

/// The place up to which a frame is known to be UTF-8.
pub(super) struct Utf8 {
    end: usize,
}

impl Utf8 {
    /// Begins at index `at`, where a character must begin.
    pub(super) fn new(at: usize) -> Self {
        Self { end: at }
    }

    /// Checks the `len` bytes at index `at`. Returns how many of them to consume: all, except for
    /// a character that is cut at the end of the frame; `None` if they are not UTF-8, or some bytes
    /// that follow are not.
    #[inline(always)]
    pub(super) fn check(&mut self, bytes: &[u8], at: usize, len: usize) -> Option<usize> {
        if self.end >= at + len {
            return Some(len);
        }
        self.advance(bytes, at)?;
        Some(len.min(self.end - at))
    }

    /// Returns the index of the character that the byte at index `at` is of.
    #[inline(always)]
    pub(super) fn begin_of_char(&self, bytes: &[u8], mut at: usize) -> usize {
        while at < self.end && matches!(bytes.get(at), Some(0x80..=0xbf)) {
            at -= 1;
        }
        at
    }

    #[inline(never)]
    fn advance(&mut self, bytes: &[u8], at: usize) -> Option<()> {
        let start = self.end.max(at);
        let chunk = &bytes[start..bytes.len().min(start + CHUNK)];
        let chunk = &chunk[..chunk.len() - cut_len(chunk)];
        simdutf8::basic::from_utf8(chunk).ok()?;
        self.end = start + chunk.len();
        Some(())
    }
}

/// Returns the number of bytes at the end that are a character without its last bytes.
fn cut_len(bytes: &[u8]) -> usize {
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
    fn chunks_are_checked_up_to_the_last_whole_character() {
        let text = "漢".repeat(1_000);
        for len in 2_990..3_000 {
            let bytes = &text.as_bytes()[..len];
            let mut utf8 = Utf8::new(0);
            let mut at = 0;
            while at < len {
                let step = utf8.check(bytes, at, (len - at).min(63)).unwrap();
                if step == 0 {
                    break;
                }
                at += step;
            }
            assert_eq!(at, len - len % 3);
        }
        assert_eq!(Utf8::new(0).check(b"\xe6\x97a", 0, 3), None);
    }
}
