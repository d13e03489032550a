//! Validates a number.

use super::error::Reason;

/// The part of a JSON number that the last byte belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    ExponentMark,
    ExponentSign,
    Exponent,
}

impl Number {
    /// Begins with the first byte of a number; `None` if no number begins with it.
    pub(super) fn start(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// Consumes the next byte; `None` if the number ended before it.
    pub(super) fn step(self, byte: u8) -> Result<Option<Self>, Reason> {
        let next = match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::ExponentMark,
            (Self::ExponentMark, b'+' | b'-') => Self::ExponentSign,
            (Self::ExponentMark | Self::ExponentSign | Self::Exponent, b'0'..=b'9') => {
                Self::Exponent
            }
            // `-Infinity` of JavaScript and Python.
            (Self::Minus, b'I' | b'N') => return Err(Reason::NotFinite),
            (Self::Zero, b'0'..=b'9')
            | (Self::Minus | Self::Point | Self::ExponentMark | Self::ExponentSign, _) => {
                return Err(Reason::Number);
            }
            (Self::Zero | Self::Integer | Self::Fraction | Self::Exponent, _) => return Ok(None),
        };
        Ok(Some(next))
    }
}
