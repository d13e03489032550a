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
/// A document in a file:
///
/// ```
/// use std::path::PathBuf;
/// use tower_model_routing::registry::{
///     FetchFuture, Fetched, Registry, RegistrySource, SourceError,
/// };
///
/// struct File(PathBuf);
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
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let path = std::env::temp_dir().join(format!("models-{}.json", std::process::id()));
/// tokio::fs::write(&path, r#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#).await?;
/// let registry = Registry::builder(File(path.clone())).build()?;
/// assert_eq!(registry.catalog().await?.len(), 1);
/// # tokio::fs::remove_file(path).await?;
/// # Ok(())
/// # }
/// ```
///
/// Rows of a database, by an async function. Equal rows in the same order are an unchanged catalog:
///
/// ```
/// use tower_model_routing::registry::{
///     Catalog, FetchFuture, Fetched, ModelEntry, Registry, RegistrySource, SourceError,
/// };
///
/// /// Stands for a query.
/// async fn active_models() -> std::io::Result<Vec<(String, String)>> {
///     Ok(vec![("venice-uncensored".to_owned(), "0xb603".to_owned())])
/// }
///
/// async fn catalog() -> Result<Fetched, SourceError> {
///     let rows = active_models()
///         .await
///         .map_err(|error| SourceError::new("the query failed").with_source(error))?;
///     let entries = rows.into_iter().map(|(name, id)| ModelEntry::new(name, id));
///     let catalog = Catalog::from_entries(entries)
///         .map_err(|error| SourceError::new("the rows are no catalog").with_source(error))?;
///     Ok(Fetched::catalog(catalog))
/// }
///
/// struct Database;
///
/// impl RegistrySource for Database {
///     fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
///         Box::pin(catalog())
///     }
///
///     fn location(&self) -> String {
///         "the table of models".to_owned()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(Database).build()?;
/// assert!(registry.catalog().await?.find("venice-uncensored").is_some());
/// # Ok(())
/// # }
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

    /// Fetches like [`fetch`](Self::fetch), which it calls by default, but returns an error instead
    /// of a document of more than `max_bytes`.
    ///
    /// The registry calls this method with its
    /// [`max_catalog_bytes`](super::RegistryBuilder::max_catalog_bytes), and checks every document
    /// in any case. Implement it for a source that can stop before it has read all of a document
    /// that is too long, such as one that reads from a network.
    ///
    /// # Errors
    ///
    /// Returns an error if the fetch failed or the document is too long. The registry's catalog
    /// stays in use.
    ///
    /// # Cancel safety
    ///
    /// That of [`fetch`](Self::fetch).
    fn fetch_up_to<'a>(&'a self, etag: Option<&'a str>, max_bytes: usize) -> FetchFuture<'a> {
        let _ = max_bytes;
        self.fetch(etag)
    }

    /// Returns the name of this source in logs, errors and health pages: a URL or a path, without
    /// credentials or query. Called once, when the registry is built.
    fn location(&self) -> String;
}

impl<S: RegistrySource + ?Sized> RegistrySource for Arc<S> {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        (**self).fetch(etag)
    }

    fn fetch_up_to<'a>(&'a self, etag: Option<&'a str>, max_bytes: usize) -> FetchFuture<'a> {
        (**self).fetch_up_to(etag, max_bytes)
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

    /// The document of the catalog. The registry parses a long one on a blocking thread.
    #[non_exhaustive]
    Document {
        /// The document, not parsed yet.
        body: Bytes,
        /// The ETag for the next fetch, with its quotes and `W/`.
        etag: Option<String>,
    },

    /// The catalog, from a source that has entries rather than a document, or shares a catalog
    /// between registries.
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
