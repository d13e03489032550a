//! Skips the bulk of a document in blocks of 64 bytes, with vector instructions.
//!
//! Each function is compiled once per level of instructions, for which all of them must be inlined
//! into one (see [`dispatch!`]).

mod block;
mod strings;
mod window;

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch, prelude::*};

use self::{
    block::{BLOCK, Block},
    strings::{BlockOutcome, Strings},
    window::{StringEnd, Window},
};
use super::{
    engine::{Bytewise, Engine},
    error::JsonError,
    nested::{Nested, NestedEnd},
    scanner::JsonScanner,
    skipped_string::SkippedString,
};

/// After this many blocks of a string without a backslash, `memchr` takes over: it is faster for
/// strings without any, such as base64.
const CLEAN_BLOCKS: u32 = 16;

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
    fn skip_string(self, string: &mut SkippedString, bytes: &[u8], mut at: usize) -> Option<usize> {
        let mut carry = u64::from(string.escaped);
        // The count goes on in the next frame.
        let mut clean = if string.escaped { 0 } else { string.clean };
        while at < bytes.len() {
            if clean == CLEAN_BLOCKS {
                let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else {
                    break;
                };
                at += found;
                clean = 0;
            }
            let (ends, backslashes, len) = match bytes[at..].first_chunk() {
                Some(whole) => string_ends(Block::whole(self.0, whole), &mut carry),
                None => string_ends(Block::load(self.0, bytes, at), &mut carry),
            };
            if ends != 0 {
                string.escaped = false;
                return Some(at + ends.trailing_zeros() as usize + 1);
            }
            at += len;
            clean = if backslashes == 0 { clean + 1 } else { 0 };
        }
        string.escaped = carry != 0;
        string.clean = clean;
        None
    }

    #[inline(always)]
    fn nested(self, nested: &mut Nested, bytes: &[u8], mut at: usize) -> NestedEnd {
        'value: loop {
            if let Some(string) = &mut nested.string {
                match self.skip_string(string, bytes, at) {
                    Some(end) => at = end,
                    None => return Ok(None),
                }
                nested.string = None;
            }
            let mut strings = Strings::default();
            while at < bytes.len() {
                let (outcome, len) = match bytes[at..].first_chunk() {
                    Some(whole) => strings.consume(nested, Block::whole(self.0, whole)),
                    None => strings.consume(nested, Block::load(self.0, bytes, at)),
                };
                match outcome {
                    BlockOutcome::Consumed => at += len,
                    BlockOutcome::Brackets(brackets) => {
                        if let Some(end) = nested.take_each(brackets, bytes, at)? {
                            return Ok(Some(end));
                        }
                        at += len;
                    }
                    BlockOutcome::Numbers => at = self.skip_numbers(bytes, at + len),
                    BlockOutcome::InString => {
                        nested.string = strings.open_string();
                        at += len;
                        continue 'value;
                    }
                    BlockOutcome::NonJson => {
                        // An error, unless the value ends before that byte.
                        nested.string = strings.open_string();
                        return nested.scan(bytes, at);
                    }
                }
            }
            nested.string = strings.open_string();
            return Ok(None);
        }
    }
}

/// Returns the quotes that end a string, the backslashes, and the block's length.
#[inline(always)]
fn string_ends<S: Simd>(block: Block<S>, carry: &mut u64) -> (u64, u64, usize) {
    let backslashes = block.equal(b'\\');
    (block.quotes(backslashes, carry), backslashes, block.len)
}

impl<S: Simd> Blocks<S> {
    /// Skips whole blocks that consist of numbers, outside strings.
    #[inline(always)]
    fn skip_numbers(self, bytes: &[u8], mut at: usize) -> usize {
        while at + BLOCK <= bytes.len() && Block::load(self.0, bytes, at).numbers().all_true() {
            at += BLOCK;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain_string(bytes: &[u8], at: usize) -> Option<usize> {
        dispatch!(*LEVEL, simd => Blocks(simd).plain_string(&mut Window::default(), bytes, at))
    }

    fn skip_string(string: &mut SkippedString, bytes: &[u8]) -> Option<usize> {
        dispatch!(*LEVEL, simd => Blocks(simd).skip_string(string, bytes, 0))
    }

    #[test]
    fn blocks_without_backslash_are_counted_until_memchr_takes_over() {
        for blocks in 1..2 * CLEAN_BLOCKS {
            let mut bytes = vec![b'x'; BLOCK * blocks as usize];
            let mut string = SkippedString::default();
            assert_eq!(skip_string(&mut string, &bytes), None);
            assert_eq!(string.clean, blocks.min(CLEAN_BLOCKS));
            assert_eq!(skip_string(&mut string, &bytes), None);
            assert_eq!(string.clean, (2 * blocks).min(CLEAN_BLOCKS));
            bytes[0] = b'\\';
            let mut string = SkippedString::default();
            assert_eq!(skip_string(&mut string, &bytes), None);
            assert_eq!(string.clean, (blocks - 1).min(CLEAN_BLOCKS));
        }
    }

    #[test]
    fn blocks_of_numbers_are_skipped() {
        let skip = |bytes: &[u8]| dispatch!(*LEVEL, simd => Blocks(simd).skip_numbers(bytes, 1));
        let mut bytes = [b'1'; 4 * BLOCK];
        assert_eq!(skip(&bytes), 1 + 3 * BLOCK);
        assert_eq!(skip(&bytes[..2 * BLOCK]), 1 + BLOCK);
        assert_eq!(skip(&bytes[..2 * BLOCK + 1]), 1 + 2 * BLOCK);
        bytes[3 * BLOCK] = b'x';
        assert_eq!(skip(&bytes), 1 + 2 * BLOCK);
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
