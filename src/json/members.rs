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
            self.begin_key(at);
            let Some(quote) = engine.plain_string(bytes, at + 1) else {
                return Ok(at + 1);
            };
            self.end_key(likeness(&bytes[at + 1..quote]))
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
            at = self.rest_of_value(engine, bytes, at + 1)?;
            if !matches!(self.state, State::AfterValue) {
                return Ok(at);
            }

            at = skip_white_space(bytes, at);
            if bytes.get(at) != Some(&b',') {
                return Ok(at);
            }
            self.state = State::NextKey;
            at = skip_white_space(bytes, at + 1);
            if bytes.get(at) != Some(&b'"') {
                return Ok(at);
            }
        }
    }

    /// Takes a value from its second byte on, as far as it gets.
    #[inline(always)]
    fn rest_of_value<E: Engine>(
        &mut self,
        engine: E,
        bytes: &[u8],
        mut at: usize,
    ) -> Result<usize, ScanError> {
        match &mut self.state {
            State::Text(text) => match engine.text(text, bytes, at) {
                Some(end) => at = end,
                None => return Ok(bytes.len()),
            },
            State::Nested => match engine.nested(&mut self.nested, bytes, at) {
                Ok(Some(end)) => at = end,
                Ok(None) => return Ok(bytes.len()),
                Err((at, reason)) => return Err(self.error_at(reason.into(), at)),
            },
            State::Name { .. } => {
                if let Some(quote) = engine.plain_string(bytes, at) {
                    self.end_name(quote, false);
                    at = quote + 1;
                }
                return Ok(at);
            }
            State::Word(missing) => {
                if bytes[at..].starts_with(missing) {
                    at += missing.len();
                    self.end_word(at);
                }
                return Ok(at);
            }
            State::Number(number) => loop {
                let Some(&byte) = bytes.get(at) else {
                    return Ok(at);
                };
                match number.step(byte) {
                    Ok(Some(next)) => *number = next,
                    Ok(None) => break,
                    Err(reason) => return Err(self.error_at(reason.into(), at)),
                }
                at += 1;
            },
            _ => return Ok(at),
        }
        self.state = State::AfterValue;
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
