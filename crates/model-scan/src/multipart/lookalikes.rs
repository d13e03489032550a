//! Finds what readers that look for the boundary without its dashes take for a delimiter.

use memchr::memmem;

use super::broken_boundary::BrokenBoundary;
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
    may_have_boundary: bool,
    /// The end of the content in earlier frames, as far as a match may begin in it or after it.
    carry: Vec<u8>,
    broken: BrokenBoundary,
    /// The offset after the first boundary in the content, with or without line ends within it.
    split_at: Option<u64>,
}

impl Lookalikes {
    pub(super) fn new(boundary: &[u8]) -> Self {
        Self {
            boundary: memmem::Finder::new(boundary).into_owned(),
            may_have_boundary: false,
            carry: Vec::new(),
            broken: BrokenBoundary::new(boundary),
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
        self.broken.reset();
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
    fn find_in(&mut self, text: &[u8], at: u64) -> Option<u64> {
        let len = self.boundary.needle().len();
        let begins_line = |i: usize| i > 0 && matches!(text[i - 1], b'\r' | b'\n');
        let mut boundary = None;
        for i in self.boundary.find_iter(text) {
            let split = at + (i + len) as u64;
            self.split_at = Some(self.split_at.map_or(split, |first| first.min(split)));
            if !self.may_have_boundary || begins_line(i) {
                boundary = Some(i);
                break;
            }
        }
        let split = self.split_at?.saturating_sub(at) as usize;
        let disposition = text
            .get(split..)
            .and_then(|rest| find_ignoring_case(rest, DISPOSITION))
            .map(|i| split + i);
        // The one that ends first.
        let first = match (boundary, disposition) {
            (Some(b), Some(d)) if b + len > d + DISPOSITION.len() => d,
            (Some(first), _) | (None, Some(first)) => first,
            (None, None) => return None,
        };
        Some(at + first as u64)
    }
}
