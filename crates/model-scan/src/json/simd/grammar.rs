//! Checks the grammar of nested values by the masks of a block.

use fearless_simd::Simd;

use super::{
    super::{
        scanner::{State, TextState},
        string::JsonString,
    },
    block::{Block, next_places, skip_runs},
};

/// The state between two blocks. Each field is a bit for the byte that comes next, except for two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carry {
    /// In a string. All bits are set, or none.
    pub(super) in_string: u64,
    /// After a backslash.
    pub(super) escaped: u64,
    /// The digits of a `\u` escape that come next, one bit each.
    pub(super) hex_digits: u64,
    /// After an opening bracket: a closing one may come.
    after_open: u64,
    /// Between an object's opening bracket or comma and a key's colon.
    before_colon: u64,
    /// After a key or a value.
    after_item: u64,
}

impl Carry {
    /// Returns the state of the automaton, if it is one between two tokens, or between two
    /// characters of a string.
    #[inline(always)]
    pub(super) fn of(state: &State) -> Option<Self> {
        let mut carry = Self::default();
        match state {
            State::String(TextState {
                string: JsonString::Plain,
                is_key,
            }) => {
                carry.in_string = u64::MAX;
                carry.before_colon = u64::from(*is_key);
            }
            State::FirstKey => (carry.after_open, carry.before_colon) = (1, 1),
            State::FirstElement => carry.after_open = 1,
            State::NextKey => carry.before_colon = 1,
            State::AfterKey => (carry.before_colon, carry.after_item) = (1, 1),
            State::AfterValue => carry.after_item = 1,
            State::BeforeValue => {}
            _ => return None,
        }
        Some(carry)
    }

    #[inline(always)]
    pub(super) fn state(self) -> State {
        let is_key = self.before_colon != 0;
        match (self.after_item, self.after_open, is_key) {
            _ if self.in_string != 0 => State::String(TextState {
                string: JsonString::Plain,
                is_key,
            }),
            (1, _, true) => State::AfterKey,
            (1, _, false) => State::AfterValue,
            (_, 1, true) => State::FirstKey,
            (_, 1, false) => State::FirstElement,
            (_, _, true) => State::NextKey,
            (_, _, false) => State::BeforeValue,
        }
    }
}

/// The tokens of a block. Past its end there is nothing but white space, or the last string.
#[derive(Clone, Copy)]
pub(super) struct Tokens {
    /// The quotes of strings.
    pub(super) quotes: u64,
    /// Strings with their opening quotes.
    pub(super) strings: u64,
    pub(super) white_space: u64,
    pub(super) opening: u64,
    /// The opening brackets of objects.
    pub(super) opening_objects: u64,
    pub(super) closing: u64,
    pub(super) commas: u64,
    pub(super) colons: u64,
    /// Numbers and words. None is cut at the end.
    pub(super) scalars: u64,
    /// The places in objects.
    pub(super) objects: u64,
}

impl Tokens {
    /// Leaves these places, the first ones. The last one must not be in a string.
    #[inline(always)]
    pub(super) fn cut(&mut self, places: u64) {
        for mask in [
            &mut self.quotes,
            &mut self.strings,
            &mut self.opening,
            &mut self.opening_objects,
            &mut self.closing,
            &mut self.commas,
            &mut self.colons,
            &mut self.scalars,
        ] {
            *mask &= places;
        }
        self.white_space |= !places;
    }

    /// Checks which token follows which, and returns the state after them; `None` if they do not
    /// follow the grammar.
    ///
    /// Markers move from the place after each token to the one that must come next. Those that move
    /// past the last place are carried.
    #[inline(always)]
    pub(super) fn check(&self, carry: Carry) -> Option<Carry> {
        let (after_open, carried_open) =
            next_places(self.opening, self.white_space, carry.after_open);
        let empty = after_open & self.closing;

        // Exactly the items are followed by a comma, a colon or a closing bracket, so that the two
        // alternate; an empty pair of brackets has none.
        let closing_quotes = self.quotes & !self.strings;
        let scalar_ends = self.scalars & !(self.scalars >> 1);
        let (after_item, carried_item) = next_places(
            closing_quotes | scalar_ends | self.closing,
            self.white_space,
            carry.after_item,
        );
        let separators = self.commas | self.colons | self.closing;

        // Exactly the first item after an object's opening bracket or comma is followed by a colon,
        // and is a string.
        let key_begins = self.commas & self.objects | self.opening_objects;
        let (after_key, carried_key) = next_places(
            key_begins,
            self.white_space | self.strings | self.quotes,
            carry.before_colon,
        );

        let wrong = (after_item ^ separators ^ empty) | (after_key & !empty ^ self.colons);
        (wrong == 0).then_some(Carry {
            in_string: (self.strings >> 63).wrapping_neg(),
            after_open: carried_open,
            before_colon: carried_key,
            after_item: carried_item,
            ..carry
        })
    }
}

/// Returns whether all scalars of the block, which begins with `bytes`, are numbers and words.
#[inline(always)]
pub(super) fn are_scalars<S: Simd>(scalars: u64, block: Block<S>, bytes: &[u8]) -> bool {
    let digits = block.digits() & scalars;
    let starts = scalars & !(scalars << 1);
    let zeros = block.equal(b'0');
    if digits == scalars {
        return (zeros & starts) << 1 & digits == 0;
    }
    let minus = block.equal(b'-') & scalars;
    if digits | minus == 0 {
        return are_words(scalars, starts, bytes);
    }
    let plus = block.equal(b'+') & scalars;
    let points = block.equal(b'.') & scalars;
    let exponents = block.exponent_marks() & digits << 1 & scalars;
    let letters = scalars & !(digits | minus | plus | points | exponents);

    let leading_minus = minus & starts;
    let after_exponent = exponents << 1;
    let integers = digits & starts | leading_minus << 1;
    let integer_ends = skip_runs(integers & digits, digits);
    let fraction_ends = skip_runs(points << 1 & digits, digits);
    let wrong = (minus & !starts | plus) & !after_exponent
        | (minus | plus | points) << 1 & !digits
        | after_exponent & !(digits | minus | plus)
        | points & !integer_ends
        | exponents & !(integer_ends | fraction_ends)
        | (zeros & integers) << 1 & digits
        | letters << 1 & scalars & !letters;
    wrong == 0 && (letters == 0 || are_words(letters, starts, bytes))
}

/// Returns whether these letters are words, each at one of the `starts`.
#[inline(always)]
fn are_words(letters: u64, starts: u64, bytes: &[u8]) -> bool {
    let mut words = 0;
    let mut rest = letters & starts;
    while rest != 0 {
        let at = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        let word = match bytes.get(at..).and_then(|bytes| bytes.first_chunk()) {
            Some(b"true" | b"null") => 0b1111,
            Some(b"fals") if bytes.get(at + 4) == Some(&b'e') => 0b1_1111,
            _ => return false,
        };
        words |= word << at;
    }
    words == letters
}
