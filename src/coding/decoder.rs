//! A decoder for one content coding, in steps of bounded output.

use std::{borrow::Cow, fmt};

use bytes::{Buf, Bytes};
use compression_codecs::{
    BrotliDecoder, DecodeV2, GzipDecoder, ZlibDecoder, ZstdDecoder,
    core::util::{PartialBuffer, WriteBuffer},
    zstd::params::DParameter,
};

use super::memory::{ZSTD_WINDOW_LOG_MAX, member_memory};
use crate::{
    request::Reservation,
    response::{Rejection, RejectionCode},
};

/// The maximum output of one step.
const MAX_CHUNK: usize = 32 * 1024;

/// A content coding that the decoder supports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib format. Raw deflate data is not supported.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        const NAMES: [(&str, Coding); 5] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
        ];
        let found = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, coding)| *coding)
    }

    /// Returns whether the data may consist of several members, or frames.
    pub(super) fn has_members(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }

    fn codec(self) -> Codec {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            Self::Deflate => Box::new(ZlibDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
                Box::new(ZstdDecoder::new_with_params(&[window]))
            }
        }
    }
}

type Codec = Box<dyn DecodeV2 + Send + Sync>;

/// A decoder for one content coding.
///
/// It reserves the memory for a member's window before it allocates it, and releases it when
/// dropped.
pub(crate) struct Decoder {
    coding: Coding,
    reservation: Option<Reservation>,
    position: Position,
    /// The first bytes of a member whose window they do not tell yet.
    head: Bytes,
    /// Created for the first member, and used for all of them.
    codec: Option<Codec>,
    output: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Position {
    Start,
    Member {
        /// Whether there may be output that needs no more input.
        has_output: bool,
    },
    AfterMember,
}

impl Decoder {
    /// Returns a decoder that reserves its memory, if it is given a reservation.
    pub(crate) fn new(coding: Coding, reservation: Option<Reservation>) -> Self {
        Self {
            coding,
            reservation,
            position: Position::Start,
            head: Bytes::new(),
            codec: None,
            output: Box::default(),
        }
    }

    /// Returns the next chunk, or `None` if it needs more input.
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
        loop {
            let has_output = match self.position {
                Position::Start | Position::AfterMember => {
                    if !self.start_member(input)? {
                        return Ok(None);
                    }
                    false
                }
                Position::Member { has_output } => has_output,
            };
            let Some(codec) = &mut self.codec else {
                unreachable!("the first member has created it")
            };
            if input.is_empty() && !has_output {
                return Ok(None);
            }
            let mut unread = PartialBuffer::new(&input[..]);
            let mut output = WriteBuffer::new_initialized(&mut self.output);
            let has_ended = match self.coding {
                // These fail without input.
                Coding::Gzip | Coding::Deflate if input.is_empty() => {
                    codec.flush(&mut output).map(|_| false)
                }
                _ => codec.decode(&mut unread, &mut output),
            };
            let has_ended = has_ended.map_err(DecodeError::corrupt)?;
            let (read, written) = (unread.written_len(), output.written_len());
            let has_output = output.has_no_spare_space();
            if !has_ended && read == 0 && written == 0 && !input.is_empty() {
                return Err(DecodeError::Corrupt("its decoder does not advance".into()));
            }
            input.advance(read);
            self.position = match has_ended {
                true => Position::AfterMember,
                false => Position::Member { has_output },
            };
            if written > 0 {
                let chunk = Bytes::copy_from_slice(&self.output[..written]);
                return Ok(Some(chunk));
            }
        }
    }

    /// Prepares for the member that starts here. Returns `false` if it needs more input.
    fn start_member(&mut self, input: &mut Bytes) -> Result<bool, DecodeError> {
        if input.is_empty() {
            return Ok(false);
        }
        let is_first = self.position == Position::Start;
        if !is_first && !self.coding.has_members() {
            return Err(DecodeError::Corrupt("it has data after its end".into()));
        }
        if !self.head.is_empty() {
            *input = [&self.head[..], input].concat().into();
            self.head = Bytes::new();
        }
        let Some(memory) = member_memory(self.coding, input)? else {
            self.head = Bytes::copy_from_slice(input);
            input.clear();
            return Ok(false);
        };
        if let Some(reservation) = &mut self.reservation
            && !reservation.grow_to(memory + MAX_CHUNK)
        {
            return Err(DecodeError::Overloaded);
        }
        match &mut self.codec {
            Some(codec) => codec.reinit().map_err(DecodeError::corrupt)?,
            None => {
                self.codec = Some(self.coding.codec());
                self.output = vec![0; MAX_CHUNK].into();
            }
        }
        self.position = Position::Member { has_output: false };
        Ok(true)
    }

    /// Checks that the input may end here. No input at all is an empty body.
    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        let is_complete = match (self.position, &mut self.codec) {
            (Position::Member { .. }, Some(codec)) => {
                let mut output = WriteBuffer::new_initialized(&mut self.output);
                codec.finish(&mut output).unwrap_or(false)
            }
            _ => self.head.is_empty(),
        };
        is_complete.then_some(()).ok_or(DecodeError::Truncated)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client's data.
        f.debug_struct("Decoder")
            .field("coding", &self.coding)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// The reason why a body cannot be decoded.
#[derive(Debug, PartialEq)]
pub(crate) enum DecodeError {
    Corrupt(Cow<'static, str>),
    Truncated,
    /// The format, and the largest window that it may have.
    WindowTooLarge(&'static str, &'static str),
    /// The decoder's memory exceeds the budget of all requests.
    Overloaded,
}

impl DecodeError {
    /// Returns the rejection of the request; `invalid` is the code of a body that is invalid.
    pub(crate) fn rejection(&self, invalid: RejectionCode) -> Rejection {
        match self {
            Self::Corrupt(_) | Self::Truncated => Rejection::undecodable(invalid, self),
            Self::WindowTooLarge(..) => {
                Rejection::undecodable(RejectionCode::UnsupportedContentEncoding, self)
            }
            Self::Overloaded => Rejection::overloaded(),
        }
    }

    fn corrupt(error: std::io::Error) -> Self {
        Self::Corrupt(error.to_string().into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(reason) => write!(f, "the encoded body is corrupt: {reason}"),
            Self::Truncated => f.write_str("the encoded body is truncated"),
            Self::WindowTooLarge(format, max) => {
                write!(f, "the {format} data needs a window of more than {max}")
            }
            Self::Overloaded => f.write_str("too much memory is in use"),
        }
    }
}

impl std::error::Error for DecodeError {}
