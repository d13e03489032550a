//! Spans, logs and metrics: what an operator sees of the requests.
//!
//! Names in the text of a client or of the registry reach spans and logs
//! abridged, and as values that subscribers escape; a client's never become a
//! metric's label.

#[cfg(feature = "metrics")]
use std::{sync::Arc, time::Instant};

use tracing::{Span, field};

use crate::{resolve::RoutedModel, response::Rejection, text::sanitize_for_log};

/// What is told of one request that is inspected.
#[derive(Debug)]
pub(crate) struct RequestTelemetry {
    span: Span,
    #[cfg(feature = "metrics")]
    started: Instant,
}

impl RequestTelemetry {
    /// Begins with the request. The field names are those of OpenTelemetry's
    /// semantic conventions for generative AI.
    pub(crate) fn begin(operation: &'static str) -> Self {
        let span = tracing::info_span!(
            "route_model",
            gen_ai.operation.name = operation,
            gen_ai.request.model = field::Empty,
            gen_ai.response.model = field::Empty,
        );
        Self {
            span,
            #[cfg(feature = "metrics")]
            started: Instant::now(),
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The inner service is about to be called: for this model, or with the
    /// request as it came.
    pub(crate) fn forwarding(&self, routed: Option<&RoutedModel>) {
        let Some(routed) = routed else {
            return self.count("unchanged", None);
        };
        if !self.span.is_disabled() {
            if let Some(requested) = routed.requested() {
                self.span
                    .record("gen_ai.request.model", sanitize_for_log(requested));
            }
            let served = sanitize_for_log(routed.name());
            self.span.record("gen_ai.response.model", served);
        }
        if routed.is_fallback() {
            self.span.in_scope(|| {
                tracing::warn!(
                    // `?`: a client's text must not forge a line of the log.
                    requested = ?routed.requested().map(sanitize_for_log),
                    served = ?sanitize_for_log(routed.name()),
                    "routing to the fallback model"
                );
            });
        }
        self.count(routed.resolved_by().as_str(), Some(routed));
    }

    /// The layer answers itself.
    pub(crate) fn rejected(&self, rejection: &Rejection) {
        self.tell(rejection);
        self.count("rejected", None);
    }

    /// The layer answers itself in place of the inner service, which has been
    /// called already: what became of the request has been counted.
    pub(crate) fn refused_late(&self, rejection: &Rejection) {
        self.tell(rejection);
    }

    fn tell(&self, rejection: &Rejection) {
        let code = rejection.code().as_str();
        // Not as its parent: where the span is not wanted, the outer one is.
        self.span.in_scope(|| {
            if rejection.status().is_server_error() {
                // A string and not an error: subscribers escape it.
                let cause = rejection.cause();
                tracing::warn!(code, cause, "{}", rejection.message());
            } else {
                tracing::debug!(code, "{}", rejection.message());
            }
        });
        #[cfg(feature = "metrics")]
        metrics::counter!(REJECTIONS, "code" => code).increment(1);
    }

    /// The request has left the layer's hands.
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

/// The label of every name that the catalog does not know, so that clients
/// cannot make new time series.
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
    pub(crate) const LAYER_SECONDS: &str = "model_routing_layer_seconds";
    pub(crate) const HELD_BYTES: &str = "model_routing_held_bytes";
    pub(crate) const AGE_SECONDS: &str = "model_registry_age_seconds";
    pub(crate) const MODELS: &str = "model_registry_models";

    /// Tells the recorder what the metrics mean.
    pub(crate) fn describe() {
        describe_counter!(REQUESTS, "Inspected requests by outcome and catalog name.");
        describe_counter!(
            REJECTIONS,
            "Requests that the layer answered itself, by code."
        );
        describe_histogram!(
            LAYER_SECONDS,
            Unit::Seconds,
            "Time from the request's arrival until the inner service is called."
        );
        describe_gauge!(
            HELD_BYTES,
            Unit::Bytes,
            "Bytes of request bodies that wait for their model."
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
