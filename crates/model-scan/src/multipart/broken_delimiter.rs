//! Finds delimiters with line ends within them.

use memchr::memchr2;

/// A search of content for a `--boundary` with a CR or an LF within it, over any frames.
///
/// parse-multipart-data for Node overlooks a CR or an LF by itself, and ends a line at CRLF only.
///
/// The method is Knuth, Morris and Pratt's, around the few line ends that are between two
/// neighbours of the delimiter, and from one frame to the next.
#[derive(Debug)]
pub(super) struct BrokenDelimiter {
    delimiter: Box<[u8]>,
    /// For each beginning of the delimiter, the length of the longest shorter one that it ends
    /// with.
    borders: Box<[usize]>,
    /// The length of the longest beginning of the delimiter that the line so far ends with.
    matched: usize,
    /// Whether the last byte was a CR.
    is_after_cr: bool,
}

impl BrokenDelimiter {
    pub(super) fn new(delimiter: &[u8]) -> Self {
        let mut search = Self {
            delimiter: delimiter.into(),
            borders: vec![0; delimiter.len()].into(),
            matched: 0,
            is_after_cr: false,
        };
        for (i, &byte) in delimiter.iter().enumerate().skip(1) {
            search.step(byte);
            search.borders[i] = search.matched;
        }
        search.reset();
        search
    }

    /// Forgets the bytes so far.
    pub(super) fn reset(&mut self) {
        self.matched = 0;
        self.is_after_cr = false;
    }

    /// Searches the next bytes, and returns the index after the first broken delimiter that ends in
    /// them. One that is not broken is only found if it begins in an earlier frame.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            while self.matched > 0 {
                self.step(*bytes.get(at)?);
                at += 1;
                if self.matched == self.delimiter.len() {
                    self.reset();
                    return Some(at);
                }
            }
            let end = self.next_line_end(bytes, at).unwrap_or(bytes.len());
            for &byte in last_others(&bytes[at..end], self.delimiter.len() - 1) {
                self.step(byte);
            }
            let &line_end = bytes.get(end)?;
            self.step(line_end);
            at = end + 1;
        }
    }

    /// Matches the next byte.
    fn step(&mut self, byte: u8) {
        match byte {
            b'\n' if self.is_after_cr => self.matched = 0,
            b'\r' | b'\n' => {}
            _ => {
                while self.matched > 0 && self.delimiter[self.matched] != byte {
                    self.matched = self.borders[self.matched - 1];
                }
                self.matched += usize::from(self.delimiter[self.matched] == byte);
            }
        }
        self.is_after_cr = byte == b'\r';
    }

    /// Returns the index of the first line end that may be within a delimiter which begins at
    /// `from` or later.
    fn next_line_end(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let begin = at + memchr2(b'\r', b'\n', &bytes[at..])?;
            // If the frame ends first, the bytes before are matched at its end.
            at = begin + bytes[begin..].iter().position(|&byte| !is_line_end(byte))?;
            let mut pairs = self.delimiter.windows(2);
            // Most line ends have no neighbour of the delimiter before them.
            if let Some(before) = bytes[from..begin].last()
                && self.delimiter.contains(before)
                && pairs.any(|pair| pair == [*before, bytes[at]])
            {
                return Some(begin);
            }
        }
    }
}

/// Returns the end of `bytes` that has this many bytes other than line ends, at least one; or all.
fn last_others(bytes: &[u8], count: usize) -> &[u8] {
    let mut others = (0..bytes.len()).rev().filter(|&i| !is_line_end(bytes[i]));
    let start = others.nth(count - 1).unwrap_or_default();
    &bytes[start..]
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use memchr::memmem;
    use proptest::prelude::*;

    use super::*;
    use crate::random::cuts;

    /// Returns the index after the first delimiter, broken or not, by parse-multipart-data's loop.
    fn naive(delimiter: &[u8], content: &[u8]) -> Option<usize> {
        let mut line = Vec::new();
        for (i, &byte) in content.iter().enumerate() {
            if !is_line_end(byte) {
                line.push(byte);
            }
            if line.ends_with(delimiter) {
                return Some(i + 1);
            }
            if byte == b'\n' && content[..i].ends_with(b"\r") {
                line.clear();
            }
        }
        None
    }

    proptest! {
        #[test]
        fn first_broken_delimiter_is_found_in_any_frames(
            boundary in "[ab-]{1,6}",
            content in "[ab\r\n-]{0,60}",
            cuts in cuts(),
        ) {
            let (delimiter, content) = (format!("--{boundary}"), content.as_bytes());
            let delimiter = delimiter.as_bytes();
            let mut search = BrokenDelimiter::new(delimiter);
            let mut begin = 0;
            let found = cuts.frames(content).into_iter().find_map(|frame| {
                let found = search.find(frame).map(|end| begin + end);
                begin += frame.len();
                found
            });
            let unbroken = memmem::find(content, delimiter).map(|at| at + delimiter.len());
            let first = [found, unbroken].into_iter().flatten().min();
            prop_assert_eq!(first, naive(delimiter, content));
        }
    }
}
