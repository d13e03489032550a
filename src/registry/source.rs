//! Where the catalog comes from.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;

use super::{catalog::Catalog, error::SourceError};

/// Where a [`Registry`](super::Registry) gets its catalog from.
///
/// With the feature `reqwest` there is [`ReqwestSource`](super::ReqwestSource)
/// for HTTP and HTTPS. A source of your own can read a file, call a contract,
/// or serve a test:
///
/// ```
/// use tower_model_routing::registry::{FetchFuture, Fetched, RegistrySource, SourceError};
///
/// struct File(std::path::PathBuf);
///
/// impl RegistrySource for File {
///     fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
///         Box::pin(async {
///             let body = tokio::fs::read(&self.0).await.map_err(|error| {
///                 SourceError::new("the catalog cannot be read").with_source(error)
///             })?;
///             Ok(Fetched::document(body))
///         })
///     }
///
///     fn location(&self) -> String {
///         self.0.display().to_string()
///     }
/// }
/// ```
///
/// The registry calls a source from a task of its own, once at a time, and
/// drops the future when it takes longer than
/// [`RegistryBuilder::fetch_timeout`](super::RegistryBuilder::fetch_timeout) or when nobody
/// holds the registry any more. A source that panics counts as one that failed.
pub trait RegistrySource: Send + Sync + 'static {
    /// Fetches the catalog's document, or learns that it is still the one that
    /// the registry has.
    ///
    /// `etag` is what the last answer with a catalog carried, and `None` when it
    /// carried none or there is no catalog yet; a source that knows no such
    /// thing ignores it.
    ///
    /// # Errors
    ///
    /// Anything that keeps the source from answering. The registry goes on with
    /// the catalog it has.
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a>;

    /// What to call this source in logs, errors and health pages: a URL or a
    /// path, without credentials and without a query. Asked once, when the
    /// registry is made.
    fn location(&self) -> String;
}

impl<S: RegistrySource + ?Sized> RegistrySource for Arc<S> {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        (**self).fetch(etag)
    }

    fn location(&self) -> String {
        (**self).location()
    }
}

/// What [`RegistrySource::fetch`] returns.
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Fetched, SourceError>> + Send + 'a>>;

/// The answer of a [`RegistrySource`].
#[derive(Clone)]
#[non_exhaustive]
pub enum Fetched {
    /// The catalog is the one whose ETag was sent. Without an ETag sent, this
    /// is a failure.
    NotModified,

    /// The catalog, as it was published.
    #[non_exhaustive]
    Document {
        /// The document as it came, not yet parsed.
        body: Bytes,
        /// What to send as `If-None-Match` with the next fetch, as it came:
        /// quotes, `W/` and all.
        etag: Option<String>,
    },

    /// The catalog, parsed already: by a source that shares it among several
    /// registries, or that does not want the parsing of a very long one to keep
    /// a worker of the runtime busy.
    #[non_exhaustive]
    Catalog {
        /// The catalog. It counts as the one that the registry has when their
        /// [`Catalog::sha256`] is the same.
        catalog: Arc<Catalog>,
        /// As in [`Fetched::Document`].
        etag: Option<String>,
    },
}

impl Fetched {
    /// A document without an ETag.
    pub fn document(body: impl Into<Bytes>) -> Self {
        Self::Document {
            body: body.into(),
            etag: None,
        }
    }

    /// A catalog without an ETag.
    ///
    /// ```
    /// use tower_model_routing::registry::{Catalog, Fetched, SourceError};
    ///
    /// /// Parses a long list where it keeps no request waiting.
    /// async fn parsed(document: Vec<u8>) -> Result<Fetched, SourceError> {
    ///     let parse = tokio::task::spawn_blocking(move || Catalog::parse(&document));
    ///     match parse.await {
    ///         Ok(Ok(catalog)) => Ok(Fetched::catalog(catalog)),
    ///         Ok(Err(error)) => Err(SourceError::new("the list is no catalog").with_source(error)),
    ///         Err(error) => Err(SourceError::new("the list was not parsed").with_source(error)),
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let document = br#"{"models":[{"Id":"0xb603","Name":"venice-uncensored"}]}"#;
    /// # assert!(matches!(parsed(document.to_vec()).await, Ok(Fetched::Catalog { .. })));
    /// # }
    /// ```
    pub fn catalog(catalog: impl Into<Arc<Catalog>>) -> Self {
        Self::Catalog {
            catalog: catalog.into(),
            etag: None,
        }
    }

    /// The same answer with an ETag; nothing changes for
    /// [`Fetched::NotModified`].
    #[must_use]
    pub fn with_etag(self, value: impl Into<String>) -> Self {
        match self {
            Self::NotModified => Self::NotModified,
            Self::Document { body, .. } => Self::Document {
                body,
                etag: Some(value.into()),
            },
            Self::Catalog { catalog, .. } => Self::Catalog {
                catalog,
                etag: Some(value.into()),
            },
        }
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotModified => f.write_str("NotModified"),
            // Nobody knows what is in a document before it is parsed.
            Self::Document { body, etag } => f
                .debug_struct("Document")
                .field("bytes", &body.len())
                .field("etag", etag)
                .finish_non_exhaustive(),
            Self::Catalog { catalog, etag } => f
                .debug_struct("Catalog")
                .field("catalog", catalog)
                .field("etag", etag)
                .finish(),
        }
    }
}
