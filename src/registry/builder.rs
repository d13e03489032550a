//! The builder of a registry: its source, its policy and its first catalog.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    catalog::Catalog,
    handle::Registry,
    policy::{PolicyError, RegistryPolicy},
    source::RegistrySource,
};

/// A builder of a [`Registry`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_model_routing::registry::{FetchFuture, Registry, RegistrySource};
///
/// # struct Source;
/// # impl RegistrySource for Source {
/// #     fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
/// #         Box::pin(std::future::pending())
/// #     }
/// #     fn location(&self) -> String {
/// #         "nowhere".to_owned()
/// #     }
/// # }
/// let registry = Registry::builder(Source)
///     .ttl(Duration::from_secs(60))
///     .max_stale(Duration::from_secs(24 * 60 * 60))
///     .build()?;
/// assert_eq!(registry.policy().ttl, Duration::from_secs(60));
///
/// let error = Registry::builder(Source).ttl(Duration::ZERO).build().unwrap_err();
/// assert_eq!(error.setting(), "ttl");
/// # Ok::<(), tower_model_routing::registry::PolicyError>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct RegistryBuilder {
    source: Arc<dyn RegistrySource>,
    policy: RegistryPolicy,
    initial_catalog: Option<Arc<Catalog>>,
}

impl Registry {
    /// Returns a builder of a registry with this source.
    ///
    /// An `Arc` of a source is a source too, so that several registries can share one.
    pub fn builder(source: impl RegistrySource) -> RegistryBuilder {
        RegistryBuilder::new(Arc::new(source))
    }
}

impl RegistryBuilder {
    /// Returns a builder with the default policy and no initial catalog.
    pub(crate) fn new(source: Arc<dyn RegistrySource>) -> Self {
        Self {
            source,
            policy: RegistryPolicy::default(),
            initial_catalog: None,
        }
    }

    /// Sets all settings of the policy at once.
    pub(crate) fn policy(mut self, policy: RegistryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how long a catalog is used after it was last fetched or confirmed.
    ///
    /// The default is 300 s. The catalog is refreshed in the background from about 80 % of this age
    /// on, so that no request waits under steady traffic. The first refresh after many failures in
    /// a row may come from 30 % on, so that gateways that waited for the same source spread out.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl;
        self
    }

    /// Sets the timeout of one fetch. The default is 10 s.
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.policy.fetch_timeout = timeout;
        self
    }

    /// Sets the age at which the catalog is refreshed for a name that is not in it, and the least
    /// time between two such refreshes.
    ///
    /// The default is 10 s. With zero every unknown name waits for a fetch.
    pub fn miss_refresh(mut self, age: Duration) -> Self {
        self.policy.miss_refresh = age;
        self
    }

    /// Sets how long a request waits for a refresh if there is an older catalog to use, counted
    /// from the start of the fetch. The default is 2 s.
    pub fn max_refresh_wait(mut self, wait: Duration) -> Self {
        self.policy.max_refresh_wait = wait;
        self
    }

    /// Sets the age from which on a catalog is not used even if it cannot be refreshed.
    ///
    /// The default is `None`: the last good catalog is used until there is a newer one.
    pub fn max_stale(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.policy.max_stale = age.into();
        self
    }

    /// Sets the length from which on a document is rejected, so that the fetch fails. The default is
    /// 8 MiB.
    ///
    /// A document of more than 100,000 entries is rejected at any length.
    pub fn max_catalog_bytes(mut self, bytes: usize) -> Self {
        self.policy.max_catalog_bytes = bytes;
        self
    }

    /// Sets a catalog to start with, so that not even the first requests wait for a fetch.
    ///
    /// Its age is unknown: the first request refreshes it in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::registry::{Catalog, FetchFuture, Registry, RegistrySource};
    ///
    /// # struct Source;
    /// # impl RegistrySource for Source {
    /// #     fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
    /// #         Box::pin(std::future::pending())
    /// #     }
    /// #     fn location(&self) -> String {
    /// #         "nowhere".to_owned()
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let document = br#"{"models":[{"Id":"0xb603","Name":"venice-uncensored"}]}"#;
    /// let catalog = Catalog::parse(document)?;
    /// let registry = Registry::builder(Source).initial_catalog(catalog).build()?;
    /// assert_eq!(registry.catalog().await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn initial_catalog(mut self, catalog: impl Into<Arc<Catalog>>) -> Self {
        self.initial_catalog = Some(catalog.into());
        self
    }

    /// Checks the settings and returns the registry. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// Returns an error that names the setting and its bounds if a duration is out of them: at most
    /// a year, at least 1 ms for `ttl` and `fetch_timeout`, and at least `ttl` for `max_stale`.
    pub fn build(self) -> Result<Registry, PolicyError> {
        self.policy.validate()?;
        Ok(Registry::from_parts(
            self.source,
            self.policy,
            self.initial_catalog,
        ))
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("source", &self.source.location())
            .field("policy", &self.policy)
            .field("initial_catalog", &self.initial_catalog)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::registry::FetchFuture;

    struct Nowhere;

    impl RegistrySource for Nowhere {
        fn fetch<'a>(&'a self, _: Option<&'a str>) -> FetchFuture<'a> {
            Box::pin(pending())
        }

        fn location(&self) -> String {
            "nowhere".into()
        }
    }

    #[test]
    fn rejects_durations_out_of_bounds() {
        type Setter = fn(RegistryBuilder, Duration) -> RegistryBuilder;
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let millisecond = Duration::from_millis(1);
        let ttl = RegistryPolicy::default().ttl;
        let settings: [(&str, Setter, Duration); 5] = [
            ("ttl", RegistryBuilder::ttl, millisecond),
            ("fetch_timeout", RegistryBuilder::fetch_timeout, millisecond),
            (
                "miss_refresh",
                RegistryBuilder::miss_refresh,
                Duration::ZERO,
            ),
            (
                "max_refresh_wait",
                RegistryBuilder::max_refresh_wait,
                Duration::ZERO,
            ),
            ("max_stale", RegistryBuilder::max_stale, ttl),
        ];
        for (setting, set, min) in settings {
            let build = |value| set(Registry::builder(Nowhere), value).build();
            assert!(build(min).is_ok() && build(year).is_ok(), "{setting}");
            let too_long = year + Duration::from_nanos(1);
            let too_short = min.checked_sub(Duration::from_nanos(1));
            for value in [Some(too_long), too_short].into_iter().flatten() {
                let error = build(value).unwrap_err();
                assert_eq!(error.setting(), setting);
                assert!(error.to_string().starts_with(setting), "{error}");
            }
        }
    }
}
