//! The histograms of OpenTelemetry's semantic conventions for generative AI.

use http::StatusCode;
use metrics::{Label, Unit, describe_histogram, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

use crate::observe::Observed;

const DURATION: &str = "gen_ai_server_request_duration_seconds";
const FIRST_BYTE: &str = "gen_ai_server_time_to_first_token_seconds";

/// The boundaries that the conventions advise, in seconds.
const DURATION_BUCKETS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const FIRST_BYTE_BUCKETS: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The label of a model that is not in the catalog, so that clients cannot create time series.
const UNKNOWN: &str = "unknown";

/// Sets the buckets of the histograms.
pub(crate) fn set_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    builder
        .set_buckets_for_metric(Matcher::Full(DURATION.into()), &DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(FIRST_BYTE.into()), &FIRST_BYTE_BUCKETS)
}

/// Describes the histograms to the recorder.
pub(crate) fn describe() {
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Time from the head of a request until its response ended, of requests routed to a model."
    );
    describe_histogram!(
        FIRST_BYTE,
        Unit::Seconds,
        "Time from the head of a request until the first byte of its response's body."
    );
}

/// Records that the first byte of the body has arrived.
pub(crate) fn record_first_byte(observed: &Observed) {
    if let (Some(labels), Some(first_byte)) = (labels(observed), observed.first_byte) {
        histogram!(FIRST_BYTE, labels).record(first_byte);
    }
}

/// Records that the response has ended.
pub(crate) fn record_duration(observed: &Observed) {
    if let Some(mut labels) = labels(observed) {
        if let Some(error_type) = observed.error_type() {
            labels.push(Label::new("error_type", error_type.to_owned()));
        }
        histogram!(DURATION, labels).record(observed.start.elapsed());
    }
}

/// Returns the labels, or `None` for WebSockets and for requests without a model.
fn labels(observed: &Observed) -> Option<Vec<Label>> {
    let (routed, status) = (observed.routed.as_ref()?, observed.status?);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    let requested = match routed.is_fallback() {
        true => UNKNOWN,
        false => routed.name(),
    };
    let operation = routed.operation().unwrap_or("other");
    Some(vec![
        Label::new("gen_ai_operation_name", operation),
        Label::new("gen_ai_request_model", requested.to_owned()),
        Label::new("gen_ai_response_model", routed.name().to_owned()),
        Label::new("http_response_status_code", status.as_str().to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tower_model_routing::{RoutedModel, registry::ModelEntry};

    use super::*;
    use crate::observe::End;

    fn observed(status: StatusCode, routed: Option<RoutedModel>) -> Observed {
        Observed {
            start: Instant::now(),
            status: Some(status),
            routed,
            rejection: None,
            first_byte: None,
            bytes: 0,
            end: End::Complete,
        }
    }

    #[test]
    fn websockets_and_requests_without_a_model_are_left_out() {
        let routed = || {
            Some(RoutedModel::new(
                ModelEntry::new("code", "0x1"),
                Some("code"),
            ))
        };
        assert!(labels(&observed(StatusCode::OK, routed())).is_some());
        assert!(labels(&observed(StatusCode::OK, None)).is_none());
        let upgraded = StatusCode::SWITCHING_PROTOCOLS;
        assert!(labels(&observed(upgraded, routed())).is_none());
    }
}
