//! What the registry knows at one moment, and what it knows after one fetch
//! more.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Refreshed,
    catalog::{Catalog, sha256},
    error::{BodySniff, FetchFailure, RegistryError},
    freshness::Freshness,
    policy::RegistryPolicy,
    source::Fetched,
};

/// A longer ETag is not worth sending back.
const MAX_ETAG_BYTES: usize = 1024;

/// Immutable: a new one replaces it as a whole.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) catalog: Option<Arc<Catalog>>,
    /// What came with `catalog`.
    pub(super) etag: Option<Arc<str>>,
    pub(super) freshness: Freshness,
    /// What went wrong with the last fetch, if anything.
    pub(super) error: Option<RegistryError>,
}

/// What a fetch that succeeded brought.
#[derive(Debug)]
pub(super) enum Update {
    /// The catalog is the one we have, confirmed just now.
    Unchanged { etag: Option<Arc<str>> },
    /// A catalog that we did not have.
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

    pub(super) fn seeded(catalog: Arc<Catalog>, policy: &RegistryPolicy, now: Instant) -> Self {
        Self {
            catalog: Some(catalog),
            etag: None,
            freshness: Freshness::seeded(policy, now),
            error: None,
        }
    }

    /// The catalog, if a request uses it without a further look.
    pub(super) fn catalog_without_check(&self, now: Instant) -> Option<&Arc<Catalog>> {
        self.catalog
            .as_ref()
            .filter(|_| self.freshness.needs_no_check(now))
    }

    /// What the answer of a source to a fetch with this snapshot's ETag means.
    pub(super) fn read(&self, answer: Fetched) -> Result<Update, FetchFailure> {
        match answer {
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

    /// What a catalog with this SHA-256 means, which is asked for only if it is
    /// not the one we have.
    fn compare(
        &self,
        hash: [u8; 32],
        etag: Option<String>,
        catalog: impl FnOnce() -> Result<Arc<Catalog>, FetchFailure>,
    ) -> Result<Update, FetchFailure> {
        let etag = etag.filter(|etag| can_be_sent(etag)).map(Arc::from);
        let known = self.catalog.as_ref();
        if known.is_some_and(|known| *known.sha256() == hash) {
            return Ok(Update::Unchanged { etag });
        }
        let catalog = catalog()?;
        Ok(Update::Changed { catalog, etag })
    }

    /// The snapshot after a fetch that succeeded.
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

    /// The snapshot after a fetch that failed: the same catalog, and nothing
    /// forgotten.
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

/// Whether an ETag can go back in a header as it is.
fn can_be_sent(etag: &str) -> bool {
    (1..=MAX_ETAG_BYTES).contains(&etag.len()) && http::HeaderValue::from_str(etag).is_ok()
}
