//! The trait of sources, from which registries fetch their catalogs.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;

use super::{catalog::Catalog, error::SourceError};

/// The source from which a [`Registry`](super::Registry) fetches its catalog.
///
/// With the feature `reqwest` there is `ReqwestSource` for HTTP and HTTPS. Another source can read
/// a file, call a contract or serve a test.
///
/// The registry calls a source from a task of its own, with at most one fetch in flight. A
/// panic in a source is a failed fetch.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{FetchFuture, Fetched, RegistrySource, SourceError};
///
/// /// A catalog in a file.
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
pub trait RegistrySource: Send + Sync + 'static {
    /// Fetches the catalog, or confirms that it has not changed.
    ///
    /// `etag` is the one of the registry's catalog, if there is a catalog and it has one. A source
    /// without ETags ignores it.
    ///
    /// # Errors
    ///
    /// Returns an error if the fetch failed. The registry's catalog stays in use.
    ///
    /// # Cancel safety
    ///
    /// The registry drops the future after
    /// [`fetch_timeout`](super::RegistryBuilder::fetch_timeout), and when its last handle is
    /// dropped.
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a>;

    /// Returns the name of this source in logs, errors and health pages: a URL or a path, without
    /// credentials or query. Called once, when the registry is built.
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

/// The future of [`RegistrySource::fetch`].
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Fetched, SourceError>> + Send + 'a>>;

/// The result of [`RegistrySource::fetch`].
#[derive(Clone)]
#[non_exhaustive]
pub enum Fetched {
    /// The catalog is the one whose ETag was passed. An error if none was passed.
    NotModified,

    /// The document of the catalog.
    #[non_exhaustive]
    Document {
        /// The document, not parsed yet.
        body: Bytes,
        /// The ETag for the next fetch, with its quotes and `W/`.
        etag: Option<String>,
    },

    /// The parsed catalog, from a source that shares it between registries or parses a very long
    /// one on a blocking thread.
    #[non_exhaustive]
    Catalog {
        /// The catalog. If its [`Catalog::sha256`] is the one of the registry's catalog, it counts
        /// as unchanged.
        catalog: Arc<Catalog>,
        /// The ETag for the next fetch, as in [`Fetched::Document`].
        etag: Option<String>,
    },
}

impl Fetched {
    /// Returns a document without an ETag.
    pub fn document(body: impl Into<Bytes>) -> Self {
        Self::Document {
            body: body.into(),
            etag: None,
        }
    }

    /// Returns a catalog without an ETag.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::registry::{Catalog, Fetched, SourceError};
    ///
    /// /// Parses a long document on a blocking thread.
    /// async fn parse(document: Vec<u8>) -> Result<Fetched, SourceError> {
    ///     let parse = tokio::task::spawn_blocking(move || Catalog::parse(&document));
    ///     match parse.await {
    ///         Ok(Ok(catalog)) => Ok(Fetched::catalog(catalog)),
    ///         Ok(Err(error)) => Err(SourceError::new("not a catalog").with_source(error)),
    ///         Err(error) => Err(SourceError::new("not parsed").with_source(error)),
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let document = br#"{"models":[{"Id":"0xb603","Name":"venice-uncensored"}]}"#;
    /// # assert!(matches!(parse(document.to_vec()).await, Ok(Fetched::Catalog { .. })));
    /// # }
    /// ```
    pub fn catalog(catalog: impl Into<Arc<Catalog>>) -> Self {
        Self::Catalog {
            catalog: catalog.into(),
            etag: None,
        }
    }

    /// Sets the ETag. [`Fetched::NotModified`] has none.
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
            // An unparsed document may contain secrets.
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
