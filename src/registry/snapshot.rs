//! The immutable state of a registry between two fetches.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use super::{
    catalog::{Catalog, sha256},
    error::{BodySniff, FetchFailure, RegistryError},
    freshness::Freshness,
    policy::RegistryPolicy,
    source::Fetched,
};

/// The longest ETag that is sent back.
const MAX_ETAG_BYTES: usize = 1024;

/// The state between two fetches. Each fetch replaces it as a whole.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) catalog: Option<Arc<Catalog>>,
    /// The ETag of `catalog`.
    pub(super) etag: Option<Arc<str>>,
    pub(super) freshness: Freshness,
    /// The error of the last fetch, if it failed.
    pub(super) error: Option<RegistryError>,
}

/// The result of a successful refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refreshed {
    /// There is a new catalog.
    Changed,
    /// The catalog was confirmed.
    Unchanged,
}

impl Refreshed {
    /// Returns `changed` or `unchanged`.
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

/// The result of a successful fetch.
#[derive(Debug)]
pub(super) enum Update {
    /// The catalog was confirmed.
    Unchanged { etag: Option<Arc<str>> },
    /// There is a new catalog.
    Changed {
        catalog: Arc<Catalog>,
        etag: Option<Arc<str>>,
    },
}

impl Update {
    pub(super) fn kind(&self) -> Refreshed {
        match self {
            Self::Unchanged { .. } => Refreshed::Unchanged,
            Self::Changed { .. } => Refreshed::Changed,
        }
    }
}

impl Snapshot {
    pub(super) fn cold() -> Self {
        Self {
            catalog: None,
            etag: None,
            freshness: Freshness::cold(),
            error: None,
        }
    }

    /// Returns the snapshot with an initial catalog, whose age is unknown.
    pub(super) fn seeded(catalog: Arc<Catalog>, policy: &RegistryPolicy, now: Instant) -> Self {
        Self {
            catalog: Some(catalog),
            freshness: Freshness::seeded(policy, now),
            ..Self::cold()
        }
    }

    /// Returns the snapshot with a catalog that is as if fetched now.
    pub(super) fn validated(catalog: Arc<Catalog>, policy: &RegistryPolicy, now: Instant) -> Self {
        let update = Update::Changed {
            catalog,
            etag: None,
        };
        Self::cold().after(update, policy, now, 0.0)
    }

    /// Returns the catalog if a request uses it and starts nothing.
    pub(super) fn catalog_without_check(&self, now: Instant) -> Option<&Arc<Catalog>> {
        self.catalog
            .as_ref()
            .filter(|_| self.freshness.needs_no_check(now))
    }

    /// Returns what a fetch with this snapshot's ETag changes.
    pub(super) fn update(&self, fetched: Fetched) -> Result<Update, FetchFailure> {
        match fetched {
            Fetched::NotModified if self.etag.is_none() => Err(FetchFailure::UnexpectedNotModified),
            Fetched::NotModified => Ok(Update::Unchanged {
                etag: self.etag.clone(),
            }),
            Fetched::Document { body, etag } => {
                let hash = sha256(&body);
                self.compare(hash, etag, || {
                    let catalog = Catalog::parse_hashed(&body, hash);
                    catalog
                        .map(Arc::new)
                        .map_err(|error| FetchFailure::InvalidCatalog(BodySniff::of(&body), error))
                })
            }
            Fetched::Catalog { catalog, etag } => {
                self.compare(*catalog.sha256(), etag, || Ok(catalog))
            }
        }
    }

    /// Compares the hash, and calls `catalog` only if it is a new one.
    fn compare(
        &self,
        hash: [u8; 32],
        etag: Option<String>,
        catalog: impl FnOnce() -> Result<Arc<Catalog>, FetchFailure>,
    ) -> Result<Update, FetchFailure> {
        let etag = etag.filter(|etag| is_sendable(etag)).map(Arc::from);
        let current = self.catalog.as_ref();
        if current.is_some_and(|current| *current.sha256() == hash) {
            return Ok(Update::Unchanged { etag });
        }
        let catalog = catalog()?;
        Ok(Update::Changed { catalog, etag })
    }

    /// Returns the snapshot after a successful fetch.
    pub(super) fn after(
        &self,
        update: Update,
        policy: &RegistryPolicy,
        now: Instant,
        chance: f64,
    ) -> Self {
        let (catalog, etag) = match update {
            Update::Unchanged { etag } => (self.catalog.clone(), etag),
            Update::Changed { catalog, etag } => (Some(catalog), etag),
        };
        Self {
            catalog,
            etag,
            freshness: self.freshness.validated(policy, now, chance),
            error: None,
        }
    }

    /// Returns the snapshot after a failed fetch, with the same catalog and ETag.
    pub(super) fn after_failure(
        &self,
        error: RegistryError,
        policy: &RegistryPolicy,
        now: Instant,
        chance: f64,
    ) -> Self {
        Self {
            catalog: self.catalog.clone(),
            etag: self.etag.clone(),
            freshness: self.freshness.failed(policy, now, chance),
            error: Some(error),
        }
    }
}

/// Returns whether an ETag can be sent in a header.
fn is_sendable(etag: &str) -> bool {
    (1..=MAX_ETAG_BYTES).contains(&etag.len()) && http::HeaderValue::from_str(etag).is_ok()
}
