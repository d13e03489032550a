//! The automaton that defines the scanner.

use super::{
    brackets::Bracket,
    engine::Engine,
    error::{JsonError, JsonErrorKind, Reason},
    key::{KeyMatch, KeyMatcher, TARGET},
    model::{Insertion, Model},
    nested::Nested,
    number::Number,
    skipped_string::SkippedString,
    string::{Step, ValidatedString},
};
use crate::edit::ValueKind;

/// An incremental scanner that finds the top-level `model` of a JSON object.
#[derive(Clone, Debug)]
pub(crate) struct JsonScanner {
    pub(super) target: &'static [u8],
    pub(super) state: State,
    nested: Nested,
    /// The number of bytes of earlier calls.
    offset: u64,
    /// The offset of the current key, or of the model's value.
    pub(super) token: u64,
    /// Whether the current value is the model's.
    pub(super) in_model: bool,
    model: Model,
    insertion: Option<Insertion>,
    error: Option<JsonError>,
}

/// The part of the document that the next byte belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Start,
    FirstKey,
    NextKey,
    Key(ValidatedString, KeyMatcher),
    AfterKey,
    BeforeValue,
    /// A string other than the model.
    SkippedString(SkippedString),
    /// The model, which is a string.
    Name {
        text: ValidatedString,
        escaped: bool,
    },
    Nested,
    Number(Number),
    /// A word of which these bytes are missing.
    Word(&'static [u8]),
    AfterValue,
    End,
}

impl JsonScanner {
    /// Creates a scanner that looks for the top-level key `model`.
    pub(crate) fn new() -> Self {
        Self::for_bytes(TARGET)
    }

    /// Creates a scanner that looks for this top-level key, and reports it as `model`.
    pub(crate) fn for_key(key: &'static str) -> Self {
        Self::for_bytes(key.as_bytes())
    }

    fn for_bytes(target: &'static [u8]) -> Self {
        Self {
            target,
            state: State::Start,
            nested: Nested::default(),
            offset: 0,
            token: 0,
            in_model: false,
            model: Model::Unseen,
            insertion: None,
            error: None,
        }
    }

    /// Feeds the scanner by this `scan`.
    #[inline(always)]
    pub(super) fn feed_with(
        &mut self,
        bytes: &[u8],
        scan: impl FnOnce(&mut Self, &[u8]) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let result = scan(self, bytes);
        self.offset += bytes.len() as u64;
        self.error = result.err();
        result
    }

    /// Ends the document: an error if it is not complete, or an earlier call returned one.
    pub(crate) fn finish(&mut self) -> Result<(), JsonError> {
        let reason = match self.state {
            _ if self.error.is_some() => Reason::UnexpectedEnd,
            State::End => return Ok(()),
            State::Start => Reason::EmptyBody,
            _ => Reason::UnexpectedEnd,
        };
        let end = JsonError::new(reason.into(), self.offset);
        Err(*self.error.get_or_insert(end))
    }

    /// Returns the top-level `model`, as far as the document has been scanned.
    pub(crate) fn model(&self) -> Model {
        self.model
    }

    /// Returns whether the document's closing brace has been scanned.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Returns where a member can be inserted; `None` before the opening brace.
    pub(crate) fn insertion(&self) -> Option<Insertion> {
        self.insertion
    }

    /// Consumes all bytes: many at once where possible, otherwise one by one.
    #[inline(always)]
    pub(super) fn scan<E: Engine>(&mut self, engine: E, bytes: &[u8]) -> Result<(), JsonError> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match &mut self.state {
                State::Start if byte == b'{' => {
                    self.begin_document(at)
                        .map_err(|reason| self.error_at(reason.into(), at))?;
                    at += 1;
                }
                State::FirstKey | State::NextKey if byte == b'"' => {
                    at = self.members(engine, bytes, at)?;
                }
                State::SkippedString(string) => match engine.skip_string(string, bytes, at) {
                    Some(end) => at = self.comma(bytes, end),
                    None => break,
                },
                State::Nested => match engine.nested(&mut self.nested, bytes, at) {
                    Ok(Some(end)) => at = self.comma(bytes, end),
                    Ok(None) => break,
                    Err((at, reason)) => return Err(self.error_at(reason.into(), at)),
                },
                _ => match self.step(byte, at) {
                    Ok(next) => at = next,
                    Err(kind) => return Err(self.error_at(kind, at)),
                },
            }
        }
        Ok(())
    }

    /// Consumes the byte at index `at` and returns the index of the next one: the same index if the
    /// byte only ended the number before it.
    fn step(&mut self, byte: u8, at: usize) -> Result<usize, JsonErrorKind> {
        match &mut self.state {
            State::Key(text, key) => match text.step(byte)? {
                Step::Part => {}
                Step::Unit(0) => return Err(Reason::NulInKey.into()),
                Step::Unit(unit) => key.push(unit, self.target),
                Step::End => {
                    let key_match = key.finish(self.target);
                    self.end_key(key_match)?;
                }
            },
            State::Name { text, escaped } => {
                *escaped |= byte == b'\\';
                let escaped = *escaped;
                if text.step(byte)? == Step::End {
                    self.end_name(at, escaped);
                }
            }
            State::Number(number) => match number.step(byte)? {
                Some(next) => *number = next,
                None => {
                    self.state = State::AfterValue;
                    return Ok(at);
                }
            },
            State::Word(missing) => match missing.split_first() {
                Some((&expected, rest)) if expected == byte => {
                    *missing = rest;
                    if rest.is_empty() {
                        self.end_word(at + 1);
                    }
                }
                _ => return Err(Reason::Word.into()),
            },
            State::BeforeValue if !is_white_space(byte) => self.begin_value(byte, at)?,
            _ if is_white_space(byte) => {}
            state => match (&state, byte) {
                (State::FirstKey | State::NextKey, b'"') => self.begin_key(at),
                (State::FirstKey, b'}') => {
                    if let Some(insertion) = &mut self.insertion {
                        insertion.object_is_empty = true;
                    }
                    self.state = State::End;
                }
                (State::AfterKey, b':') => self.state = State::BeforeValue,
                (State::AfterValue, b',') => self.state = State::NextKey,
                (State::AfterValue, b'}') => self.state = State::End,
                (state, _) => return Err(state.unexpected(byte).into()),
            },
        }
        Ok(at + 1)
    }

    #[inline(always)]
    fn begin_document(&mut self, brace: usize) -> Result<(), Reason> {
        self.nested.enter(Bracket::Object)?;
        self.insertion = Some(Insertion {
            at: self.offset_of(brace + 1),
            object_is_empty: false,
        });
        self.state = State::FirstKey;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn begin_key(&mut self, quote: usize) {
        self.token = self.offset_of(quote);
        self.state = State::Key(ValidatedString::new(), KeyMatcher::default());
    }

    #[inline(always)]
    pub(super) fn end_key(&mut self, key_match: KeyMatch) -> Result<(), JsonErrorKind> {
        self.in_model = match key_match {
            KeyMatch::Different => false,
            KeyMatch::OtherCase => return Err(JsonErrorKind::AmbiguousModel),
            KeyMatch::Exact if self.model != Model::Unseen => {
                return Err(JsonErrorKind::DuplicateModel);
            }
            KeyMatch::Exact => {
                self.model = Model::Pending;
                true
            }
        };
        self.state = State::AfterKey;
        Ok(())
    }

    /// Consumes the first byte of a value.
    #[inline(always)]
    pub(super) fn begin_value(&mut self, byte: u8, at: usize) -> Result<(), Reason> {
        let kind;
        (self.state, kind) = match byte {
            b'"' if self.in_model => {
                let text = ValidatedString::new();
                let escaped = false;
                (State::Name { text, escaped }, None)
            }
            b'"' => (State::SkippedString(SkippedString::default()), None),
            b'[' => {
                self.nested.enter(Bracket::Array)?;
                (State::Nested, Some(ValueKind::Array))
            }
            b'{' => {
                self.nested.enter(Bracket::Object)?;
                (State::Nested, Some(ValueKind::Object))
            }
            b't' => (State::Word(b"rue"), Some(ValueKind::Boolean)),
            b'f' => (State::Word(b"alse"), Some(ValueKind::Boolean)),
            b'n' => (State::Word(b"ull"), None),
            b'+' | b'.' => return Err(Reason::Number),
            _ => match Number::start(byte) {
                Some(number) => (State::Number(number), Some(ValueKind::Number)),
                None => return Err(Reason::of_unexpected(byte)),
            },
        };
        self.token = self.offset_of(at);
        if let (true, Some(kind)) = (self.in_model, kind) {
            let start = self.token;
            self.model = Model::Other { start, kind };
        }
        Ok(())
    }

    /// Consumes the closing quote of the model.
    pub(super) fn end_name(&mut self, quote: usize, escaped: bool) {
        self.model = Model::String {
            start: self.token,
            end: self.offset_of(quote + 1),
            escaped,
        };
        self.state = State::AfterValue;
    }

    /// Ends a word just before index `end`.
    fn end_word(&mut self, end: usize) {
        if self.in_model && self.model == Model::Pending {
            let start = self.token;
            let end = self.offset_of(end);
            self.model = Model::Null { start, end };
        }
        self.state = State::AfterValue;
    }

    /// Returns the offset in the document of an index into the current bytes.
    #[inline(always)]
    pub(super) fn offset_of(&self, at: usize) -> u64 {
        self.offset + at as u64
    }

    /// Returns the error of this kind at index `at`.
    #[cold]
    pub(super) fn error_at(&self, kind: JsonErrorKind, at: usize) -> JsonError {
        let offset = match kind {
            JsonErrorKind::Invalid(_) => self.offset_of(at),
            JsonErrorKind::DuplicateModel | JsonErrorKind::AmbiguousModel => self.token,
        };
        JsonError::new(kind, offset)
    }
}

impl State {
    /// Returns why the byte is not allowed in this state.
    fn unexpected(&self, byte: u8) -> Reason {
        match (self, byte) {
            (State::Start, 0xef | 0xfe | 0xff) => Reason::ByteOrderMark,
            (State::Start, 0 | b'/' | b'#') => Reason::of_unexpected(byte),
            (State::Start, _) => Reason::NotAnObject,
            (State::NextKey, b'}') => Reason::TrailingComma,
            (State::AfterValue, b']') => Reason::Bracket,
            (State::End, _) => Reason::TrailingData,
            _ => Reason::of_unexpected(byte),
        }
    }
}

#[inline(always)]
pub(super) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
