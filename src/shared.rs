//! The settings and the state that all services of one layer share.

use std::sync::Arc;

use http::HeaderName;

use crate::{
    endpoint::OtherPaths,
    registry::Registry,
    request::{BufferBudget, EndpointTable},
    resolve::Policy,
    response::{IdLookup, RejectionHook, ResponseChanges, ResponseModel},
    telemetry::FallbackWarnings,
};

/// The settings and the state that all services of one layer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) policy: Policy,
    pub(crate) endpoints: EndpointTable,
    pub(crate) other_paths: OtherPaths,
    pub(crate) budget: Arc<BufferBudget>,
    pub(crate) id_header: Option<HeaderName>,
    pub(crate) response_headers: bool,
    pub(crate) response_model: ResponseModel,
    pub(crate) rejection_hook: Option<RejectionHook>,
    pub(crate) fallback_warnings: Arc<FallbackWarnings>,
}

impl Shared {
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
