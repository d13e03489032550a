//! Why there is no catalog, or no newer one.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

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
    InvalidCatalog(BodyStart, #[source] CatalogError),
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

/// The first few characters of a document, to show what came in place of a
/// catalog.
#[derive(Debug)]
pub(crate) struct BodyStart {
    text: String,
    length: usize,
}

impl BodyStart {
    const CHARS: usize = 40;

    pub(crate) fn of(body: &[u8]) -> Self {
        let head = &body[..body.len().min(4 * Self::CHARS)];
        Self {
            text: String::from_utf8_lossy(head)
                .trim_start()
                .chars()
                .take(Self::CHARS)
                .collect(),
            length: body.len(),
        }
    }
}

impl fmt::Display for BodyStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            0 => f.write_str("it is empty"),
            length => write!(f, "{length} bytes that start with {:?}", self.text),
        }
    }
}

/// Why a [`RegistrySource`](crate::RegistrySource) did not deliver.
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

/// An error and its causes, joined by colons.
struct Report<'a>(&'a dyn Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
