//! Skips nested values and strings block by block.

use fearless_simd::Simd;

use super::{
    super::{brackets::Brackets, scanner::JsonScanner},
    block::{BLOCK, Block, escapes, first_places, prefix_xor},
    grammar::{Carry, Tokens, are_scalars},
    utf8::{Utf8, begin_of_char, cut_len},
};

/// After this many bytes of a string, a tighter loop takes over as long as there are no escapes.
const SECTION: usize = 16 * BLOCK;

/// The bytes of a block that have a meaning in strings.
#[derive(Clone, Copy)]
struct Marks {
    /// The quotes, the control characters, and unless they are known to be UTF-8 the bytes beyond
    /// ASCII.
    special: u64,
    /// The quotes, and what else usually follows a backslash. Of these, only quotes are `special`.
    usual: u64,
    /// The bytes after an escaping backslash.
    escaped: u64,
    /// The backslashes that escape the next byte.
    escaping: u64,
}

impl Marks {
    /// Finds the marks of a block. `escaped` is set if its first byte is escaped.
    #[inline(always)]
    fn of<S: Simd>(block: Block<S>, escaped: u64, is_utf8: bool) -> Self {
        let (escaped, escaping) = escapes(block.equal(b'\\'), escaped);
        Self {
            special: block.special_and_quotes(is_utf8),
            usual: block.usually_escaped(),
            escaped,
            escaping,
        }
    }

    /// Returns the bytes that do not belong to a string of ASCII characters and usual escapes.
    ///
    /// There is no branch on the usual escapes, because it could not be predicted.
    #[inline(always)]
    fn not_text(&self) -> u64 {
        self.special & !self.escaped | self.escaped & !self.usual
    }
}

/// The strings of a block, whose text is valid.
struct Text {
    quotes: u64,
    /// Strings with their opening quotes. Past the end of the block, the last one goes on.
    strings: u64,
    /// White space other than spaces; inside strings, bytes beyond ASCII unless known to be UTF-8.
    breaks: u64,
    /// See [`Carry`].
    escaped: u64,
    hex_digits: u64,
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
}

impl<S: Simd> Blocks<'_, S> {
    /// Skips up to the end of the outermost nested value, or the quote of a top-level string.
    #[inline(always)]
    fn skip(&mut self, brackets: &mut Brackets) {
        while self.at < self.bytes.len() {
            let outcome = match self.skip_text() {
                Some((block, marks)) => self.block(brackets, block, marks),
                None if self.at + BLOCK <= self.bytes.len() => {
                    self.skip_plain();
                    continue;
                }
                None if self.at == self.bytes.len() => return,
                None => {
                    let block = Block::load(self.simd, self.bytes, self.at);
                    self.block(brackets, block, Marks::of(block, self.carry.escaped, false))
                }
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

    /// Skips blocks of a string that are text with usual escapes, and returns the first other one;
    /// `None` after a section, or if less than a block is left. The text must be ASCII, or already
    /// known to be UTF-8. Skips nothing unless a character of a string comes next.
    #[inline(always)]
    fn skip_text(&mut self) -> Option<(Block<S>, Marks)> {
        if self.carry.in_string == 0 || self.carry.hex_digits != 0 {
            let block = Block::whole(self.simd, self.bytes[self.at..].first_chunk()?);
            return Some((block, Marks::of(block, self.carry.escaped, false)));
        }
        match self.utf8.known_len(self.at) {
            ..BLOCK => self.skip_section(SECTION, false),
            known => self.skip_section(SECTION.min(known), true),
        }
    }

    /// Does the same in a string, for at most `len` bytes, which are known to be UTF-8 if `is_utf8`.
    #[inline(always)]
    fn skip_section(&mut self, len: usize, is_utf8: bool) -> Option<(Block<S>, Marks)> {
        let mut escaped = self.carry.escaped;
        let end = self.bytes.len().min(self.at + len);
        let mut rest = &self.bytes[self.at..end];
        let mut next = None;
        while let Some((whole, after)) = rest.split_first_chunk() {
            let block = Block::whole(self.simd, whole);
            let marks = Marks::of(block, escaped, is_utf8);
            if marks.not_text() != 0 {
                next = Some((block, marks));
                break;
            }
            escaped = marks.escaping >> (BLOCK - 1);
            rest = after;
        }
        self.at = end - rest.len();
        self.carry.escaped = escaped;
        next
    }

    /// Skips pairs of blocks inside a string that are plain ASCII.
    #[inline(always)]
    fn skip_plain(&mut self) {
        while self.carry.escaped == 0 && self.at + 2 * BLOCK <= self.bytes.len() {
            let first = Block::load(self.simd, self.bytes, self.at);
            let second = Block::load(self.simd, self.bytes, self.at + BLOCK);
            if !(first.is_plain() & second.is_plain()) {
                return;
            }
            self.at += 2 * BLOCK;
        }
    }

    /// Finds the strings of a block, and checks their text and the control characters between them;
    /// `None` if some of it is not valid.
    #[inline(always)]
    fn text(&mut self, block: Block<S>, marks: Marks) -> Option<Text> {
        let Marks {
            usual,
            escaped,
            escaping,
            ..
        } = marks;
        let quotes = marks.special & usual & !escaped;
        let special = marks.special & !usual;
        let unusual = escaped & !usual & block.within();
        let strings = match quotes {
            0 => self.carry.in_string,
            _ => prefix_xor(quotes) ^ self.carry.in_string,
        };
        let mut hex_digits = 0;
        if unusual | self.carry.hex_digits != 0 {
            let begins = unusual & !block.escapable();
            if begins | self.carry.hex_digits != 0 {
                hex_digits = check_unicode_escapes(block, begins, self.carry.hex_digits)?;
            }
        }
        if special != 0 {
            let not_ascii = block.not_ascii();
            let is_utf8 =
                not_ascii == 0 || self.utf8.check(self.bytes, self.at, self.at + block.len);
            let allowed = not_ascii & strings | block.breaks() & !strings;
            if special & !allowed != 0 || !is_utf8 {
                return None;
            }
        }
        Some(Text {
            quotes,
            strings,
            breaks: special,
            escaped: escaping >> (block.len - 1) & 1,
            hex_digits,
        })
    }

    /// Consumes a block.
    #[inline(always)]
    fn block(&mut self, brackets: &mut Brackets, block: Block<S>, marks: Marks) -> Outcome {
        let Some(text) = self.text(block, marks) else {
            return Outcome::Stopped;
        };
        if text.quotes == 0 && self.carry.in_string != 0 {
            self.carry.escaped = text.escaped;
            self.carry.hex_digits = text.hex_digits;
            return Outcome::Consumed(block.len);
        }
        if brackets.is_outermost() {
            (self.carry.escaped, self.carry.hex_digits) = (0, 0);
            return Outcome::Ended(text.quotes.trailing_zeros() as usize);
        }
        self.block_of_tokens(brackets, &text, block)
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
            white_space: (block.equal(b' ') | text.breaks | !block.within()) & outside,
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

/// Checks the `\u` escapes of a block: `begins` are the bytes after a backslash that must be a `u`,
/// and `first` the digits that the block begins with. Returns the digits that come after it; `None`
/// if an escape is not valid.
#[cold]
#[inline(always)]
fn check_unicode_escapes<S: Simd>(block: Block<S>, begins: u64, first: u64) -> Option<u64> {
    let all = u128::from(begins);
    let digits = u128::from(first) | all << 1 | all << 2 | all << 3 | all << 4;
    let [now, later] = [digits as u64 & block.within(), (digits >> block.len) as u64];
    let is_valid = begins & !block.equal(b'u') == 0 && now & !block.hex_digits() == 0;
    is_valid.then_some(later)
}
