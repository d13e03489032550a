//! Skips nested values and strings block by block.

use fearless_simd::Simd;

use super::{
    super::{brackets::Brackets, scanner::JsonScanner},
    block::{BLOCK, Block, escapes, first_places, prefix_xor},
    grammar::{Carry, Tokens, are_scalars},
    utf8::{Utf8, begin_of_char, cut_len},
};

/// After this many blocks of a string without anything special, a tighter loop takes over.
const PLAIN_BLOCKS: u32 = 8;

/// The strings of a block, whose text is valid.
struct Text {
    quotes: u64,
    /// Strings with their opening quotes. Past the end of the block, the last one goes on.
    strings: u64,
    /// See [`Carry`].
    escaped: u64,
    hex_digits: u64,
    /// Whether there is nothing but ASCII without escapes.
    is_plain: bool,
}

/// The outcome of a block.
enum Outcome {
    /// This many bytes were consumed.
    Consumed(usize),
    /// This many bytes were consumed, and the value has ended.
    Ended(usize),
    /// Nothing was consumed: something is wrong, or a token does not end in the frame.
    Stopped,
}

/// See [`Engine::skip`](super::super::engine::Engine::skip).
#[inline(always)]
pub(super) fn skip<S: Simd>(simd: S, scanner: &mut JsonScanner, bytes: &[u8], at: usize) -> usize {
    let Some(carry) = Carry::of(&scanner.state) else {
        return at;
    };
    if scanner.brackets.is_outermost() && carry.in_string == 0 {
        return at;
    }
    // A character that is cut at the end of the frame is left.
    let bytes = &bytes[..bytes.len() - cut_len(bytes)];
    if bytes.len() < BLOCK {
        return at;
    }
    let mut blocks = Blocks {
        simd,
        bytes,
        at,
        carry,
        utf8: Utf8::new(at),
        plain: 0,
    };
    blocks.skip(&mut scanner.brackets);
    scanner.state = blocks.carry.state();
    blocks.begin_of_char_or_escape()
}

/// The place in a frame.
struct Blocks<'a, S> {
    simd: S,
    bytes: &'a [u8],
    at: usize,
    carry: Carry,
    utf8: Utf8,
    /// The number of blocks in a row that are plain and in one string.
    plain: u32,
}

impl<S: Simd> Blocks<'_, S> {
    /// Skips up to the end of the outermost nested value, or the quote of a top-level string.
    #[inline(always)]
    fn skip(&mut self, brackets: &mut Brackets) {
        while self.at < self.bytes.len() {
            let outcome = match self.bytes[self.at..].first_chunk() {
                Some(whole) => self.block(brackets, Block::whole(self.simd, whole)),
                None => self.block(brackets, Block::load(self.simd, self.bytes, self.at)),
            };
            match outcome {
                Outcome::Consumed(len) => self.at += len,
                Outcome::Ended(len) => {
                    self.at += len;
                    return;
                }
                Outcome::Stopped => return,
            }
        }
    }

    /// Skips pairs of blocks that are plain ASCII.
    #[inline(always)]
    fn skip_plain(&mut self) {
        while self.at + 2 * BLOCK <= self.bytes.len() {
            let first = Block::load(self.simd, self.bytes, self.at);
            let second = Block::load(self.simd, self.bytes, self.at + BLOCK);
            if !(first.is_plain() & second.is_plain()) {
                return;
            }
            self.at += 2 * BLOCK;
        }
    }

    /// Finds the strings of a block, and checks their text; `None` if some of it is not valid.
    #[inline(always)]
    fn text(&mut self, block: Block<S>) -> Option<Text> {
        let backslashes = block.equal(b'\\');
        let all_quotes = block.equal(b'"');
        let special = block.controls_and_not_ascii();
        let (after, before) = escapes(backslashes, self.carry.escaped);
        // Few blocks have an escape that is wrong or `\u`: there is no branch on the others,
        // because it could not be predicted.
        let escapable = all_quotes | backslashes | block.escapable();
        let unusual = after & !escapable & block.within();
        let mut hex_digits = 0;
        if unusual | self.carry.hex_digits != 0 {
            hex_digits = check_unicode_escapes(block, unusual, self.carry.hex_digits)?;
        }
        let quotes = all_quotes & !after;
        let strings = match quotes {
            0 => self.carry.in_string,
            _ => prefix_xor(quotes) ^ self.carry.in_string,
        };
        if special != 0 {
            let not_ascii = block.not_ascii();
            let is_utf8 =
                not_ascii == 0 || self.utf8.check(self.bytes, self.at, self.at + block.len);
            if special & !not_ascii & strings != 0 || !is_utf8 {
                return None;
            }
        }
        Some(Text {
            quotes,
            strings,
            escaped: before >> (block.len - 1) & 1,
            hex_digits,
            is_plain: backslashes | special == 0,
        })
    }

    /// Consumes a block.
    #[inline(always)]
    fn block(&mut self, brackets: &mut Brackets, block: Block<S>) -> Outcome {
        let Some(text) = self.text(block) else {
            return Outcome::Stopped;
        };
        if text.quotes == 0 && self.carry.in_string != 0 {
            return self.block_of_string(&text, block);
        }
        self.plain = 0;
        if brackets.is_outermost() {
            (self.carry.escaped, self.carry.hex_digits) = (0, 0);
            return Outcome::Ended(text.quotes.trailing_zeros() as usize);
        }
        self.block_of_tokens(brackets, &text, block)
    }

    /// Consumes a block within a string.
    #[inline(always)]
    fn block_of_string(&mut self, text: &Text, block: Block<S>) -> Outcome {
        self.carry.escaped = text.escaped;
        self.carry.hex_digits = text.hex_digits;
        self.plain = if text.is_plain { self.plain + 1 } else { 0 };
        if self.plain < PLAIN_BLOCKS {
            return Outcome::Consumed(block.len);
        }
        self.plain = 0;
        self.at += block.len;
        self.skip_plain();
        Outcome::Consumed(0)
    }

    /// Consumes a block of a nested value.
    #[inline(always)]
    fn block_of_tokens(
        &mut self,
        brackets: &mut Brackets,
        text: &Text,
        block: Block<S>,
    ) -> Outcome {
        let &Text {
            quotes, strings, ..
        } = text;
        let outside = !(strings | quotes);
        let (opening, closing) = block.brackets();
        let mut tokens = Tokens {
            quotes,
            strings,
            white_space: (block.white_space() | !block.within()) & outside,
            opening: opening & outside,
            opening_objects: 0,
            closing: closing & outside,
            commas: block.equal(b',') & outside,
            colons: block.equal(b':') & outside,
            scalars: 0,
            objects: 0,
        };
        let punctuation =
            tokens.white_space | tokens.opening | tokens.closing | tokens.commas | tokens.colons;
        tokens.scalars = outside & !punctuation;
        let mut carry = self.carry;
        (carry.escaped, carry.hex_digits) = (text.escaped, text.hex_digits);
        let mut len = block.len;
        // A scalar that may go on is left for the next block.
        if tokens.scalars >> (len - 1) & 1 == 1 {
            let scalar = (!tokens.scalars << (BLOCK - len)).leading_zeros() as usize;
            if scalar >= len {
                return Outcome::Stopped;
            }
            len -= scalar;
            let within = first_places(len);
            tokens.scalars &= within;
            tokens.white_space |= !within;
            (carry.escaped, carry.hex_digits) = (0, 0);
        }

        let curly = block.curly();
        tokens.opening_objects = tokens.opening & curly;
        let end;
        match brackets.take_all(tokens.opening, tokens.closing, curly) {
            Some((levels, objects, place)) => {
                (tokens.objects, end) = (objects, place);
                if let Some(place) = place {
                    tokens.cut(first_places(place as usize + 1));
                }
                let Some(after) = self.check(&tokens, block, carry) else {
                    return Outcome::Stopped;
                };
                brackets.set_inner(levels);
                self.carry = after;
            }
            // Brackets are nested deep, or wrong.
            None => {
                let mut after = brackets.clone();
                let all = tokens.opening | tokens.closing;
                let Ok((objects, place)) = after.take_each(all, tokens.closing, curly) else {
                    return Outcome::Stopped;
                };
                (tokens.objects, end) = (objects, place);
                if let Some(place) = place {
                    tokens.cut(first_places(place as usize + 1));
                }
                let Some(carry) = self.check(&tokens, block, carry) else {
                    return Outcome::Stopped;
                };
                *brackets = after;
                self.carry = carry;
            }
        }
        match end {
            Some(place) => {
                (self.carry.escaped, self.carry.hex_digits) = (0, 0);
                Outcome::Ended(place as usize + 1)
            }
            None => Outcome::Consumed(len),
        }
    }

    #[inline(always)]
    fn check(&self, tokens: &Tokens, block: Block<S>, carry: Carry) -> Option<Carry> {
        if tokens.scalars != 0 && !are_scalars(tokens.scalars, block, &self.bytes[self.at..]) {
            return None;
        }
        tokens.check(carry)
    }

    /// Returns the index where the character or the escape begins that the next byte is a part of.
    #[inline(always)]
    fn begin_of_char_or_escape(&self) -> usize {
        if self.carry.escaped != 0 {
            self.at - 1
        } else if self.carry.hex_digits != 0 {
            // Of six bytes, these are missing.
            self.at + self.carry.hex_digits.count_ones() as usize - 6
        } else {
            begin_of_char(self.bytes, self.at)
        }
    }
}

/// Checks the `\u` escapes of a block: `unusual` are the bytes after a backslash that must be a `u`,
/// and `first` the digits that the block begins with. Returns the digits that come after it; `None`
/// if an escape is not valid.
#[cold]
#[inline(always)]
fn check_unicode_escapes<S: Simd>(block: Block<S>, unusual: u64, first: u64) -> Option<u64> {
    let begins = u128::from(unusual);
    let digits = u128::from(first) | begins << 1 | begins << 2 | begins << 3 | begins << 4;
    let [now, later] = [digits as u64 & block.within(), (digits >> block.len) as u64];
    let is_valid = unusual & !block.equal(b'u') == 0 && now & !block.hex_digits() == 0;
    is_valid.then_some(later)
}
