//! Spans, logs and metrics of inspected requests.
//!
//! Names that a client or the registry chose are sanitized, and recorded as values that subscribers
//! escape. A client's names never become metric labels.

mod fallback_warnings;

#[cfg(feature = "metrics")]
use std::time::Instant;
use std::{borrow::Cow, sync::Arc};

use tracing::{Span, field};

pub(crate) use self::fallback_warnings::FallbackWarnings;
use crate::{resolve::RoutedModel, response::Rejection, text::sanitize_for_log};

/// The target of the span and the events of requests.
///
/// It is documented, so it does not follow from the name of a private module.
const TARGET: &str = "tower_model_routing";

/// The span and the start time of one inspected request.
#[derive(Debug)]
pub(crate) struct RequestTelemetry {
    span: Span,
    operation: Option<&'static str>,
    warnings: Arc<FallbackWarnings>,
    #[cfg(feature = "metrics")]
    started: Instant,
}

impl RequestTelemetry {
    /// Starts the span of a request, for an operation of OpenTelemetry's semantic conventions for
    /// generative AI.
    pub(crate) fn start(operation: Option<&'static str>, warnings: Arc<FallbackWarnings>) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            "route_model",
            gen_ai.operation.name = operation,
            gen_ai.request.model = field::Empty,
            model_routing.requested = field::Empty,
            model_routing.served = field::Empty,
            model_routing.id = field::Empty,
            model_routing.resolved_by = field::Empty,
            "error.type" = field::Empty,
        );
        Self {
            span,
            operation,
            warnings,
            #[cfg(feature = "metrics")]
            started: Instant::now(),
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Records the name that the body asks for, if there is one.
    pub(crate) fn requested<'a>(
        &self,
        name: impl FnOnce() -> Result<Option<Cow<'a, str>>, Rejection>,
    ) {
        // On other paths a `model` is one only if the catalog has it.
        if self.span.is_disabled() || self.operation.is_none() {
            return;
        }
        // The caller rejects the request for an error.
        if let Ok(Some(name)) = name() {
            self.record_requested(&name);
        }
    }

    fn record_requested(&self, name: &str) {
        let name = sanitize_for_log(name);
        self.span.record("gen_ai.request.model", &*name);
        self.span.record("model_routing.requested", &*name);
    }

    /// Records that the inner service is about to be called, for this model or with the request
    /// unchanged.
    pub(crate) fn forwarded(&self, routed: Option<&RoutedModel>) {
        let Some(routed) = routed else {
            return self.count("unchanged", None);
        };
        let resolved_by = routed.resolved_by().as_str();
        if !self.span.is_disabled() {
            if let (None, Some(requested)) = (self.operation, routed.requested()) {
                self.record_requested(requested);
            }
            let (served, id) = (routed.name(), routed.id());
            self.span
                .record("model_routing.served", sanitize_for_log(served));
            self.span.record("model_routing.id", sanitize_for_log(id));
            self.span.record("model_routing.resolved_by", resolved_by);
        }
        if routed.is_fallback() {
            self.warn_of_fallback(routed);
        }
        self.count(resolved_by, Some(routed));
    }

    /// Logs the fallback, at most once a second for each requested name.
    fn warn_of_fallback(&self, routed: &RoutedModel) {
        let requested = routed.requested().map(sanitize_for_log);
        let name = requested.as_deref().unwrap_or_default();
        let Some(left_out) = self.warnings.count(name, tokio::time::Instant::now()) else {
            return;
        };
        self.span.in_scope(|| {
            tracing::warn!(
                target: TARGET,
                // Debug format, so that a client cannot forge a line of the log.
                ?requested,
                served = ?sanitize_for_log(routed.name()),
                left_out,
                "routing to the fallback model"
            );
        });
    }

    /// Records a request that the inner service does not see.
    pub(crate) fn rejected(&self, rejection: &Rejection) {
        self.log(rejection);
        self.count("rejected", None);
    }

    /// Records a rejection after the inner service was called, which
    /// [`forwarded`](Self::forwarded) has counted.
    pub(crate) fn rejected_late(&self, rejection: &Rejection) {
        self.log(rejection);
    }

    fn log(&self, rejection: &Rejection) {
        let code = rejection.code().as_str();
        self.span.record("error.type", code);
        // Entered and not the explicit parent, so that the outer span applies if this one is
        // disabled.
        self.span.in_scope(|| {
            if rejection.status().is_server_error() {
                // A string, because subscribers do not escape errors.
                let cause = rejection.cause();
                tracing::warn!(target: TARGET, code, cause, "{}", rejection.message());
            } else {
                tracing::debug!(target: TARGET, code, "{}", rejection.message());
            }
        });
        #[cfg(feature = "metrics")]
        metrics::counter!(REJECTIONS, "code" => code).increment(1);
    }

    #[cfg(feature = "metrics")]
    fn count(&self, outcome: &'static str, routed: Option<&RoutedModel>) {
        let model: metrics::SharedString = match routed {
            Some(routed) => Arc::clone(routed.entry().shared_name()).into(),
            None => UNKNOWN.into(),
        };
        metrics::counter!(REQUESTS, "outcome" => outcome, "model" => model).increment(1);
        metrics::histogram!(LAYER_SECONDS).record(self.started.elapsed());
    }

    #[cfg(not(feature = "metrics"))]
    fn count(&self, _outcome: &'static str, _routed: Option<&RoutedModel>) {}
}

/// Records an operator's alias that counts as absent, because the catalog does not have its model.
pub(crate) fn alias_absent(alias: &str, model: &str) {
    let (alias, model) = (sanitize_for_log(alias), sanitize_for_log(model));
    tracing::warn!(target: TARGET, ?alias, ?model, "the catalog does not have the alias's model");
}

/// Records a response whose model stays as it is, because its content coding is not supported.
pub(crate) fn response_unread(coding: &str) {
    let coding = sanitize_for_log(coding);
    tracing::debug!(target: TARGET, ?coding, "the response's content coding hides its model");
    #[cfg(feature = "metrics")]
    metrics::counter!(RESPONSES_UNREAD).increment(1);
}

/// The label of names that are not in the catalog, so that clients cannot create time series.
#[cfg(feature = "metrics")]
const UNKNOWN: &str = "unknown";

#[cfg(feature = "metrics")]
pub(crate) use self::names::*;

#[cfg(feature = "metrics")]
mod names {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

    use crate::registry::REFRESHES;

    pub(crate) const REQUESTS: &str = "model_routing_requests_total";
    pub(crate) const REJECTIONS: &str = "model_routing_rejections_total";
    pub(crate) const RESPONSES_UNREAD: &str = "model_routing_responses_unread_total";
    pub(crate) const LAYER_SECONDS: &str = "model_routing_layer_seconds";
    pub(crate) const HELD_BYTES: &str = "model_routing_held_bytes";
    pub(crate) const AGE_SECONDS: &str = "model_registry_age_seconds";
    pub(crate) const MODELS: &str = "model_registry_models";

    /// Describes the metrics to the recorder.
    pub(crate) fn describe() {
        describe_counter!(REQUESTS, "Inspected requests by outcome and catalog name.");
        describe_counter!(REJECTIONS, "Rejected requests by code.");
        describe_counter!(
            RESPONSES_UNREAD,
            "Responses whose content coding hides their model."
        );
        describe_histogram!(
            LAYER_SECONDS,
            Unit::Seconds,
            "Time until the inner service is called or the request is rejected."
        );
        describe_gauge!(
            HELD_BYTES,
            Unit::Bytes,
            "Buffered bytes of request bodies that wait for their model or the inner service."
        );
        describe_counter!(REFRESHES, "Refreshes of the catalog by result.");
        describe_gauge!(
            AGE_SECONDS,
            Unit::Seconds,
            "Time since the catalog was last fetched or confirmed."
        );
        describe_gauge!(MODELS, "Active models in the catalog.");
    }
}
