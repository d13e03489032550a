use super::{
    brackets::Bracket,
    error::{Reason, ScanError, ScanErrorKind},
    key::{KeyMatch, Likeness, TARGET},
    nested::{Nested, Text},
    number::Number,
    string::{Step, StrictString},
};

/// Finds the top-level `model` of a JSON object that comes in pieces.
///
/// See the [module](super) for what is checked.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    target: &'static [u8],
    state: State,
    nested: Nested,
    /// How many bytes earlier calls took.
    offset: u64,
    /// Where the key or the model's value began that is being read.
    token: u64,
    /// Whether the value at hand is the model's own.
    in_model: bool,
    model: Model,
    insertion: Option<Insertion>,
    error: Option<ScanError>,
}

/// The top-level `model`, as far as it has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// There was no such key so far.
    Unseen,
    /// The key was seen, but its value is not complete.
    Pending,
    /// A string, from its opening to just past its closing quote. Only one that
    /// is `escaped` contains backslashes.
    String { start: u64, end: u64, escaped: bool },
    /// The word `null`.
    Null { start: u64, end: u64 },
    /// Anything else, reported once its first byte was seen.
    Other { start: u64, kind: ValueKind },
}

/// The kinds of values that cannot name a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Number,
    Boolean,
    Array,
    Object,
}

/// Where a member can be inserted: just past the top-level object's opening
/// brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    pub(crate) at: u64,
    /// Whether nothing else is in the object, so that no comma must follow.
    /// Known once the object has ended.
    pub(crate) object_is_empty: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    FirstKey,
    NextKey,
    Key(StrictString, KeyMatch),
    AfterKey,
    BeforeValue,
    /// A string that is not the model's.
    Text(Text),
    /// The model's own string.
    Name {
        text: StrictString,
        escaped: bool,
    },
    Nested,
    Number(Number),
    /// A word, of which this is missing.
    Word(&'static [u8]),
    AfterValue,
    End,
}

impl Scanner {
    /// A scanner that looks for the top-level key `model`.
    pub(crate) fn new() -> Self {
        Self::for_bytes(TARGET)
    }

    /// A scanner that looks for this top-level key instead, and reports on it
    /// as if it were `model`.
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

    /// Takes the next bytes of the document, however many.
    ///
    /// # Errors
    ///
    /// When the document is invalid or its `model` is not unique. The error is
    /// the same however the document is cut, and every later call returns it
    /// again.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.scan(bytes)
            .map_err(|error| *self.error.insert(error))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Says that the document has ended.
    ///
    /// # Errors
    ///
    /// When that is too early, or an earlier call returned an error.
    pub(crate) fn finish(&mut self) -> Result<(), ScanError> {
        let reason = match self.state {
            _ if self.error.is_some() => Reason::UnexpectedEnd,
            State::End => return Ok(()),
            State::Start => Reason::EmptyBody,
            _ => Reason::UnexpectedEnd,
        };
        let end = ScanError::new(reason.into(), self.offset);
        Err(*self.error.get_or_insert(end))
    }

    /// The top-level `model`, as far as it has been seen.
    pub(crate) fn model(&self) -> Model {
        self.model
    }

    /// Whether the document's closing brace has been seen.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Where a member can be inserted; `None` before the opening brace.
    pub(crate) fn insertion(&self) -> Option<Insertion> {
        self.insertion
    }

    /// Takes all bytes: as many at once as the state knows to skip, and
    /// otherwise one by one.
    fn scan(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        let base = self.offset;
        let fail = |at: usize, reason: Reason| ScanError::new(reason.into(), base + at as u64);
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += match &mut self.state {
                State::Text(text) => match text.skip(&bytes[at..]) {
                    Some(len) => {
                        self.state = State::AfterValue;
                        len
                    }
                    None => break,
                },
                State::Nested => match self.nested.scan(&bytes[at..]) {
                    Ok(Some(len)) => {
                        self.state = State::AfterValue;
                        len
                    }
                    Ok(None) => break,
                    Err((len, reason)) => return Err(fail(at + len, reason)),
                },
                State::Number(number) => match number.step(byte) {
                    Ok(Some(next)) => {
                        *number = next;
                        1
                    }
                    // The byte is not the number's, and looked at again.
                    Ok(None) => {
                        self.state = State::AfterValue;
                        0
                    }
                    Err(reason) => return Err(fail(at, reason)),
                },
                _ => {
                    let offset = base + at as u64;
                    self.step(byte, offset)
                        .map_err(|kind| ScanError::new(kind, self.place(kind, offset)))?;
                    1
                }
            };
        }
        Ok(())
    }

    /// Takes one byte, which is at this offset.
    fn step(&mut self, byte: u8, offset: u64) -> Result<(), ScanErrorKind> {
        match &mut self.state {
            State::Key(text, key) => match text.step(byte)? {
                Step::Part => {}
                Step::Unit(0) => return Err(Reason::NulInKey.into()),
                Step::Unit(unit) => key.push(unit, self.target),
                Step::End => {
                    let likeness = key.likeness(self.target);
                    self.end_key(likeness)?;
                }
            },
            State::Name { text, escaped } => {
                *escaped |= byte == b'\\';
                let escaped = *escaped;
                if text.step(byte)? == Step::End {
                    self.model = Model::String {
                        start: self.token,
                        end: offset + 1,
                        escaped,
                    };
                    self.state = State::AfterValue;
                }
            }
            State::Word(missing) => match missing.split_first() {
                Some((&expected, rest)) if expected == byte => {
                    *missing = rest;
                    if rest.is_empty() {
                        self.end_word(offset + 1);
                    }
                }
                _ => return Err(Reason::Word.into()),
            },
            State::BeforeValue if !is_white_space(byte) => self.begin_value(byte, offset)?,
            _ if is_white_space(byte) => {}
            state => {
                *state = match (&state, byte) {
                    (State::Start, b'{') => {
                        self.nested.enter_document()?;
                        self.insertion = Some(Insertion {
                            at: offset + 1,
                            object_is_empty: false,
                        });
                        State::FirstKey
                    }
                    (State::FirstKey | State::NextKey, b'"') => {
                        self.token = offset;
                        State::Key(StrictString::new(), KeyMatch::default())
                    }
                    (State::FirstKey, b'}') => {
                        if let Some(insertion) = &mut self.insertion {
                            insertion.object_is_empty = true;
                        }
                        State::End
                    }
                    (State::AfterKey, b':') => State::BeforeValue,
                    (State::AfterValue, b',') => State::NextKey,
                    (State::AfterValue, b'}') => State::End,
                    (state, _) => return Err(state.refusal(byte).into()),
                };
            }
        }
        Ok(())
    }

    fn end_key(&mut self, likeness: Likeness) -> Result<(), ScanErrorKind> {
        self.in_model = match likeness {
            Likeness::Different => false,
            Likeness::SameButForCase => return Err(ScanErrorKind::AmbiguousModel),
            Likeness::Same if self.model != Model::Unseen => {
                return Err(ScanErrorKind::DuplicateModel);
            }
            Likeness::Same => {
                self.model = Model::Pending;
                true
            }
        };
        self.state = State::AfterKey;
        Ok(())
    }

    fn begin_value(&mut self, byte: u8, offset: u64) -> Result<(), Reason> {
        let kind;
        (self.state, kind) = match byte {
            b'"' if self.in_model => {
                let text = StrictString::new();
                let escaped = false;
                (State::Name { text, escaped }, None)
            }
            b'"' => (State::Text(Text::default()), None),
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
        self.token = offset;
        if let (true, Some(kind)) = (self.in_model, kind) {
            let start = offset;
            self.model = Model::Other { start, kind };
        }
        Ok(())
    }

    fn end_word(&mut self, end: u64) {
        if self.in_model && self.model == Model::Pending {
            let start = self.token;
            self.model = Model::Null { start, end };
        }
        self.state = State::AfterValue;
    }

    /// The place to report for an error that was noticed at this offset.
    fn place(&self, kind: ScanErrorKind, offset: u64) -> u64 {
        match kind {
            ScanErrorKind::Invalid(_) => offset,
            ScanErrorKind::DuplicateModel | ScanErrorKind::AmbiguousModel => self.token,
        }
    }
}

impl State {
    /// Why the byte has no place here.
    fn refusal(&self, byte: u8) -> Reason {
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

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
