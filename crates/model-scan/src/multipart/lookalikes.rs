//! Finds what readers that look for the boundary without its dashes take for a delimiter.

use memchr::{memchr, memmem};

use super::head::{DISPOSITION, find_ignoring_case};

/// A search of one part's content for its boundary without the `--` of a delimiter.
///
/// Sanic splits a form at the boundary alone, wherever it is, and reads a part where a
/// Content-Disposition follows; parse-multipart-data for Node does not see single line ends within
/// it. So content has no line that begins with the boundary, no Content-Disposition anywhere after
/// it, and neither heads nor the model contain one of two characters or more. Anything stricter
/// would reject what contains a short boundary by chance.
#[derive(Debug)]
pub(super) struct Lookalikes {
    boundary: memmem::Finder<'static>,
    broken: BrokenBoundary,
    may_have_boundary: bool,
    /// The end of the content in earlier frames, as far as a match may begin in it or after it.
    carry: Vec<u8>,
    /// The offset after the first boundary in the content, with or without line ends within it.
    split_at: Option<u64>,
}

impl Lookalikes {
    pub(super) fn new(boundary: &[u8]) -> Self {
        Self {
            boundary: memmem::Finder::new(boundary).into_owned(),
            broken: BrokenBoundary::new(boundary),
            may_have_boundary: false,
            carry: Vec::new(),
            split_at: None,
        }
    }

    /// Returns the index at which a reader could split a model, or a line of a head.
    pub(super) fn split(&self, text: &[u8]) -> Option<usize> {
        let found = self.boundary.find(text);
        found.filter(|&at| at == 0 || self.is_long())
    }

    /// Returns whether the boundary has more than one character. One occurs in most heads and IDs.
    fn is_long(&self) -> bool {
        self.boundary.needle().len() > 1
    }

    /// Begins the content of a part.
    pub(super) fn begin(&mut self, is_model: bool) {
        self.may_have_boundary = !(is_model && self.is_long());
        self.carry.clear();
        // The end of the head.
        self.carry.push(b'\n');
        self.broken.matched = 0;
        self.split_at = None;
    }

    /// Searches the next bytes of the content, which begin at offset `at` of the form. Returns the
    /// offset of the first match.
    pub(super) fn find(&mut self, bytes: &[u8], at: u64) -> Option<u64> {
        if self.split_at.is_none() {
            self.split_at = self.broken.find(bytes).map(|end| at + end as u64);
        }
        let reach = self.boundary.needle().len().max(DISPOSITION.len());
        let carried = self.carry.len();
        let across = bytes.len().min(reach - 1);
        self.carry.extend_from_slice(&bytes[..across]);
        let carry = std::mem::take(&mut self.carry);
        let found = self
            .find_in(&carry, at - carried as u64)
            .or_else(|| self.find_in(bytes, at));
        self.carry = carry;
        if bytes.len() >= reach {
            self.carry.clear();
            self.carry.extend_from_slice(&bytes[bytes.len() - reach..]);
        } else {
            self.carry.extend_from_slice(&bytes[across..]);
            let surplus = self.carry.len().saturating_sub(reach);
            self.carry.drain(..surplus);
        }
        found
    }

    /// Searches a stretch of the content. A match at its very start, of which the byte before is
    /// not known, is no line's.
    fn find_in(&self, text: &[u8], at: u64) -> Option<u64> {
        let begins_line = |i: usize| i > 0 && matches!(text[i - 1], b'\r' | b'\n');
        let mut boundaries = self.boundary.find_iter(text);
        let boundary = boundaries.find(|&i| !self.may_have_boundary || begins_line(i));
        let disposition = self.split_at.and_then(|split| {
            let split = split.saturating_sub(at) as usize;
            Some(split + find_ignoring_case(text.get(split..)?, DISPOSITION)?)
        });
        let len = self.boundary.needle().len();
        let found = [(boundary, len), (disposition, DISPOSITION.len())];
        // The one that ends first.
        let ends = found
            .into_iter()
            .filter_map(|(i, len)| Some((i? + len, i?)));
        let (_, first) = ends.min()?;
        Some(at + first as u64)
    }
}

/// A search for the boundary in which line ends do not count, over any frames.
///
/// The method is Knuth, Morris and Pratt's: after a mismatch it goes on with the longest beginning
/// of the boundary that the bytes so far end with.
#[derive(Debug)]
struct BrokenBoundary {
    boundary: Box<[u8]>,
    /// For each beginning of the boundary, the length of the longest shorter one that it ends with.
    borders: Box<[usize]>,
    /// The number of bytes that match so far.
    matched: usize,
}

impl BrokenBoundary {
    fn new(boundary: &[u8]) -> Self {
        let mut search = Self {
            boundary: boundary.into(),
            borders: vec![0; boundary.len()].into(),
            matched: 0,
        };
        for (i, &byte) in boundary.iter().enumerate().skip(1) {
            search.step(byte);
            search.borders[i] = search.matched;
        }
        search.matched = 0;
        search
    }

    /// Matches the next byte.
    fn step(&mut self, byte: u8) {
        while self.matched > 0 && self.boundary[self.matched] != byte {
            self.matched = self.borders[self.matched - 1];
        }
        self.matched += usize::from(self.boundary[self.matched] == byte);
    }

    /// Searches the next bytes, and returns the index after the first match.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while self.matched < self.boundary.len() {
            if self.matched == 0 {
                at += memchr(self.boundary[0], &bytes[at..])?;
            }
            let byte = *bytes.get(at)?;
            at += 1;
            if !matches!(byte, b'\r' | b'\n') {
                self.step(byte);
            }
        }
        Some(at)
    }
}
