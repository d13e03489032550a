use super::{
    engine::Engine,
    error::ScanError,
    key::likeness,
    scanner::{Scanner, State, is_white_space},
};

impl Scanner {
    /// A short cut through whole members, from the opening quote of a key on.
    ///
    /// It stops at anything out of the ordinary, the object's end included,
    /// and leaves the scanner in the state that it would be in had it taken all
    /// bytes up to there one by one. Returns the place where it stopped.
    #[inline(always)]
    pub(super) fn members<E: Engine>(
        &mut self,
        engine: E,
        bytes: &[u8],
        mut at: usize,
    ) -> Result<usize, ScanError> {
        loop {
            let Some(quote) = engine.plain_string(bytes, at + 1) else {
                self.begin_key(at);
                return Ok(at + 1);
            };
            self.token = self.offset_of(at);
            self.end_key(likeness(&bytes[at + 1..quote], self.target))
                .map_err(|kind| self.error_at(kind, quote))?;

            at = skip_white_space(bytes, quote + 1);
            if bytes.get(at) != Some(&b':') {
                return Ok(at);
            }
            self.state = State::BeforeValue;
            at = skip_white_space(bytes, at + 1);
            let Some(&byte) = bytes.get(at) else {
                return Ok(at);
            };
            self.begin_value(byte, at)
                .map_err(|reason| self.error_at(reason.into(), at))?;
            at = self.rest_of_scalar(engine, bytes, at + 1)?;
            if !matches!(self.state, State::AfterValue) {
                return Ok(at);
            }
            at = self.comma(bytes, at);
            if !matches!(self.state, State::NextKey) || bytes.get(at) != Some(&b'"') {
                return Ok(at);
            }
        }
    }

    /// Takes the comma after a value, if that's what follows, and white space.
    #[inline(always)]
    pub(super) fn comma(&mut self, bytes: &[u8], at: usize) -> usize {
        let at = skip_white_space(bytes, at);
        if bytes.get(at) != Some(&b',') {
            self.state = State::AfterValue;
            return at;
        }
        self.state = State::NextKey;
        skip_white_space(bytes, at + 1)
    }

    /// Takes a value from its second byte on, if it's one that's short: not
    /// nested, and no string but the model's.
    #[inline(always)]
    fn rest_of_scalar<E: Engine>(
        &mut self,
        engine: E,
        bytes: &[u8],
        mut at: usize,
    ) -> Result<usize, ScanError> {
        match &mut self.state {
            State::Name { .. } => {
                if let Some(quote) = engine.plain_string(bytes, at) {
                    self.end_name(quote, false);
                    at = quote + 1;
                }
            }
            State::Word(missing) if bytes[at..].starts_with(missing) => {
                at += missing.len();
                self.end_word(at);
            }
            State::Number(number) => {
                while let Some(&byte) = bytes.get(at) {
                    if byte.is_ascii_digit() && number.is_in_digits() {
                        at += 1;
                        continue;
                    }
                    match number.step(byte) {
                        Ok(Some(next)) => *number = next,
                        Ok(None) => {
                            self.state = State::AfterValue;
                            break;
                        }
                        Err(reason) => return Err(self.error_at(reason.into(), at)),
                    }
                    at += 1;
                }
            }
            _ => {}
        }
        Ok(at)
    }
}

#[inline(always)]
fn skip_white_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| is_white_space(byte)) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::engine::Bytewise;
    use super::*;

    #[test]
    fn ordinary_members_are_taken_at_once() {
        let document = br#"{"a": -1.5e3 , "b":true,"c" :null,"model":"x","d":false, "e":0}"#;
        let mut scanner = Scanner::new();
        scanner.feed(&document[..1]).unwrap();
        let end = scanner.members(Bytewise, document, 1).unwrap();
        assert_eq!(document[end..], *b"}");
        assert!(matches!(scanner.state, State::AfterValue));
    }

    #[test]
    fn out_of_the_ordinary_is_what_may_go_on_or_needs_a_closer_look() {
        for (members, taken) in [
            (r#""a\n":1}"#, 1),
            (r#""a"#, 1),
            (r#""a" "#, 4),
            (r#""a":"b","c":1}"#, 5),
            (r#""a":[1],"c":1}"#, 5),
            (r#""a":tru"#, 5),
            (r#""model":"\n"}"#, 9),
            (r#""a":1 ,}"#, 7),
        ] {
            let mut scanner = Scanner::new();
            scanner.feed(b"{").unwrap();
            let at = scanner.members(Bytewise, members.as_bytes(), 0);
            assert_eq!(at, Ok(taken), "{members}");
        }
    }
}
