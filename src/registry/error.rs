//! The errors of fetches, and their reports for logs.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use super::catalog::CatalogError;
use crate::body::BoxError;

/// The error of a request for which there is no usable catalog.
#[derive(Debug, Clone)]
pub struct Unavailable {
    retry_after: Duration,
    cause: Option<RegistryError>,
}

impl Unavailable {
    pub(crate) fn new(retry_after: Duration, cause: Option<RegistryError>) -> Self {
        Self { retry_after, cause }
    }

    /// Returns the time until the registry fetches again. Zero if the next request starts a fetch.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// Returns this error and all its causes in one line, for logs.
    pub(crate) fn report(&self) -> impl fmt::Display + '_ {
        Report(self)
    }

    /// Returns the error of the last fetch.
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

/// The error of a fetch.
///
/// Cheap to clone: all callers that waited for the fetch share it. The [`source`](Error::source)
/// chain leads to the cause, and [`RegistryError::report`] displays all of it.
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

    /// Returns the location of the source, without credentials or query.
    pub fn location(&self) -> &str {
        &self.inner.location
    }

    /// Returns whether the fetch timed out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.inner.failure, FetchFailure::Timeout(_))
    }

    /// Returns whether the source returned something that is not a usable catalog.
    pub fn is_invalid_catalog(&self) -> bool {
        matches!(self.inner.failure, FetchFailure::InvalidCatalog(..))
    }

    /// Returns this error and all its causes in one line, for logs and health pages.
    ///
    /// As a part of it may be another server's text, control characters are escaped and the line is
    /// truncated to 1,024 characters.
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

/// The cause of a failed fetch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchFailure {
    #[error(transparent)]
    Source(SourceError),
    #[error("no complete response within {0:?}: is the registry reachable from here?")]
    Timeout(Duration),
    #[error("the response is not a usable catalog ({0})")]
    InvalidCatalog(BodySniff, #[source] CatalogError),
    #[error("the source reported an unchanged catalog, but was not asked with an ETag")]
    UnexpectedNotModified,
    #[error("the fetch panicked; the message is on stderr")]
    Panicked,
    #[error("the fetch was cut off: the Tokio runtime that ran it was shut down")]
    CutOff,
    #[error("the fetch is overdue: was this process suspended, or its Tokio runtime stopped?")]
    Overdue,
    #[error("the fetch could not be started: there is no Tokio runtime here")]
    NoRuntime,
}

/// The apparent type of a body that is not a catalog. Its text is not shown, as it may be secret.
#[derive(Debug)]
pub(crate) struct BodySniff {
    looks_like: &'static str,
    length: usize,
}

impl BodySniff {
    pub(crate) fn of(body: &[u8]) -> Self {
        let looks_like = match body.trim_ascii_start() {
            [] => "nothing but white space",
            [b'<', ..] => "HTML or XML, perhaps a sign-in page",
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

/// The error of a [`RegistrySource`](super::RegistrySource).
///
/// The message must not contain credentials: it gets into logs and health pages.
#[derive(Debug)]
pub struct SourceError {
    message: Cow<'static, str>,
    cause: Option<BoxError>,
}

impl SourceError {
    /// Returns an error with this message, which should name what to check.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            cause: None,
        }
    }

    /// Returns the error for a document longer than `max_bytes`.
    pub(super) fn too_large(max_bytes: usize) -> Self {
        Self::new(format!(
            "the document is larger than {max_bytes} bytes (`max_catalog_bytes`): is this the \
             location of the active models?"
        ))
    }

    /// Sets the cause.
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

/// The display of an error and its causes in one line, joined by colons.
struct Report<'a>(&'a dyn Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = OneLineWriter { f, remaining: 1024 };
        write!(line, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(line, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A writer that escapes text and truncates it, so that it is one line of bounded length.
struct OneLineWriter<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    /// The number of characters that still fit.
    remaining: usize,
}

impl fmt::Write for OneLineWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // `escape_debug` would escape these two.
            let is_plain = matches!(c, '"' | '\'');
            let len = if is_plain {
                1
            } else {
                c.escape_debug().count()
            };
            if self.remaining <= len {
                if self.remaining > 0 {
                    self.f.write_char('…')?;
                }
                self.remaining = 0;
                return Ok(());
            }
            match is_plain {
                true => self.f.write_char(c)?,
                false => write!(self.f, "{}", c.escape_debug())?,
            }
            self.remaining -= len;
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
    fn report_is_one_line_of_bounded_length() {
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
    fn body_sniff_shows_no_text() {
        for (body, expected) in [
            ("", "it is empty"),
            (" ", "1 bytes that look like nothing but white space"),
            ("\n<html>secret", "HTML or XML"),
            ("{secret", "a JSON object"),
            ("[secret", "a JSON array"),
            ("secret", "neither JSON nor HTML"),
        ] {
            let sniff = BodySniff::of(body.as_bytes());
            assert!(sniff.to_string().contains(expected), "{sniff}");
            assert!(!format!("{sniff} {sniff:?}").contains("secret"));
        }
    }
}
