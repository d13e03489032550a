//! Finds what readers that look for the boundary without its dashes take for a delimiter.

use std::ops::Range;

use memchr::memmem;

use super::head::{DISPOSITION, find_ignoring_case};

/// A search of one part's content for its boundary without the `--` of a delimiter.
///
/// Sanic splits a form at the boundary alone, wherever it is, and reads a part where a
/// Content-Disposition follows. So content has no line that begins with the boundary, no
/// Content-Disposition anywhere after it, and neither heads nor the model contain one of two
/// characters or more. Anything stricter would reject what contains a short boundary by chance.
#[derive(Debug)]
pub(super) struct Lookalikes {
    boundary: memmem::Finder<'static>,
    may_have_boundary: bool,
    /// The end of the content in earlier frames, as far as a match may begin in it or after it.
    carry: Vec<u8>,
    /// The offset after the first boundary in the content.
    split_at: Option<u64>,
}

impl Lookalikes {
    pub(super) fn new(boundary: &[u8]) -> Self {
        Self {
            boundary: memmem::Finder::new(boundary).into_owned(),
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
        self.split_at = None;
    }

    /// Searches the next bytes of the content, which begin at offset `at` of the form. Returns the
    /// offsets of the match that ends first.
    pub(super) fn find(&mut self, bytes: &[u8], at: u64) -> Option<Range<u64>> {
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
    fn find_in(&mut self, text: &[u8], at: u64) -> Option<Range<u64>> {
        let len = self.boundary.needle().len();
        let begins_line = |i: usize| i > 0 && matches!(text[i - 1], b'\r' | b'\n');
        let mut boundary = None;
        for i in self.boundary.find_iter(text) {
            self.split_at.get_or_insert(at + (i + len) as u64);
            if !self.may_have_boundary || begins_line(i) {
                boundary = Some(i..i + len);
                break;
            }
        }
        let split = self.split_at?.saturating_sub(at) as usize;
        let disposition = text
            .get(split..)
            .and_then(|rest| find_ignoring_case(rest, DISPOSITION.as_bytes()))
            .map(|i| split + i..split + i + DISPOSITION.len());
        let found = [boundary, disposition].into_iter().flatten();
        let first = found.min_by_key(|found| found.end)?;
        Some(at + first.start as u64..at + first.end as u64)
    }
}
