//! Skips nested values and strings block by block.

use fearless_simd::Simd;

use super::{
    super::scanner::JsonScanner,
    block::{BLOCK, Block, STEP, escaped, prefix_xor},
    grammar::{Carry, Tokens, are_scalars},
    utf8::Utf8,
};

/// After this many blocks of a string without anything special, a tighter loop takes over.
const PLAIN_BLOCKS: u32 = 8;

/// The strings of a block, as far as their text is valid.
struct Text {
    /// The number of bytes, so that no escape and no character is cut at the end.
    len: usize,
    quotes: u64,
    /// Strings with their opening quotes.
    strings: u64,
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
    let is_outermost = scanner.brackets.is_outermost();
    if is_outermost && carry.in_string == 0 {
        return at;
    }
    let mut blocks = Blocks {
        simd,
        bytes,
        at,
        carry,
        utf8: Utf8::new(at),
    };
    if is_outermost {
        blocks.skip_string();
        blocks.skip_rest_of_string();
    } else {
        blocks.skip_values(scanner);
    }
    scanner.state = blocks.carry.state();
    blocks.utf8.begin_of_char(bytes, blocks.at)
}

/// The place in a frame.
struct Blocks<'a, S> {
    simd: S,
    bytes: &'a [u8],
    at: usize,
    carry: Carry,
    utf8: Utf8,
}

impl<S: Simd> Blocks<'_, S> {
    /// Skips up to the end of the outermost nested value.
    #[inline(always)]
    fn skip_values(&mut self, scanner: &mut JsonScanner) {
        while self.at < self.bytes.len() {
            if self.carry.in_string != 0 {
                self.skip_string();
                if self.at == self.bytes.len() {
                    return;
                }
            }
            let outcome = match self.bytes[self.at..].first_chunk() {
                Some(whole) => self.block(scanner, Block::whole(self.simd, whole)),
                None => self.block(scanner, Block::load(self.simd, self.bytes, self.at)),
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

    /// Skips the blocks of a string that do not have its end.
    #[inline(always)]
    fn skip_string(&mut self) {
        let mut plain = 0;
        while self.at < self.bytes.len() {
            let text = match self.bytes[self.at..].first_chunk() {
                Some(whole) => self.text(Block::whole(self.simd, whole)),
                None => self.text(Block::load(self.simd, self.bytes, self.at)),
            };
            let Some(text) = text else {
                return;
            };
            if text.quotes != 0 || text.len == 0 {
                return;
            }
            self.at += text.len;
            plain = if text.is_plain { plain + 1 } else { 0 };
            if plain == PLAIN_BLOCKS {
                self.skip_plain();
                plain = 0;
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

    /// Skips a string in its last block, up to its closing quote.
    #[inline(always)]
    fn skip_rest_of_string(&mut self) {
        if self.at < self.bytes.len() {
            let block = Block::load(self.simd, self.bytes, self.at);
            if let Some(text) = self.text(block) {
                self.at += text.len.min(text.quotes.trailing_zeros() as usize);
            }
        }
    }

    /// Finds the strings of a block, and checks their text; `None` if some of it is not valid.
    #[inline(always)]
    fn text(&mut self, block: Block<S>) -> Option<Text> {
        let mut len = block.len.min(STEP);
        let backslashes = block.equal(b'\\');
        let mut quotes = block.equal(b'"');
        let special = block.controls_and_not_ascii();
        let escapes = escaped(backslashes);
        quotes &= !escapes;
        // Few blocks have an escape that is wrong, cut or `\u`: there is no branch on the others,
        // because it could not be predicted.
        let is_cut = (backslashes & !escapes) >> (len - 1) & 1;
        let odd = escapes & (!block.escapable() | block.equal(b'u'));
        if odd | is_cut != 0 {
            len = check_escapes(block, backslashes, escapes, len)?;
        }
        let is_plain = backslashes | special == 0;
        let mut controls = 0;
        if special != 0 {
            let not_ascii = block.not_ascii();
            controls = special & !not_ascii;
            if not_ascii != 0 {
                len = self.utf8.check(self.bytes, self.at, len)?;
            }
        }
        let within = (1 << len) - 1;
        quotes &= within;
        let strings = (prefix_xor(quotes) ^ self.carry.in_string) & within;
        (controls & strings == 0).then_some(Text {
            len,
            quotes,
            strings,
            is_plain,
        })
    }

    /// Consumes a block of a nested value.
    #[inline(always)]
    fn block(&mut self, scanner: &mut JsonScanner, block: Block<S>) -> Outcome {
        let Some(Text {
            mut len,
            quotes,
            strings,
            ..
        }) = self.text(block)
        else {
            return Outcome::Stopped;
        };
        let outside = !(strings | quotes) & ((1 << len) - 1);
        let (opening, closing) = block.brackets();
        let mut tokens = Tokens {
            len,
            quotes,
            strings,
            white_space: block.white_space() & outside,
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
        let mut scalars = outside & !punctuation;
        // A scalar that may go on is left for the next block.
        if scalars >> len.saturating_sub(1) & 1 == 1 {
            let scalar = (!scalars << (BLOCK - len)).leading_zeros() as usize;
            len -= scalar.min(len);
            scalars &= (1 << len) - 1;
        }
        if len == 0 {
            return Outcome::Stopped;
        }
        tokens.len = len;
        tokens.scalars = scalars;

        let brackets = tokens.opening | tokens.closing;
        let curly = block.curly();
        tokens.opening_objects = tokens.opening & curly;
        match scanner.brackets.take_all(brackets, tokens.closing, curly) {
            Some((levels, objects)) => {
                tokens.objects = objects;
                let Some(carry) = self.check(tokens, block) else {
                    return Outcome::Stopped;
                };
                scanner.brackets.set_inner(levels);
                self.carry = carry;
                Outcome::Consumed(len)
            }
            None => self.last_block(scanner, tokens, block),
        }
    }

    /// Consumes a block in which the value may end, or brackets are nested deep.
    #[inline(always)]
    fn last_block(
        &mut self,
        scanner: &mut JsonScanner,
        mut tokens: Tokens,
        block: Block<S>,
    ) -> Outcome {
        let mut open = scanner.brackets.clone();
        let brackets = tokens.opening | tokens.closing;
        let Ok((objects, end)) = open.take_each(brackets, tokens.closing, block.curly()) else {
            return Outcome::Stopped;
        };
        tokens.objects = objects;
        if let Some(end) = end {
            tokens.cut(end as usize + 1);
        }
        let Some(carry) = self.check(tokens, block) else {
            return Outcome::Stopped;
        };
        scanner.brackets = open;
        self.carry = carry;
        match end {
            Some(_) => Outcome::Ended(tokens.len),
            None => Outcome::Consumed(tokens.len),
        }
    }

    #[inline(always)]
    fn check(&self, tokens: Tokens, block: Block<S>) -> Option<Carry> {
        if tokens.scalars != 0 && !are_scalars(tokens.scalars, block, &self.bytes[self.at..]) {
            return None;
        }
        tokens.check(self.carry)
    }
}

/// Checks the escapes of a block, and returns the number of bytes before one that is cut at the end;
/// `None` if one before it is not valid.
#[inline(always)]
fn check_escapes<S: Simd>(
    block: Block<S>,
    backslashes: u64,
    escapes: u64,
    mut len: usize,
) -> Option<usize> {
    if (backslashes & !escapes) >> (len - 1) & 1 == 1 {
        len -= 1;
    }
    let mut unicode = block.equal(b'u') & escapes;
    let mut digits = 0;
    if unicode != 0 {
        // The first one with less than four digits.
        let cut = unicode & !0 << len.saturating_sub(4);
        unicode &= !cut;
        if cut != 0 {
            len = len.min((cut.trailing_zeros() as usize).saturating_sub(1));
        }
        // Those before it have all of theirs, which it may be among.
        digits = unicode << 1 | unicode << 2 | unicode << 3 | unicode << 4;
        digits &= !block.hex_digits();
    }
    let wrong = escapes & !block.escapable() & ((1 << len) - 1);
    (wrong | digits == 0).then_some(len)
}
