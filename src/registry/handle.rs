//! The handle of a registry.

use std::{fmt, sync::Arc};

use super::{
    catalog::Catalog,
    error::{RegistryError, Unavailable},
    policy::{MAX_DURATION, RegistryPolicy},
    refresh::{BoxFuture, CatalogLookup},
    snapshot::Refreshed,
    source::RegistrySource,
    state::Inner,
    stats::RegistryStats,
};

/// A cached copy of a remote registry of models.
///
/// Clones are cheap and share the copy. There is no background loop: requests start the refreshes,
/// each in a task of its own, and at most one is in flight.
///
/// | the catalog is | when | [`Registry::catalog`] |
/// |---|---|---|
/// | fresh | younger than about 80 % of the TTL | returns it |
/// | stale | up to the TTL | returns it, and starts a refresh |
/// | expired | past the TTL, after idling | waits for a refresh, up to [`max_refresh_wait`](super::RegistryBuilder::max_refresh_wait), and returns the newest catalog |
/// | failing | the last refresh failed | returns it, and retries after a backoff that doubles from 1 s to 60 s |
/// | missing | not fetched yet, or older than [`max_stale`](super::RegistryBuilder::max_stale) | waits for the fetch that all callers share |
///
/// If a refresh fails, the catalog stays as it is.
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
/// Refreshes need a Tokio runtime with its timer enabled. Without a runtime they fail, and the
/// catalog stays in use. In a runtime without a timer, waiting for them panics.
///
/// A fetch that was suspended together with its process (as on AWS Lambda between two requests), or
/// whose runtime has stopped, is discarded, as its response is of unknown age. A new fetch replaces
/// it.
#[derive(Clone)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

impl Registry {
    /// Returns a registry whose catalog never changes and never gets stale, for tests and for
    /// models that are known when the program starts.
    ///
    /// It has no source, fetches nothing and needs no runtime. [`refresh`](Self::refresh) returns
    /// [`Refreshed::Unchanged`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::registry::{Catalog, ModelEntry, Registry};
    ///
    /// let catalog = Catalog::from_entries([ModelEntry::new("venice-uncensored", "0xb603")])?;
    /// let registry = Registry::fixed(catalog);
    /// assert_eq!(registry.snapshot().map(|catalog| catalog.len()), Some(1));
    /// assert_eq!(registry.stats().fetches, 0);
    /// # Ok::<(), tower_model_routing::registry::CatalogError>(())
    /// ```
    pub fn fixed(catalog: impl Into<Arc<Catalog>>) -> Self {
        let policy = RegistryPolicy {
            ttl: MAX_DURATION,
            miss_refresh: MAX_DURATION,
            ..RegistryPolicy::default()
        };
        Self {
            inner: Arc::new(Inner::fixed(policy, catalog.into())),
        }
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

    /// Returns the catalog at any age. Waits for nothing and starts nothing.
    ///
    /// Another registry can start with it: see
    /// [`RegistryBuilder::initial_catalog`](super::RegistryBuilder::initial_catalog).
    pub fn snapshot(&self) -> Option<Arc<Catalog>> {
        self.inner.catalog()
    }

    /// Returns the catalog unless it is too old to be used. Waits for nothing and starts nothing.
    pub(crate) fn usable(&self) -> Option<Arc<Catalog>> {
        let snapshot = self.inner.snapshot.load();
        let catalog = snapshot.catalog.as_ref()?;
        let is_usable = snapshot.freshness.usable(super::sync::now());
        is_usable.then(|| Arc::clone(catalog))
    }

    /// Returns the catalog that a request uses: see the table above.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no usable catalog and the last fetch failed.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a Tokio runtime without a timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the fetch, which runs in a task of its own.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Unavailable> {
        match self.look_up() {
            CatalogLookup::Ready(catalog) => Ok(catalog),
            CatalogLookup::Wait(future) => future.await,
            CatalogLookup::Unavailable(error) => Err(error),
        }
    }

    /// Refreshes the catalog at any age, and waits for the result.
    ///
    /// Use it before the first request, and after a change that requests should see at once. It
    /// joins a refresh in flight, whose response may be older than the change: to be sure, refresh
    /// a second time.
    ///
    /// # Errors
    ///
    /// Returns an error if the fetch failed. The last catalog stays in use.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a Tokio runtime without a timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the refresh.
    pub async fn refresh(&self) -> Result<Refreshed, RegistryError> {
        self.inner.refresh().await
    }

    /// Returns the state for health pages and metrics. Starts nothing.
    ///
    /// A health page of an idle server should call [`Registry::catalog`] first, so that it shows
    /// the catalog that requests would use.
    pub fn stats(&self) -> RegistryStats {
        self.inner.stats()
    }

    /// Returns the location of the source, without credentials or query.
    pub fn location(&self) -> &str {
        self.inner.location()
    }

    /// Returns the policy.
    pub fn policy(&self) -> &RegistryPolicy {
        &self.inner.policy
    }

    /// Looks up the catalog for a request. Takes no lock and allocates nothing unless a refresh is
    /// due.
    pub(crate) fn look_up(&self) -> CatalogLookup {
        self.inner.look_up()
    }

    /// Returns a newer catalog for a request whose name is not in the one it has, or `None` if a
    /// refresh is not due.
    pub(crate) fn revalidate_for_miss(&self) -> Option<BoxFuture<Arc<Catalog>>> {
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
