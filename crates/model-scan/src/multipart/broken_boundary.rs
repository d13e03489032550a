//! Finds a boundary with line ends within it.

use memchr::memchr2_iter;

/// A search for a boundary with line ends within it, over any frames.
///
/// The method is Knuth, Morris and Pratt's, around the few line ends that are between two neighbours
/// of the boundary, and from one frame to the next.
#[derive(Debug)]
pub(super) struct BrokenBoundary {
    boundary: Box<[u8]>,
    /// The characters of the boundary, which are ASCII: a bit each.
    chars: u128,
    /// For each beginning of the boundary, the length of the longest shorter one that it ends with.
    borders: Box<[usize]>,
    /// The length of the longest beginning of the boundary that the bytes so far end with.
    matched: usize,
}

impl BrokenBoundary {
    pub(super) fn new(boundary: &[u8]) -> Self {
        let mut search = Self {
            boundary: boundary.into(),
            chars: boundary
                .iter()
                .fold(0, |chars, &byte| chars | char_bit(byte)),
            borders: vec![0; boundary.len()].into(),
            matched: 0,
        };
        for (i, &byte) in boundary.iter().enumerate().skip(1) {
            search.step(byte);
            search.borders[i] = search.matched;
        }
        search.reset();
        search
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.matched = 0;
    }

    /// Searches the next bytes, and returns the index after the first broken boundary that ends in
    /// them; one that is not broken may hide it, or be found where it begins in an earlier frame.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            while self.matched > 0 {
                self.step(*bytes.get(at)?);
                at += 1;
                if self.matched == self.boundary.len() {
                    return Some(at);
                }
            }
            let end = self.next_line_end(bytes, at).unwrap_or(bytes.len());
            for &byte in last_others(&bytes[at..end], self.boundary.len() - 1) {
                self.step(byte);
            }
            if end == bytes.len() {
                return None;
            }
            at = end + 1;
        }
    }

    /// Matches the next byte.
    fn step(&mut self, byte: u8) {
        if is_line_end(byte) {
            return;
        }
        while self.matched > 0 && self.boundary[self.matched] != byte {
            self.matched = self.borders[self.matched - 1];
        }
        self.matched += usize::from(self.boundary[self.matched] == byte);
    }

    /// Returns the index of the first line end, from `from` on, that may be within a boundary of
    /// which a byte before it is at `from` or later.
    fn next_line_end(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = &bytes[from..];
        let found = memchr2_iter(b'\r', b'\n', rest).find(|&i| {
            let is_in = |byte: &&u8| self.chars & char_bit(**byte) != 0;
            let Some(&before) = rest[..i].last().filter(is_in) else {
                return false;
            };
            // The frame may end before it.
            let mut others = rest[i..].iter().filter(|byte| !is_line_end(**byte));
            let after = others.next().filter(is_in);
            after.is_some_and(|&after| self.boundary.windows(2).any(|pair| pair == [before, after]))
        });
        found.map(|i| from + i)
    }
}

/// Returns the end of `bytes` that has this many bytes other than line ends, or all of them.
fn last_others(bytes: &[u8], count: usize) -> &[u8] {
    let mut others = bytes
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| !is_line_end(**byte));
    match count.checked_sub(1) {
        None => &[],
        Some(before) => others
            .nth(before)
            .map_or(bytes, |(start, _)| &bytes[start..]),
    }
}

fn char_bit(byte: u8) -> u128 {
    1_u128.checked_shl(byte.into()).unwrap_or(0)
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

    /// Returns the index after the first boundary, broken or not.
    fn naive(boundary: &[u8], text: &[u8]) -> Option<usize> {
        let others: Vec<usize> = (0..text.len()).filter(|&i| !is_line_end(text[i])).collect();
        let mut windows = others.windows(boundary.len());
        let found = windows.find(|window| window.iter().map(|&i| &text[i]).eq(boundary));
        found.map(|window| window[window.len() - 1] + 1)
    }

    proptest! {
        #[test]
        fn first_broken_boundary_is_found_in_any_frames(
            boundary in "[ab-]{1,6}",
            text in "[ab\\r\\n-]{0,60}",
            cuts in cuts(),
        ) {
            let (boundary, text) = (boundary.as_bytes(), text.as_bytes());
            let mut search = BrokenBoundary::new(boundary);
            let mut begin = 0;
            let found = cuts.frames(text).into_iter().find_map(|frame| {
                let found = search.find(frame).map(|end| begin + end);
                begin += frame.len();
                found
            });
            let unbroken = memmem::find(text, boundary).map(|at| at + boundary.len());
            let first = [found, unbroken].into_iter().flatten().min();
            prop_assert_eq!(first, naive(boundary, text));
        }
    }
}
