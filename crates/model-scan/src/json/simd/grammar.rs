//! Checks the grammar of nested values by the masks of a block.

use fearless_simd::Simd;

use super::{
    super::{
        scanner::{State, TextState},
        string::JsonString,
    },
    block::{Block, skip_runs},
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
    /// In a string that is a key.
    in_key: u64,
    /// After an opening bracket: a closing one may come.
    after_open: u64,
    /// After an object's opening bracket or comma: no value but a key must come.
    before_key: u64,
    after_key: u64,
    after_value: u64,
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
                carry.in_key = u64::from(*is_key);
            }
            State::FirstKey => (carry.after_open, carry.before_key) = (1, 1),
            State::FirstElement => carry.after_open = 1,
            State::NextKey => carry.before_key = 1,
            State::AfterKey => carry.after_key = 1,
            State::AfterValue => carry.after_value = 1,
            State::BeforeValue => {}
            _ => return None,
        }
        Some(carry)
    }

    #[inline(always)]
    pub(super) fn state(self) -> State {
        if self.in_string != 0 {
            State::String(TextState {
                string: JsonString::Plain,
                is_key: self.in_key != 0,
            })
        } else if self.after_value != 0 {
            State::AfterValue
        } else if self.after_key != 0 {
            State::AfterKey
        } else {
            match (self.after_open, self.before_key) {
                (1, 1) => State::FirstKey,
                (1, _) => State::FirstElement,
                (_, 1) => State::NextKey,
                _ => State::BeforeValue,
            }
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
    /// Markers move from the place after each token to the next one, over white space. They are of
    /// four kinds, by what must come next. Those that move past the last place are carried.
    #[inline(always)]
    pub(super) fn check(&self, carry: Carry) -> Option<Carry> {
        let next = |tokens: u64, first: u64| {
            let (markers, carried) = skip_runs(tokens << 1 | first, self.white_space);
            (markers, carried | tokens >> 63)
        };
        let (after_open, carried_open) = next(self.opening, carry.after_open);
        let key_begins = self.commas & self.objects | self.opening_objects;
        let (before_key, carried_begin) = next(key_begins, carry.before_key);
        let keys = before_key & self.quotes & self.strings;
        let (key_ends, carried_key) = skip_runs(keys | carry.in_key, self.strings);
        let closing_quotes = self.quotes & !self.strings;
        let (after_key, carried_end) = next(key_ends & closing_quotes, carry.after_key);
        let value_ends = closing_quotes & !key_ends | self.closing;
        let scalar_ends = self.scalars << 1 & !self.scalars;
        let (after_value, carried_value) = next(value_ends, scalar_ends | carry.after_value);

        let value_begins = self.opening | self.scalars & !(self.scalars << 1);
        let wrong = (after_value ^ (self.commas | self.closing & !after_open))
            | (after_key ^ self.colons)
            | before_key & value_begins;
        (wrong == 0).then_some(Carry {
            in_string: (self.strings >> 63).wrapping_neg(),
            in_key: carried_key,
            after_open: carried_open,
            before_key: carried_begin,
            after_key: carried_end,
            after_value: carried_value,
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
    let (integer_ends, _) = skip_runs(integers & digits, digits);
    let (fraction_ends, _) = skip_runs(points << 1 & digits, digits);
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
