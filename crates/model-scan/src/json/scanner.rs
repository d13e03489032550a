//! The automaton that defines the scanner.

use super::{
    brackets::{Bracket, Brackets},
    engine::Engine,
    error::{JsonError, JsonErrorKind, Reason},
    key::{KeyMatch, KeyMatcher, Target},
    model::{Insertion, Model},
    number::Number,
    string::{JsonString, PairedStep, PairedString, Step},
};
use crate::edit::ValueKind;

/// An incremental scanner that finds the top-level `model` of a JSON object.
#[derive(Clone, Debug)]
pub(crate) struct JsonScanner {
    pub(super) target: Target,
    pub(super) state: State,
    pub(super) brackets: Brackets,
    /// The number of bytes of earlier calls.
    offset: u64,
    /// The offset of the current top-level key, or of the model's value.
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
    /// A top-level key.
    Key(PairedString, KeyMatcher),
    AfterKey,
    BeforeValue,
    FirstElement,
    /// A nested key, or a value other than the model.
    String(TextState),
    /// The model, which is a string.
    Name {
        text: PairedString,
        escaped: bool,
    },
    Number(Number),
    /// A word of which these bytes are missing.
    Word(&'static [u8]),
    AfterValue,
    End,
}

/// The state in a string whose text does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextState {
    pub(super) string: JsonString,
    pub(super) is_key: bool,
}

impl JsonScanner {
    /// Creates a scanner that looks for the top-level key `model`.
    pub(crate) fn new() -> Self {
        Self::for_target(Target::Model)
    }

    /// Creates a scanner that looks for exactly this top-level key, and reports it as `model`. Keys
    /// that only some readers take for it are no errors.
    pub(crate) fn for_key(key: &'static str) -> Self {
        Self::for_target(Target::Exactly(key))
    }

    fn for_target(target: Target) -> Self {
        Self {
            target,
            state: State::Start,
            brackets: Brackets::default(),
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
            if matches!(self.state, State::FirstKey | State::NextKey)
                && byte == b'"'
                && self.brackets.is_outermost()
            {
                at = self.members(engine, bytes, at)?;
            }
            at = engine.skip(self, bytes, at);
            if let Some(&byte) = bytes.get(at) {
                at = self
                    .step(byte, at)
                    .map_err(|kind| self.error_at(kind, at))?;
            }
        }
        Ok(())
    }

    /// Consumes the byte at index `at` and returns the index of the next one: the same index if the
    /// byte only ended the number before it.
    pub(super) fn step(&mut self, byte: u8, at: usize) -> Result<usize, JsonErrorKind> {
        match &mut self.state {
            State::Key(text, key) => match text.step(byte)? {
                PairedStep::Part => {}
                PairedStep::Char {
                    decoded,
                    unicode_escape,
                } => key.push(decoded, unicode_escape),
                PairedStep::End => {
                    let key_match = key.finish(self.target);
                    self.end_key(key_match)?;
                }
            },
            State::Name { text, escaped } => {
                *escaped |= byte == b'\\';
                let escaped = *escaped;
                if text.step(byte)? == PairedStep::End {
                    self.end_name(at, escaped);
                }
            }
            State::String(text) => {
                if text.string.step(byte)? == Step::End {
                    self.state = if text.is_key {
                        State::AfterKey
                    } else {
                        State::AfterValue
                    };
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
            _ if is_white_space(byte) => {}
            state => match (&state, byte) {
                (State::Start, b'{') => self.begin_document(at)?,
                (State::FirstElement, b']') => self.close(Bracket::Array)?,
                (State::BeforeValue, b']') if !self.brackets.in_object() => {
                    return Err(Reason::TrailingComma.into());
                }
                (State::BeforeValue | State::FirstElement, _) => self.begin_value(byte, at)?,
                (State::FirstKey | State::NextKey, b'"') => self.begin_key(at),
                (State::FirstKey, b'}') => {
                    if let (true, Some(insertion)) =
                        (self.brackets.is_outermost(), &mut self.insertion)
                    {
                        insertion.object_is_empty = true;
                    }
                    self.close(Bracket::Object)?;
                }
                (State::AfterKey, b':') => self.state = State::BeforeValue,
                (State::AfterValue, b',') if self.brackets.in_object() => {
                    self.state = State::NextKey;
                }
                (State::AfterValue, b',') => self.state = State::BeforeValue,
                (State::AfterValue, b'}') => self.close(Bracket::Object)?,
                (State::AfterValue, b']') => self.close(Bracket::Array)?,
                (state, _) => return Err(state.unexpected(byte).into()),
            },
        }
        Ok(at + 1)
    }

    fn close(&mut self, bracket: Bracket) -> Result<(), Reason> {
        let is_last = self.brackets.is_outermost();
        self.brackets.close(bracket)?;
        self.state = if is_last {
            State::End
        } else {
            State::AfterValue
        };
        Ok(())
    }

    #[inline(always)]
    fn begin_document(&mut self, brace: usize) -> Result<(), Reason> {
        self.brackets.open(Bracket::Object)?;
        self.insertion = Some(Insertion {
            at: self.offset_of(brace + 1),
            object_is_empty: false,
        });
        self.state = State::FirstKey;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn begin_key(&mut self, quote: usize) {
        self.state = if self.brackets.is_outermost() {
            self.token = self.offset_of(quote);
            State::Key(PairedString::default(), KeyMatcher::default())
        } else {
            State::String(TextState {
                is_key: true,
                ..TextState::default()
            })
        };
    }

    #[inline(always)]
    pub(super) fn end_key(&mut self, key_match: KeyMatch) -> Result<(), JsonErrorKind> {
        self.in_model = match key_match {
            KeyMatch::Different => false,
            KeyMatch::Ambiguous => return Err(JsonErrorKind::AmbiguousModel),
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
                let text = PairedString::default();
                let escaped = false;
                (State::Name { text, escaped }, None)
            }
            b'"' => (State::String(TextState::default()), None),
            b'[' => {
                self.brackets.open(Bracket::Array)?;
                (State::FirstElement, Some(ValueKind::Array))
            }
            b'{' => {
                self.brackets.open(Bracket::Object)?;
                (State::FirstKey, Some(ValueKind::Object))
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
        if self.in_model {
            self.token = self.offset_of(at);
            if let Some(kind) = kind {
                let start = self.token;
                self.model = Model::Other { start, kind };
                self.in_model = false;
            }
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
        if self.in_model {
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
            (State::End, _) => Reason::TrailingData,
            _ => Reason::of_unexpected(byte),
        }
    }
}

#[inline(always)]
pub(super) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
