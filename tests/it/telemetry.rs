//! Spans, logs and metrics.

use std::collections::BTreeMap;

use serde_json::Value;
use tower_model_routing::UnknownModel;

use crate::support::{
    gateway::{CHAT, Gateway},
    log::{assert_logged, capture},
};

/// Returns the fields of the spans of requests as they close, after checking name, level and
/// target.
fn closed_spans(scenario: impl AsyncFn()) -> Vec<BTreeMap<String, String>> {
    let log = capture(scenario);
    // The scenario runs twice.
    let second = log.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["fields"]["message"] == "close" && event["span"]["name"] == "route_model").then(
            || {
                assert_eq!(event["level"], "INFO");
                assert_eq!(event["target"], "tower_model_routing");
                let fields = event["span"].as_object().unwrap().iter();
                fields
                    .filter(|(key, _)| *key != "name")
                    .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
                    .collect()
            },
        )
    });
    let mut spans: Vec<_> = second.collect();
    spans.split_off(spans.len() / 2)
}

fn fields<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
    let owned = fields.map(|(key, value)| (key.to_owned(), value.to_owned()));
    BTreeMap::from(owned)
}

#[test]
fn span_names_the_requested_and_the_served_model() {
    let spans = closed_spans(async || {
        let gateway = Gateway::new();
        gateway.post(CHAT, r#"{"model":"VENICE-uncensored"}"#).await;
        gateway.post("/v1/embeddings", "{}").await;
        gateway.post("/v1/completions", r#"{"model":"flux"}"#).await;
        gateway.post("/v1/things", r#"{"model":"m"}"#).await;
        gateway.post("/v1/things", "{}").await;
    });
    let m = "0x000000000000000000000000000000000000000000000000000000000000abcd";
    let expected = [
        fields([
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", "VENICE-uncensored"),
            ("model_routing.requested", "VENICE-uncensored"),
            ("model_routing.served", "venice-uncensored"),
            ("model_routing.id", "0xb603"),
            ("model_routing.resolved_by", "name"),
        ]),
        fields([
            ("gen_ai.operation.name", "embeddings"),
            ("model_routing.served", "text-embedding-bge-m3"),
            ("model_routing.id", "0x0b"),
            ("model_routing.resolved_by", "fallback"),
        ]),
        fields([
            ("gen_ai.operation.name", "text_completion"),
            ("gen_ai.request.model", "flux"),
            ("model_routing.requested", "flux"),
            ("model_routing.served", "Picture Maker"),
            ("model_routing.id", "0x10"),
            ("model_routing.resolved_by", "alias"),
        ]),
        // No operation of generative AI.
        fields([
            ("gen_ai.request.model", "m"),
            ("model_routing.requested", "m"),
            ("model_routing.served", "m"),
            ("model_routing.id", m),
            ("model_routing.resolved_by", "name"),
        ]),
        fields([]),
    ];
    assert_eq!(spans, expected);
}

#[test]
fn span_of_a_rejection_has_its_code_as_the_error_type() {
    let spans = closed_spans(async || {
        let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Reject));
        gateway.post(CHAT, r#"{"model":"gpt-9"}"#).await;
        gateway.post(CHAT, "[]").await;
    });
    let expected = [
        fields([
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", "gpt-9"),
            ("model_routing.requested", "gpt-9"),
            ("error.type", "model_not_found"),
        ]),
        fields([
            ("gen_ai.operation.name", "chat"),
            ("error.type", "invalid_json"),
        ]),
    ];
    assert_eq!(spans, expected);
}

#[test]
fn span_of_a_late_rejection_names_model_and_error() {
    use crate::support::{body::ScriptedBody, gateway::post};

    let spans = closed_spans(async || {
        let frames = [r#"{"model":"m""#, r#","model":"n"}"#];
        let body = ScriptedBody::pending_between(&frames);
        Gateway::new().send(post(CHAT, body)).await;
    });
    let [span] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(span["model_routing.served"], "m");
    assert_eq!(span["error.type"], "duplicate_model");
}

#[test]
fn fallback_is_a_warning() {
    let log = capture(async || drop(Gateway::new().post(CHAT, r#"{"model":"gpt-9"}"#).await));
    let warning = log
        .lines()
        .find(|line| line.contains("routing to the fallback model"));
    assert_logged(
        warning.unwrap(),
        &["WARN", "gpt-9", r#"served="mistral-31-24b""#],
    );
}

#[test]
fn fallbacks_of_one_name_are_one_warning_a_second() {
    let log = capture(async || {
        tokio::time::pause();
        let gateway = Gateway::new();
        for model in ["gpt-9", "gpt-9", "gpt-8", "gpt-9"] {
            gateway
                .post(CHAT, format!(r#"{{"model":"{model}"}}"#))
                .await;
        }
        tokio::time::resume();
    });
    let is_warning = |line: &&str| line.contains("routing to the fallback model");
    let warnings: Vec<_> = log.lines().filter(is_warning).collect();
    let count = |model: &str| warnings.iter().filter(|line| line.contains(model)).count();
    assert_ne!(count("gpt-9"), 0);
    assert_eq!(count("gpt-9"), count("gpt-8"));
}

#[cfg(feature = "metrics")]
mod metrics {
    use std::{convert::Infallible, time::Duration};

    use http::{Request, Response};
    use http_body_util::Full;
    use metrics_util::{
        CompositeKey, MetricKind,
        debugging::{DebugValue, DebuggingRecorder},
    };
    use serde_json::json;
    use tower::{Layer, ServiceExt, service_fn};
    use tower_model_routing::{ResponseModel, RoutedBody, UnknownModel};

    use super::*;
    use crate::{
        support::{
            body::{ScriptedBody, Step},
            gateway::{layer, post},
            source::ScriptedSource,
        },
        untrusted_text::{HOSTILE, hostile_source},
    };

    /// Runs a scenario. Returns each metric with its labels and its value, in order.
    async fn record(scenario: impl AsyncFnOnce()) -> Vec<(String, f64)> {
        let recorder = DebuggingRecorder::new();
        let guard = ::metrics::set_default_local_recorder(&recorder);
        scenario().await;
        drop(guard);
        let show = |key: &CompositeKey| {
            let labels: Vec<_> = key
                .key()
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            format!("{}{{{}}}", key.key().name(), labels.join(","))
        };
        let snapshot = recorder.snapshotter().snapshot().into_vec();
        let mut metrics: Vec<_> = snapshot
            .into_iter()
            .map(|(key, _, _, value)| {
                let is_total = key.key().name().ends_with("_total");
                assert_eq!(key.kind() == MetricKind::Counter, is_total);
                let value = match value {
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.into_inner(),
                    DebugValue::Histogram(values) => values.len() as f64,
                };
                (show(&key), value)
            })
            .collect();
        metrics.sort_by(|(a, _), (b, _)| a.cmp(b));
        metrics
    }

    #[tokio::test]
    async fn counts_requests_by_outcome_and_catalog_name() {
        let mut metrics = record(async || {
            let timeout = Some(Duration::from_millis(1));
            let gateway = Gateway::with(|config| config.held_timeout(timeout));
            for body in [
                r#"{"model":"venice-uncensored"}"#,
                r#"{"model":"Venice-Uncensored"}"#,
                r#"{"model":"0xB603"}"#,
                r#"{"model":"whatever the client sends"}"#,
                r#"{"model":7}"#,
                r#"{"model":"a","model":"b"}"#,
            ] {
                gateway.post(CHAT, body).await;
            }
            gateway.post("/v1/files", "{}").await;
            let hanging = ScriptedBody::new([Step::Hang]);
            gateway.send(post(CHAT, hanging)).await;
            gateway.layer.record_gauges();
        })
        .await;
        metrics.retain(|(name, _)| !name.starts_with("model_registry_age_seconds"));
        let metrics: Vec<_> = metrics
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        let requests = |labels| format!("model_routing_requests_total{{outcome={labels}}}");
        let expected = [
            ("model_registry_models{}".into(), 9.0),
            ("model_registry_refreshes_total{result=changed}".into(), 1.0),
            ("model_routing_held_bytes{}".into(), 0.0),
            ("model_routing_layer_seconds{}".into(), 8.0),
            (
                "model_routing_rejections_total{code=duplicate_model}".into(),
                1.0,
            ),
            (
                "model_routing_rejections_total{code=invalid_model}".into(),
                1.0,
            ),
            (
                "model_routing_rejections_total{code=request_timeout}".into(),
                1.0,
            ),
            (requests("fallback,model=mistral-31-24b"), 1.0),
            (requests("id,model=venice-uncensored"), 1.0),
            (requests("name,model=venice-uncensored"), 2.0),
            (requests("rejected,model=unknown"), 3.0),
            (requests("unchanged,model=unknown"), 1.0),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        assert_eq!(metrics, expected);
    }

    #[tokio::test]
    async fn counts_responses_whose_coding_hides_the_model() {
        const UNREAD: &str = "model_routing_responses_unread_total{}";

        for (content_type, expected) in [("application/json", Some(1.0)), ("image/png", None)] {
            let metrics = record(async || {
                let layer = layer(ScriptedSource::with_models(), |config| {
                    config.response_model(ResponseModel::Served)
                });
                let service = layer.layer(service_fn(async |_: Request<RoutedBody<_>>| {
                    let response = Response::builder()
                        .header("content-type", content_type)
                        .header("content-encoding", "compress")
                        .body(Full::<bytes::Bytes>::default());
                    Ok::<_, Infallible>(response.unwrap())
                }));
                let request = post(CHAT, Full::<bytes::Bytes>::from(r#"{"model":"flux"}"#));
                service.oneshot(request).await.unwrap();
            })
            .await;
            let found = metrics.iter().find(|(name, _)| name == UNREAD);
            assert_eq!(found.map(|(_, count)| *count), expected, "{content_type}");
        }
    }

    #[tokio::test]
    async fn client_text_is_never_a_label() {
        let metrics = record(async || {
            let gateway = Gateway::with_source(hostile_source(), |config| {
                config.unknown_model(UnknownModel::Fallback)
            });
            for client in 0..50 {
                for name in [HOSTILE.to_owned(), format!("{HOSTILE}{client}")] {
                    let body = json!({ "model": name }).to_string();
                    gateway
                        .send(post(CHAT, Full::<bytes::Bytes>::from(body)))
                        .await;
                }
            }
        })
        .await;
        let requests = |labels| format!("model_routing_requests_total{{outcome={labels}}}");
        let mut labels = metrics.iter().map(|(name, value)| (name.as_str(), *value));
        let found: Vec<_> = labels
            .by_ref()
            .filter(|(name, _)| name.starts_with("model_routing_requests_total"))
            .collect();
        assert_eq!(
            found,
            [
                (&*requests("fallback,model=mistral-31-24b"), 50.0),
                (&*requests(&format!("id,model={HOSTILE}")), 50.0),
            ]
        );
    }
}
