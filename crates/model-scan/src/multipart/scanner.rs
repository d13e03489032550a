//! The automaton that scans a form.

use memchr::{memchr, memmem};

use super::broken_delimiter::BrokenDelimiter;
use super::head::{ContentLength, Head};
use super::lookalikes::Lookalikes;
use super::{MultipartError, MultipartErrorKind, Reason};

/// The longest part head, with its line ends and its empty line.
const MAX_HEAD: usize = 4 * 1024;
/// The longest content of the `model` part.
const MAX_MODEL: u64 = 64 * 1024;

/// The `model` part, as far as the form has been scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// No `model` part has begun.
    Unseen,
    /// Its head has been scanned, its end has not.
    Pending,
    /// Complete, with the delimiter that ends it. The offsets are of its content.
    Value { start: u64, end: u64 },
}

/// An incremental scanner that finds the `model` part of a form.
///
/// Memory: the boundary, at most 4 KiB of an unfinished header line, and twice as many bytes of
/// content as the boundary has. Time: linear; that of three searches for content.
#[derive(Debug)]
pub(crate) struct MultipartScanner {
    /// Searches for `--boundary`.
    pub(super) delimiter: memmem::Finder<'static>,
    state: State,
    /// The number of bytes consumed.
    at: u64,
    /// A header line, or the end of the content, that began in an earlier frame.
    carry: Vec<u8>,
    pub(super) lookalikes: Lookalikes,
    broken: BrokenDelimiter,
    part: CurrentPart,
    model: Model,
    model_length: Option<ContentLength>,
    insertion: Option<u64>,
    is_complete: bool,
}

#[derive(Debug)]
enum State {
    /// At the first byte, or after the CR of a first line that is empty.
    Start,
    StartLf,
    /// In the first delimiter, after this many bytes of `--boundary`.
    Opening(usize),
    /// After `--boundary`, and after the CR or the `-` that may follow it.
    Delimited,
    DelimitedCr,
    DelimitedDash,
    /// In a part's head, which begins at this offset.
    Head(Head, u64),
    Content,
    /// After the close delimiter, and after the CR that may follow it.
    Closed,
    ClosedCr,
    /// After both.
    Epilogue,
    Failed(MultipartError),
}

/// The part whose content is being scanned.
#[derive(Clone, Copy, Debug, Default)]
struct CurrentPart {
    /// Offset of the content.
    start: u64,
    /// Offset of the CRLF of the delimiter that ends it, once that has been scanned.
    end: Option<u64>,
    is_model: bool,
    content_length: Option<ContentLength>,
}

impl MultipartScanner {
    /// Creates a scanner with this boundary: an error unless [`check_boundary`] accepts it.
    pub(crate) fn new(boundary: &[u8]) -> Result<Self, MultipartError> {
        check_boundary(boundary)?;
        let delimiter = [b"--", boundary].concat();
        Ok(Self {
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            state: State::Start,
            at: 0,
            carry: Vec::new(),
            lookalikes: Lookalikes::new(boundary),
            broken: BrokenDelimiter::new(&delimiter),
            part: CurrentPart::default(),
            model: Model::Unseen,
            model_length: None,
            insertion: None,
            is_complete: false,
        })
    }

    /// Scans the next bytes.
    ///
    /// The error does not depend on how the form is cut, and every later call returns it again.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), MultipartError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = match &self.state {
                State::Head(..) => self.head(rest),
                State::Content => self.content(rest),
                _ => self.byte(rest[0]).map(|()| 1),
            };
            let read = self.latch_error(read)?;
            self.at += read as u64;
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Ends the form: an error if [`feed`](Self::feed) failed or the close delimiter is missing.
    /// Without it some servers accept the parts before, and others reject the form.
    pub(crate) fn finish(&mut self) -> Result<(), MultipartError> {
        let ended = match self.state {
            State::Closed | State::Epilogue => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(MultipartError::invalid(Reason::Truncated, self.at)),
        };
        self.latch_error(ended)
    }

    /// Returns the model, as far as the form has been scanned.
    pub(crate) fn model(&self) -> Model {
        self.model
    }

    /// Returns whether the close delimiter has been scanned.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the offset of the first delimiter, where a whole part can be inserted, once known.
    pub(crate) fn insertion(&self) -> Option<u64> {
        self.insertion
    }

    /// Returns the offsets of the digits of the `model` part's own Content-Length, if it has one.
    ///
    /// OkHttp and Ktor send it. Servers should ignore it (RFC 7578, section 4.8), but old versions
    /// of aiohttp read by it, so it must change with the content. Known once the model is
    /// `Pending`.
    pub(crate) fn model_length(&self) -> Option<(u64, u64)> {
        self.model_length.map(|length| (length.start, length.end))
    }

    /// Returns the number of bytes carried over to the next frame.
    #[cfg(test)]
    pub(super) fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Keeps an error, so that every later call returns it.
    fn latch_error<T>(&mut self, result: Result<T, MultipartError>) -> Result<T, MultipartError> {
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Consumes one byte, in the states where each byte matters.
    fn byte(&mut self, byte: u8) -> Result<(), MultipartError> {
        let invalid = |reason| Err(MultipartError::invalid(reason, self.at));
        self.state = match (&self.state, byte) {
            // A preamble may be anything (RFC 2046, section 5.1.1), but busboy and Go skip it,
            // python-multipart rejects it, and some read its first line as the boundary.
            (State::Start, b'\r') => State::StartLf,
            (State::StartLf, b'\n') => State::Opening(0),
            (State::StartLf, _) => return invalid(Reason::Preamble),
            (State::Start, _) => return self.opening(0, byte),
            (&State::Opening(read), _) => return self.opening(read, byte),

            (State::Delimited, b'\r') => State::DelimitedCr,
            (State::Delimited, b'-') => State::DelimitedDash,
            // Transport padding, which by RFC 2046 receivers accept and senders do not add. Go and
            // Werkzeug read a delimiter, busboy and formidable content. HTTP adds none.
            (State::Delimited, b' ' | b'\t') => return invalid(Reason::DelimiterPadding),
            (State::DelimitedCr, b'\n') => {
                self.end_part()?;
                State::Head(Head::default(), self.at + 1)
            }
            (State::DelimitedDash, b'-') => {
                self.end_part()?;
                self.is_complete = true;
                State::Closed
            }
            // A bare LF (accepted by Werkzeug, and in part by Go), or a longer boundary.
            (State::Delimited | State::DelimitedCr | State::DelimitedDash, _) => {
                return invalid(Reason::DelimiterLine);
            }

            // Most servers ignore what follows. But Go requires a line end here; Django does not
            // look for the `--` and reads one more part, if there is one; and Tornado looks for the
            // last close delimiter. streaming-form-data reads no field before an empty
            // line. No client sends an epilogue.
            (State::Closed, b'\r') => State::ClosedCr,
            (State::ClosedCr, b'\n') => State::Epilogue,
            (State::Closed | State::ClosedCr | State::Epilogue, _) => {
                return invalid(Reason::AfterClose);
            }

            (&State::Failed(error), _) => return Err(error),
            (State::Head(..) | State::Content, _) => {
                unreachable!("consumed by `head` and `content`")
            }
        };
        Ok(())
    }

    fn opening(&mut self, read: usize, byte: u8) -> Result<(), MultipartError> {
        let delimiter = self.delimiter.needle();
        if delimiter[read] != byte {
            return Err(MultipartError::invalid(Reason::Preamble, self.at));
        }
        self.state = if read + 1 < delimiter.len() {
            State::Opening(read + 1)
        } else {
            self.insertion = Some(self.at + 1 - delimiter.len() as u64);
            State::Delimited
        };
        Ok(())
    }

    /// Consumes at most one line of a head.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, MultipartError> {
        let State::Head(head, start) = &mut self.state else {
            unreachable!("called in a head only")
        };
        let room = MAX_HEAD - (self.at - *start) as usize;
        let bytes = &bytes[..bytes.len().min(room)];
        let line_at = self.at - self.carry.len() as u64;
        let Some(lf) = memchr(b'\n', bytes) else {
            if bytes.len() == room {
                let end = self.at + room as u64;
                return Err(MultipartError::invalid(Reason::HeadTooLong, end));
            }
            self.carry.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        self.carry.extend_from_slice(&bytes[..lf]);
        let Some((b'\r', line)) = self.carry.split_last() else {
            // Go and Werkzeug end a line here, python-multipart does not.
            let at = self.at + lf as u64;
            return Err(MultipartError::invalid(Reason::BareLineEnd, at));
        };
        // Django and Tornado look for delimiters first, wherever they are.
        let delimiter = self.delimiter.find(line);
        if let Some(i) = delimiter.or_else(|| self.lookalikes.split(line)) {
            let at = line_at + i as u64;
            return Err(MultipartError::invalid(Reason::DelimiterInHead, at));
        }
        let end = self.at + lf as u64 + 1;
        if !line.is_empty() {
            head.line(line, line_at)?;
        } else {
            let part = head.finish(line_at)?;
            if part.is_model {
                if self.model != Model::Unseen {
                    return Err(MultipartError::new(
                        MultipartErrorKind::DuplicateModel,
                        part.name_at,
                    ));
                }
                self.model = Model::Pending;
                self.model_length = part.content_length;
            }
            self.part = CurrentPart {
                start: end,
                end: None,
                is_model: part.is_model,
                content_length: part.content_length,
            };
            self.lookalikes.begin(part.is_model);
            self.broken.reset();
            self.state = State::Content;
        }
        self.carry.clear();
        Ok(lf + 1)
    }

    /// Consumes content up to the next `--boundary`, which must be a delimiter's.
    fn content(&mut self, bytes: &[u8]) -> Result<usize, MultipartError> {
        let found = self.search(bytes);
        self.check_lookalikes(bytes, found)?;
        if self.part.is_model {
            self.check_model_len(bytes, found)?;
        }
        let Some((dashes, before)) = found else {
            self.carry_over(bytes);
            return Ok(bytes.len());
        };
        // Delimiters stand on a line of their own, and nothing else may contain the boundary (RFC
        // 2046, section 5.1.1). Readers differ if it does: Werkzeug accepts a bare LF or CR before
        // it, PHP a bare LF, Django and Tornado anything, and Go and Werkzeug a delimiter right
        // after the head.
        if before != *b"\r\n" {
            return Err(MultipartError::invalid(Reason::DelimiterInContent, dashes));
        }
        self.part.end = Some(dashes - 2);
        self.carry.clear();
        self.state = State::Delimited;
        Ok((dashes + self.delimiter.needle().len() as u64 - self.at) as usize)
    }

    /// Returns the offset of the first `--boundary` that ends in `bytes`, and the two bytes of
    /// content before it (zeros if there are fewer).
    fn search(&mut self, bytes: &[u8]) -> Option<(u64, [u8; 2])> {
        let carried = self.carry.len();
        let across = bytes.len().min(self.delimiter.needle().len() - 1);
        self.carry.extend_from_slice(&bytes[..across]);
        let (i, carried) = match self.delimiter.find(&self.carry) {
            Some(i) => (i, carried),
            None => (carried + self.delimiter.find(bytes)?, carried),
        };
        // `carry` reaches past the start of `bytes`, and two bytes further back than a match.
        let byte = |i: usize| match i.checked_sub(carried) {
            Some(k) => bytes[k],
            None => self.carry[i],
        };
        let before = match i {
            0 | 1 => [0; 2],
            _ => [byte(i - 2), byte(i - 1)],
        };
        Some((self.at + i as u64 - carried as u64, before))
    }

    /// Carries the end of the content over to the next frame: a possible start of `--boundary`, and
    /// the two bytes before it. `search` has appended the first of `bytes` already.
    fn carry_over(&mut self, bytes: &[u8]) {
        let needle = self.delimiter.needle().len();
        let keep = needle + 1;
        if bytes.len() >= keep {
            self.carry.clear();
            self.carry.extend_from_slice(&bytes[bytes.len() - keep..]);
        } else {
            let appended = bytes.len().min(needle - 1);
            self.carry.extend_from_slice(&bytes[appended..]);
            let surplus = self.carry.len().saturating_sub(keep);
            self.carry.drain(..surplus);
        }
    }

    /// Rejects content with what some reader takes for a delimiter. If there is one, what ends before
    /// its last byte comes first, as it does if the form is cut there.
    fn check_lookalikes(
        &mut self,
        bytes: &[u8],
        found: Option<(u64, [u8; 2])>,
    ) -> Result<(), MultipartError> {
        let before_last = self.delimiter.needle().len() as u64 - 1;
        let mut end = found.map_or(u64::MAX, |(dashes, _)| dashes + before_last);
        if self.part.is_model {
            end = end.min(self.model_search_end() - 1);
        }
        let len = (bytes.len() as u64).min(end.saturating_sub(self.at));
        let content = &bytes[..len as usize];
        let lookalike = self.lookalikes.find(content, self.at);
        let broken = self.broken.find(content).map(|end| {
            let end = self.at + end as u64;
            end - 1..end
        });
        let found = [lookalike, broken].into_iter().flatten();
        match found.min_by_key(|found| found.end) {
            None => Ok(()),
            Some(found) => Err(MultipartError::invalid(
                Reason::DelimiterInContent,
                found.start,
            )),
        }
    }

    /// Returns the offset at which a model without a delimiter so far is too long.
    fn model_search_end(&self) -> u64 {
        self.part.start + MAX_MODEL + 2 + self.delimiter.needle().len() as u64
    }

    /// Rejects a model as soon as no delimiter can end it in time, however the form is cut.
    fn check_model_len(
        &self,
        bytes: &[u8],
        found: Option<(u64, [u8; 2])>,
    ) -> Result<(), MultipartError> {
        let searched = self.at + bytes.len() as u64;
        let in_time = match found {
            Some((dashes, _)) => dashes <= self.part.start + MAX_MODEL + 2,
            None => searched < self.model_search_end(),
        };
        if in_time {
            Ok(())
        } else {
            let at = self.part.start + MAX_MODEL;
            Err(MultipartError::invalid(Reason::ModelTooLong, at))
        }
    }

    /// Ends the part before a delimiter, if there is one.
    fn end_part(&mut self) -> Result<(), MultipartError> {
        let part = std::mem::take(&mut self.part);
        let Some(end) = part.end else {
            return Ok(());
        };
        if let Some(length) = part.content_length
            && length.value != end - part.start
        {
            // Old versions of aiohttp would look for the delimiter at that length.
            return Err(MultipartError::invalid(Reason::ContentLength, length.start));
        }
        if part.is_model {
            self.model = Model::Value {
                start: part.start,
                end,
            };
        }
        Ok(())
    }
}

/// Checks the boundary: 1 to 70 `bchars` (RFC 2046, section 5.1.1), but no space, comma, single quote
/// or equals sign, and not only dashes.
///
/// aiohttp, Jetty, Rack, CGI.pm, Mojolicious and Python's `email` each read a boundary with one of
/// these in their own way, such as `utf-8''xyz` by RFC 2231, and Sanic finds a boundary of dashes
/// within the dashes of its delimiters.
fn check_boundary(boundary: &[u8]) -> Result<(), MultipartError> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"()+_-./:?".contains(b);
    let bad = match boundary.iter().position(|b| !allowed(b)) {
        Some(i) => i,
        None if boundary.len() > 70 => 70,
        None if boundary.iter().all(|&b| b == b'-') => 0,
        None => return Ok(()),
    };
    Err(MultipartError::invalid(Reason::Boundary, bad as u64))
}
