//! The settings and the state that all services of one layer share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::HeaderName;

use crate::{
    endpoint::OtherPaths,
    registry::{Catalog, Registry},
    request::{BufferBudget, EndpointTable, UriTemplates},
    resolve::Policy,
    response::{IdLookup, RejectionHook, ResponseChanges, ResponseModel},
    telemetry::{self, FallbackWarnings},
};

/// The settings and the state that all services of one layer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) policy: Policy,
    pub(crate) endpoints: EndpointTable,
    pub(crate) uri_templates: UriTemplates,
    pub(crate) other_paths: OtherPaths,
    pub(crate) budget: Arc<BufferBudget>,
    pub(crate) id_header: Option<HeaderName>,
    pub(crate) name_header: Option<HeaderName>,
    /// Both of these headers, which clients must not send.
    pub(crate) model_headers: Arc<[HeaderName]>,
    pub(crate) response_headers: bool,
    pub(crate) response_model: ResponseModel,
    pub(crate) rejection_hook: Option<RejectionHook>,
    pub(crate) fallback_warnings: Arc<FallbackWarnings>,
    /// A part of the hash of the last catalog that the aliases were compared with.
    pub(crate) checked_catalog: AtomicU64,
}

impl Shared {
    /// Warns, once for each catalog, of aliases whose models it does not have.
    pub(crate) fn warn_of_absent_aliases(&self, catalog: &Catalog) {
        let [a, b, c, d, e, f, g, h, ..] = *catalog.sha256();
        let hash = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        // Relaxed: the hash guards no other memory.
        if self.checked_catalog.load(Ordering::Relaxed) != hash
            && self.checked_catalog.swap(hash, Ordering::Relaxed) != hash
        {
            for (alias, model) in self.policy.aliases.unresolved(catalog) {
                telemetry::alias_absent(alias, model);
            }
        }
    }

    /// Returns the changes to the response of a request that goes on unchanged, to an endpoint whose
    /// events have this key. `None` if the response passes as it is.
    pub(crate) fn unrouted_changes(
        &self,
        event_model_parent: Option<&'static str>,
    ) -> Option<ResponseChanges> {
        (self.response_model != ResponseModel::Unchanged).then(|| {
            ResponseChanges::Unrouted(IdLookup {
                registry: self.registry.clone(),
                // `GET /v1/responses/{id}?stream=true` has the events of `/v1/responses`.
                event_model_parent: event_model_parent.or(Some("response")),
            })
        })
    }
}
