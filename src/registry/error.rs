//! Why there is no catalog, or no newer one.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use super::catalog::CatalogError;

type BoxError = Box<dyn Error + Send + Sync>;

/// There is no usable catalog, and a request cannot wait for one any longer.
#[derive(Debug, Clone)]
pub struct Unavailable {
    retry_after: Duration,
    cause: Option<RegistryError>,
}

impl Unavailable {
    pub(crate) fn new(retry_after: Duration, cause: Option<RegistryError>) -> Self {
        Self { retry_after, cause }
    }

    /// How long the registry holds off before it tries again. Zero when it
    /// would try at once.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// This error and all its causes, for logs.
    pub(crate) fn report(&self) -> impl fmt::Display + '_ {
        Report(self)
    }

    /// What went wrong with the last fetch.
    pub fn cause(&self) -> Option<&RegistryError> {
        self.cause.as_ref()
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no catalog is available")
    }
}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// A fetch of the catalog that failed.
///
/// Cheap to clone: all callers that waited for one fetch share one error. The
/// [`source`](Error::source) chain leads to the cause;
/// [`RegistryError::report`] prints all of it.
#[derive(Clone)]
pub struct RegistryError {
    inner: Arc<Inner>,
}

struct Inner {
    location: Arc<str>,
    failure: FetchFailure,
}

impl RegistryError {
    pub(crate) fn new(location: Arc<str>, failure: FetchFailure) -> Self {
        Self {
            inner: Arc::new(Inner { location, failure }),
        }
    }

    /// The source that was asked, without credentials or query.
    pub fn location(&self) -> &str {
        &self.inner.location
    }

    /// Whether the fetch took longer than the policy allows.
    pub fn is_timeout(&self) -> bool {
        matches!(self.inner.failure, FetchFailure::Timeout(_))
    }

    /// Whether the source answered with something that is not a usable catalog.
    pub fn is_invalid_catalog(&self) -> bool {
        matches!(self.inner.failure, FetchFailure::InvalidCatalog(..))
    }

    /// This error and all its causes in one line, for logs and health pages.
    ///
    /// Control characters are escaped, and the line is cut off after 1,024
    /// characters: a part of it may be another server's text.
    pub fn report(&self) -> impl fmt::Display + '_ {
        Report(self)
    }
}

impl fmt::Debug for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryError")
            .field("location", &self.inner.location)
            .field("failure", &self.inner.failure)
            .finish()
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the catalog could not be fetched from {}",
            self.inner.location
        )
    }
}

impl Error for RegistryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.inner.failure)
    }
}

/// The ways in which a fetch fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchFailure {
    #[error(transparent)]
    Source(SourceError),
    #[error("no complete answer within {0:?}: is the registry reachable from here?")]
    Timeout(Duration),
    #[error("the answer is not a usable catalog ({0})")]
    InvalidCatalog(BodySniff, #[source] CatalogError),
    #[error("the source said that the catalog had not changed, but it was not asked that")]
    UnexpectedNotModified,
    #[error("the fetch panicked; the message is on stderr")]
    Panicked,
    #[error("the fetch was cut off: the Tokio runtime that ran it was shut down")]
    CutOff,
    #[error(
        "the fetch took far too long: was this process suspended, or its Tokio runtime stopped?"
    )]
    Overdue,
    #[error("the fetch could not be started: there is no Tokio runtime here")]
    NoRuntime,
}

/// What came in place of a catalog. Not its text: an answer from a wrong place
/// may have anything in it.
#[derive(Debug)]
pub(crate) struct BodySniff {
    looks_like: &'static str,
    length: usize,
}

impl BodySniff {
    pub(crate) fn of(body: &[u8]) -> Self {
        let looks_like = match body.trim_ascii_start() {
            [] => "nothing but white space",
            [b'<', ..] => "HTML or XML, perhaps a page to sign in",
            [b'{', ..] => "a JSON object",
            [b'[', ..] => "a JSON array",
            [0x1f, 0x8b, ..] => "gzip",
            _ => "neither JSON nor HTML",
        };
        Self {
            looks_like,
            length: body.len(),
        }
    }
}

impl fmt::Display for BodySniff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            0 => f.write_str("it is empty"),
            length => write!(f, "{length} bytes that look like {}", self.looks_like),
        }
    }
}

/// Why a [`RegistrySource`](super::RegistrySource) did not deliver.
///
/// The message must not contain credentials: it ends up in logs and on health
/// pages.
#[derive(Debug)]
pub struct SourceError {
    message: Cow<'static, str>,
    cause: Option<BoxError>,
}

impl SourceError {
    /// An error that says what went wrong and, at best, what to check.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            cause: None,
        }
    }

    /// The same error with the one that caused it.
    #[must_use]
    pub fn with_source(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error and its causes, joined by colons, in one line.
struct Report<'a>(&'a dyn Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = OneLineWriter { f, room: 1024 };
        write!(line, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(line, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Takes text of any kind, and writes one line of bounded length.
struct OneLineWriter<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    /// How many more characters are written.
    room: usize,
}

impl fmt::Write for OneLineWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // These two need no escape, unlike in a literal.
            let is_plain = matches!(c, '"' | '\'');
            let len = if is_plain {
                1
            } else {
                c.escape_debug().count()
            };
            if self.room <= len {
                if self.room > 0 {
                    self.f.write_char('…')?;
                }
                self.room = 0;
                return Ok(());
            }
            match is_plain {
                true => self.f.write_char(c)?,
                false => write!(self.f, "{}", c.escape_debug())?,
            }
            self.room -= len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: impl Into<Cow<'static, str>>) -> String {
        let location = Arc::from("somewhere");
        let failure = FetchFailure::Source(SourceError::new(message));
        RegistryError::new(location, failure).report().to_string()
    }

    #[test]
    fn a_report_is_one_line_of_bounded_length() {
        let line = report("it's \"a\"\n\u{1b}[31mb\u{2028}\u{202e}\r\0é");
        let expected = r#"it's "a"\n\u{1b}[31mb\u{2028}\u{202e}\r\0é"#;
        assert!(line.ends_with(expected), "{line}");
        let line = report("é".repeat(1 << 20));
        assert_eq!(line.chars().count(), 1024);
        assert!(line.ends_with("é…"));
        let line = report("\u{202e}".repeat(2000));
        assert!(line.len() <= 1024 + '…'.len_utf8(), "{}", line.len());
        assert!(line.ends_with("\\u{202e}…"));
    }

    #[test]
    fn what_came_in_place_of_a_catalog_is_told_without_its_text() {
        for (body, expected) in [
            ("", "it is empty"),
            (" ", "1 bytes that look like nothing but white space"),
            ("\n<html>secret", "HTML or XML"),
            ("{secret", "a JSON object"),
            ("[secret", "a JSON array"),
            ("secret", "neither JSON nor HTML"),
        ] {
            let kind = BodySniff::of(body.as_bytes());
            assert!(kind.to_string().contains(expected), "{kind}");
            assert!(!format!("{kind} {kind:?}").contains("secret"));
        }
    }
}
