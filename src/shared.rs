//! The settings and the state that all services of one layer share.

use std::sync::Arc;

use http::HeaderName;

use crate::{
    endpoint::OtherPaths,
    registry::Registry,
    request::{BufferBudget, EndpointTable, UriTemplates},
    resolve::Policy,
    response::{RejectionHook, ResponseModel},
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
    pub(crate) response_headers: bool,
    pub(crate) response_model: ResponseModel,
    pub(crate) rejection_hook: Option<RejectionHook>,
}
