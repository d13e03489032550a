//! A short cut through whole members.

use super::{
    engine::Engine,
    error::JsonError,
    key::{KeyMatch, compare_key},
    scanner::{JsonScanner, State, is_white_space},
};

impl JsonScanner {
    /// Consumes whole members, from the opening quote of a key on, and returns the index where it
    /// stopped: at anything out of the ordinary, or past the object's end.
    ///
    /// The scanner's state is then the one after consuming all these bytes one by one. It is
    /// written only once.
    #[inline(always)]
    pub(super) fn members<E: Engine>(
        &mut self,
        engine: E,
        bytes: &[u8],
        mut at: usize,
    ) -> Result<usize, JsonError> {
        let mut window = E::Window::default();
        loop {
            let Some(quote) = engine.plain_string(&mut window, bytes, at + 1) else {
                self.begin_key(at);
                return Ok(at + 1);
            };
            match compare_key(&bytes[at + 1..quote], self.target) {
                KeyMatch::Different => self.in_model = false,
                key_match => {
                    self.token = self.offset_of(at);
                    self.end_key(key_match)
                        .map_err(|kind| self.error_at(kind, quote))?;
                }
            }

            at = skip_white_space(bytes, quote + 1);
            if bytes.get(at) != Some(&b':') {
                self.state = State::AfterKey;
                return Ok(at);
            }
            at = skip_white_space(bytes, at + 1);
            let Some(&byte) = bytes.get(at) else {
                self.state = State::BeforeValue;
                return Ok(at);
            };
            let Some(end) = self.short_value(engine, &mut window, bytes, at) else {
                self.begin_value(byte, at)
                    .map_err(|reason| self.error_at(reason.into(), at))?;
                return Ok(at + 1);
            };
            at = skip_white_space(bytes, end);
            match bytes.get(at) {
                Some(b',') => {}
                _ => {
                    self.state = State::AfterValue;
                    return Ok(at);
                }
            }
            at = skip_white_space(bytes, at + 1);
            if bytes.get(at) != Some(&b'"') {
                self.state = State::NextKey;
                return Ok(at);
            }
        }
    }

    /// Consumes the value that begins at index `at`, and returns the index just past it, if the
    /// value is short and ends in `bytes`. Otherwise it changes nothing.
    #[inline(always)]
    fn short_value<E: Engine>(
        &mut self,
        engine: E,
        window: &mut E::Window,
        bytes: &[u8],
        at: usize,
    ) -> Option<usize> {
        let byte = bytes[at];
        let end = match byte {
            b'"' if self.in_model => engine.plain_string(window, bytes, at + 1)? + 1,
            // Other models are rare.
            _ if self.in_model => return None,
            b'"' => engine.short_string(window, bytes, at + 1)? + 1,
            b'-' | b'0'..=b'9' => number(bytes, at)?,
            b't' => word(bytes, at, b"true")?,
            b'n' => word(bytes, at, b"null")?,
            b'f' => word(bytes, at + 1, b"alse")?,
            _ => return None,
        };
        if self.in_model {
            self.token = self.offset_of(at);
            self.end_name(end - 1, false);
        }
        Some(end)
    }
}

/// Returns the index just past the number at index `at`, if it has no exponent and another byte
/// follows it.
#[inline(always)]
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let integer = at + usize::from(bytes[at] == b'-');
    let mut end = skip_digits(bytes, integer);
    if end == integer || (end > integer + 1 && bytes[integer] == b'0') {
        return None;
    }
    if *bytes.get(end)? == b'.' {
        let fraction = end + 1;
        end = skip_digits(bytes, fraction);
        if end == fraction {
            return None;
        }
    }
    let is_over = !matches!(bytes.get(end)?, b'e' | b'E');
    is_over.then_some(end)
}

#[inline(always)]
fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Returns the index just past the word, if it is at index `at`.
#[inline(always)]
fn word(bytes: &[u8], at: usize, word: &[u8; 4]) -> Option<usize> {
    (bytes[at..].first_chunk() == Some(word)).then_some(at + 4)
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
    use proptest::prelude::*;

    use super::super::{engine::Bytewise, number::Number};
    use super::*;

    #[test]
    fn ordinary_members_are_consumed_as_a_whole() {
        for (rest, state) in [
            ("} ", "AfterValue"),
            (" ]", "AfterValue"),
            (",]", "NextKey"),
            (", \"g\" ]", "AfterKey"),
            (", \"g\" : ", "BeforeValue"),
        ] {
            let members = r#""a": -1.50 , "b":true,"c" :null,"model":"x","d":false, "e":"",
                "f":0"#;
            let members = [members, rest].concat();
            let mut scanner = JsonScanner::new();
            scanner.feed(b"{").unwrap();
            let end = scanner.members(Bytewise, members.as_bytes(), 0).unwrap();
            let left = if rest == "} " {
                2
            } else {
                usize::from(state != "BeforeValue")
            };
            assert_eq!(end, members.len() - left);
            assert_eq!(format!("{:?}", scanner.state), state);
            let model = "String { start: 41, end: 44, escaped: false }";
            assert_eq!(format!("{:?}", scanner.model()), model);
        }
    }

    #[test]
    fn members_stop_at_what_may_continue_or_needs_validation() {
        for (members, taken) in [
            (r#""a\n":1}"#, 1),
            (r#""a"#, 1),
            (r#""a" "#, 4),
            (r#""a":"\n","c":1}"#, 5),
            (r#""a":[1],"c":1}"#, 5),
            (r#""a":tru"#, 5),
            (r#""a":falsy"#, 5),
            (r#""a":12"#, 5),
            (r#""a":1e5}"#, 5),
            (r#""model":"\n"}"#, 9),
            (r#""model":1}"#, 9),
            (r#""model":null}"#, 9),
            (r#""a":1 ,}"#, 7),
            (r#""a":1 }"#, 6),
        ] {
            let mut scanner = JsonScanner::new();
            scanner.feed(b"{").unwrap();
            let at = scanner.members(Bytewise, members.as_bytes(), 0);
            assert_eq!(at, Ok(taken), "{members}");
        }
    }

    /// Returns the index just past a number, by the automaton.
    fn number_by_bytes(bytes: &[u8]) -> Option<usize> {
        let mut number = Number::start(bytes[0])?;
        for (at, &byte) in bytes.iter().enumerate().skip(1) {
            match number.step(byte) {
                Ok(Some(next)) => number = next,
                Ok(None) => return Some(at),
                Err(_) => return None,
            }
        }
        None
    }

    proptest! {
        #[test]
        fn numbers_without_exponent_match_the_automaton(
            text in "-?[0-9]{0,3}[.]?[0-9]{0,3}[-+.eE0-9,} ]{0,3}",
        ) {
            let text = format!("{text},");
            let found = number(text.as_bytes(), 0);
            let has_exponent = |end: &usize| text[..*end].contains(['e', 'E']);
            let expected = number_by_bytes(text.as_bytes()).filter(|end| !has_exponent(end));
            prop_assert_eq!(found, expected);
        }
    }
}
