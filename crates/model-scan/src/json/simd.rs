//! Skips the bulk of a document in blocks of 64 bytes, with vector instructions.
//!
//! Each function is compiled once per level of instructions, for which all of them must be inlined
//! into one (see [`dispatch!`]).

mod block;
mod grammar;
mod skip;
mod utf8;
mod window;

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch};

use self::{
    block::BLOCK,
    window::{StringEnd, Window},
};
use super::{
    engine::{Bytewise, Engine},
    error::JsonError,
    scanner::JsonScanner,
};

/// The best instructions of this machine.
static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

/// Runs [`JsonScanner::scan`] with the best instructions of this machine.
pub(super) fn scan(scanner: &mut JsonScanner, bytes: &[u8]) -> Result<(), JsonError> {
    let level = *LEVEL;
    // Without vectors, or for less than a block, there is nothing to gain.
    if level.is_fallback() || bytes.len() < BLOCK {
        return scanner.scan(Bytewise, bytes);
    }
    dispatch!(level, simd => scanner.scan(Blocks(simd), bytes))
}

/// Runs [`JsonScanner::scan`] with SSE 4.2 where the machine has newer instructions too.
#[cfg(any(test, feature = "oracle"))]
pub(super) fn scan_older(scanner: &mut JsonScanner, bytes: &[u8]) -> Result<(), JsonError> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let (Some(simd), BLOCK..) = (LEVEL.as_sse4_2(), bytes.len()) {
        return simd.vectorize(|| scanner.scan(Blocks(simd), bytes));
    }
    scan(scanner, bytes)
}

/// The engine for frames of at least a block.
#[derive(Clone, Copy, Debug)]
struct Blocks<S>(S);

impl<S: Simd> Engine for Blocks<S> {
    type Window = Window;

    #[inline(always)]
    fn plain_string(self, window: &mut Window, bytes: &[u8], mut at: usize) -> Option<usize> {
        while at < bytes.len() {
            if at >= window.end {
                *window = Window::of(self.0, bytes, at);
            }
            match window.string(at) {
                StringEnd::At(quote) => return Some(quote),
                StringEnd::PastBlock => at = window.end,
                StringEnd::NotPlain => return None,
            }
        }
        None
    }

    #[inline(always)]
    fn short_string(self, window: &mut Window, bytes: &[u8], at: usize) -> Option<usize> {
        if at >= window.end || matches!(window.string(at), StringEnd::PastBlock) {
            if at >= bytes.len() {
                return None;
            }
            *window = Window::of(self.0, bytes, at);
        }
        match window.string(at) {
            StringEnd::At(quote) => Some(quote),
            StringEnd::PastBlock | StringEnd::NotPlain => None,
        }
    }

    #[inline(always)]
    fn skip(self, scanner: &mut JsonScanner, bytes: &[u8], at: usize) -> usize {
        skip::skip(self.0, scanner, bytes, at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain_string(bytes: &[u8], at: usize) -> Option<usize> {
        dispatch!(*LEVEL, simd => Blocks(simd).plain_string(&mut Window::default(), bytes, at))
    }

    #[test]
    fn bytes_after_the_quote_do_not_matter() {
        for quote in 1..99 {
            for special in [b'\\', 0x1f, 0x80] {
                let mut bytes = [b' '; 100];
                bytes[quote] = b'"';
                bytes[quote + 1] = special;
                assert_eq!(plain_string(&bytes, 0), Some(quote));
                bytes[quote - 1] = special;
                assert_eq!(plain_string(&bytes, 0), None);
            }
        }
    }

    /// Finds the ends of plain strings, each some bytes past the one before, up to the first
    /// `None`. Returns where each begins, and its end.
    fn string_ends_after(
        bytes: &[u8],
        gaps: &[usize],
        find: impl Fn(&mut Window, usize) -> Option<usize>,
    ) -> Vec<(usize, Option<usize>)> {
        let mut window = Window::default();
        let mut ends = Vec::new();
        let mut at = 0;
        for gap in gaps {
            at += gap;
            if at > bytes.len() {
                break;
            }
            let found = find(&mut window, at);
            ends.push((at, found));
            match found {
                Some(end) => at = end + 1,
                None => break,
            }
        }
        ends
    }

    proptest! {
        #[test]
        fn plain_strings_match_the_bytewise_engine(
            plain in 64_usize..300,
            marks in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::sample::select(b"\"\"\"\\\x1f\x80".to_vec())),
                0..12,
            ),
            gaps in prop::collection::vec(0_usize..80, 1..8),
        ) {
            let mut bytes = vec![b' '; plain];
            for (place, mark) in marks {
                bytes[place.index(plain)] = mark;
            }
            let bytes = &bytes[..];
            let expected = |at| Bytewise.plain_string(&mut (), bytes, at);
            let plain = |window: &mut _, at| {
                dispatch!(*LEVEL, simd => Blocks(simd).plain_string(window, bytes, at))
            };
            for (at, found) in string_ends_after(bytes, &gaps, plain) {
                prop_assert_eq!(found, expected(at));
            }
            let short = |window: &mut _, at| {
                dispatch!(*LEVEL, simd => Blocks(simd).short_string(window, bytes, at))
            };
            for (at, found) in string_ends_after(bytes, &gaps, short) {
                prop_assert_eq!(found, expected(at).filter(|end| end - at < BLOCK));
            }
        }
    }
}
