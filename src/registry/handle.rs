//! The handle of a registry.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::{
    Catalog, RegistryBuilder, RegistryError, RegistryPolicy, RegistrySource, RegistryStats,
    Unavailable, refresh::Inner,
};

/// A cached copy of a remote registry of models.
///
/// Clones are cheap and share one copy. There is no background task: requests
/// themselves start the refreshes, in tasks of their own, and never two at a
/// time.
///
/// | the catalog is | when | what [`Registry::catalog`] does |
/// |---|---|---|
/// | fresh | younger than about 80 % of the TTL | returns it |
/// | stale | up to the TTL | returns it, and starts a refresh |
/// | expired | past the TTL, after idling | waits for a refresh, but not long, and returns what there is |
/// | failing | the last refresh failed | returns it; tries again after a pause of 1 s that doubles up to 60 s |
/// | missing | not fetched yet, or older than [`RegistryBuilder::max_stale`] | waits for the one fetch all callers share |
///
/// A refresh that fails in any way leaves the catalog as it was.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{FetchFuture, Fetched, Registry, RegistrySource};
///
/// struct Fixed;
///
/// impl RegistrySource for Fixed {
///     fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
///         let document = br#"{"models":[{"Id":"0xb603","Name":"venice-uncensored"}]}"#;
///         Box::pin(async { Ok(Fetched::document(&document[..])) })
///     }
///
///     fn location(&self) -> String {
///         "a fixed catalog".to_owned()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(Fixed).build()?;
/// let catalog = registry.catalog().await?;
/// let found = catalog.find("Venice-Uncensored").expect("it is in the catalog");
/// assert_eq!(found.entry.id(), "0xb603");
/// assert_eq!(registry.stats().fetches, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Runtime
///
/// Refreshes need a Tokio runtime with its timer enabled. Where there is no
/// runtime, they fail like any other refresh, and the catalog at hand goes on
/// being used; where there is one without a timer, waiting for them panics.
///
/// A fetch that was suspended together with its process, as on AWS Lambda
/// between two requests, or whose runtime nobody drives any more, counts for
/// nothing: what it brings is of unknown age, and a new one takes its place.
#[derive(Clone)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

/// What a refresh that succeeded has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refreshed {
    /// A catalog that we did not have.
    Changed,
    /// A confirmation of the one we had.
    Unchanged,
}

impl Refreshed {
    /// `changed` or `unchanged`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Registry {
    /// Returns a builder of a registry with this source.
    ///
    /// An `Arc` of a source is a source too, so that several registries can share one.
    pub fn builder(source: impl RegistrySource) -> RegistryBuilder {
        RegistryBuilder::new(Arc::new(source))
    }

    /// Returns a registry with a policy that is valid.
    pub(super) fn from_parts(
        source: Arc<dyn RegistrySource>,
        policy: RegistryPolicy,
        initial_catalog: Option<Arc<Catalog>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner::new(source, policy, initial_catalog)),
        }
    }

    /// The catalog as it is now, whatever its age. Waits for nothing and starts
    /// nothing.
    pub fn snapshot(&self) -> Option<Arc<Catalog>> {
        self.inner.catalog()
    }

    /// The catalog as a request gets it: see the table above.
    ///
    /// # Errors
    ///
    /// There is no catalog that may be used, and the fetch for one has failed
    /// just now.
    ///
    /// # Cancel safety
    ///
    /// The fetch runs in a task of its own. Dropping this future stops the
    /// waiting only.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Unavailable> {
        match self.acquire() {
            CatalogLookup::Ready(catalog) => Ok(catalog),
            CatalogLookup::Wait(future) => future.await,
            CatalogLookup::Unavailable(error) => Err(error),
        }
    }

    /// Refreshes the catalog now, whatever its age, and waits for the result.
    ///
    /// Good before the first request, and after a change that should be seen
    /// at once. Joins a refresh under way, if there is one, whose answer may be
    /// older than a change made just now: to be sure of seeing it, refresh once
    /// more.
    ///
    /// # Errors
    ///
    /// The catalog could not be fetched. The one there was stays in use.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future stops the waiting only; the refresh goes on.
    pub async fn refresh(&self) -> Result<Refreshed, RegistryError> {
        self.inner.refresh().await
    }

    /// Numbers for health pages and metrics.
    ///
    /// Starts nothing. A health page on a server that no requests reach should
    /// call [`Registry::catalog`] first, so that the catalog it speaks of is
    /// one that requests would get.
    pub fn stats(&self) -> RegistryStats {
        self.inner.stats()
    }

    /// Where the catalog comes from, without credentials or query.
    pub fn location(&self) -> &str {
        self.inner.location()
    }

    /// The policy this registry was made with.
    pub fn policy(&self) -> &RegistryPolicy {
        &self.inner.policy
    }

    /// The catalog for a request. Synchronous, and without a lock or an
    /// allocation, unless a refresh is due.
    pub(crate) fn acquire(&self) -> CatalogLookup {
        self.inner.acquire()
    }

    /// The catalog for a request whose name is not in the one it has: a newer
    /// one to wait for, or `None` when there is none to be had.
    pub(crate) fn revalidate_for_miss(
        &self,
    ) -> Option<Pin<Box<dyn Future<Output = Arc<Catalog>> + Send>>> {
        self.inner.revalidate_for_miss()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("location", &self.location())
            .field("policy", self.policy())
            .field("models", &self.snapshot().map(|catalog| catalog.len()))
            .finish()
    }
}

/// What a request gets from the registry.
pub(crate) enum CatalogLookup {
    /// A catalog.
    Ready(Arc<Catalog>),
    /// A catalog or an error, later.
    Wait(Pin<Box<dyn Future<Output = Result<Arc<Catalog>, Unavailable>> + Send>>),
    /// No catalog, and no sense in waiting.
    Unavailable(Unavailable),
}
