//! Spans, logs and metrics of requests through the layer.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http_body_util::Full;
use tower_model_routing::UnknownModel;
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

use crate::support::gateway::{CHAT, Gateway, post};

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What is logged, at any level, while these requests are sent.
    async fn of(send: impl AsyncFn()) -> String {
        let log = Self::default();
        let _guard = log.start();
        // A place in the code that another test logs from for the first time
        // just now may miss this subscriber: pass by all of them once, and ask
        // them again.
        send().await;
        tracing::callsite::rebuild_interest_cache();
        log.0.lock().unwrap().clear();
        send().await;
        log.text()
    }

    /// Logs everything on this thread while the guard lives.
    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_routed_request_has_a_span_with_the_fields_of_opentelemetry() {
    let gateway = Gateway::new();
    let log = Log::of(async || {
        gateway.post(CHAT, r#"{"model":"VENICE-uncensored"}"#).await;
        gateway.post("/v1/embeddings", "{}").await;
        gateway.post("/v1/completions", "{}").await;
    })
    .await;
    for expected in [
        r#"route_model{gen_ai.operation.name="chat" gen_ai.request.model="VENICE-uncensored" gen_ai.response.model="venice-uncensored"}"#,
        r#"route_model{gen_ai.operation.name="embeddings" gen_ai.response.model="text-embedding-bge-m3"}"#,
        r#"route_model{gen_ai.operation.name="text_completion""#,
    ] {
        assert!(log.contains(expected), "{expected} is not in:\n{log}");
    }
}

#[tokio::test]
async fn a_fallback_is_warned_of_and_a_client_cannot_forge_a_line_of_the_log() {
    let gateway = Gateway::new();
    let name =
        "x\\n\\u001b[31m2026 ERROR forged \\u0000\\r\\u2028".to_owned() + &"y".repeat(100_000);
    let body = format!(r#"{{"model":"{name}"}}"#);
    let log = Log::of(async || drop(gateway.post(CHAT, body.clone()).await)).await;
    assert!(
        log.contains("WARN") && log.contains("routing to the fallback model"),
        "{log}"
    );
    assert!(log.contains(r#"served="mistral-31-24b""#), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\r') && !log.contains('\0'));
    assert!(
        log.lines()
            .all(|line| line.starts_with("20") && !line.starts_with("2026 ERROR"))
    );
    assert!(log.len() < 10_000, "{}", log.len());
}

#[tokio::test]
async fn bodies_and_secrets_reach_no_log_at_any_level() {
    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Reject));
    let log = Log::of(async || {
        for body in [
            r#"{"model":"venice-uncensored","messages":"s3cret"}"#,
            r#"{"messages":"s3cret","model":7}"#,
            r#"{"messages":"s3cret","model":"nobody"}"#,
            r#"{"s3cret":}"#,
        ] {
            let mut request = post(
                "/v1/chat/completions?key=s3cret",
                Full::<bytes::Bytes>::from(body),
            );
            let token = "Bearer s3cret".parse().unwrap();
            request.headers_mut().insert("authorization", token);
            gateway.send(request).await;
        }
    })
    .await;
    assert!(
        log.contains("model_not_found"),
        "something was logged:\n{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}

#[cfg(feature = "metrics")]
mod metrics {
    use std::time::Duration;

    use metrics_util::{
        CompositeKey, MetricKind,
        debugging::{DebugValue, DebuggingRecorder},
    };

    use super::*;
    use crate::support::body::{Script, Step};

    /// Each metric that was recorded, with its labels, and its value.
    fn recorded(recorder: &DebuggingRecorder) -> Vec<(String, f64)> {
        let show = |key: &CompositeKey| {
            let labels: Vec<_> = key
                .key()
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            format!("{}{{{}}}", key.key().name(), labels.join(","))
        };
        let mut all: Vec<_> = recorder
            .snapshotter()
            .snapshot()
            .into_vec()
            .into_iter()
            .map(|(key, _, _, value)| {
                assert_eq!(
                    key.kind() == MetricKind::Counter,
                    key.key().name().ends_with("_total")
                );
                let value = match value {
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.into_inner(),
                    DebugValue::Histogram(values) => values.len() as f64,
                };
                (show(&key), value)
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    #[tokio::test]
    async fn requests_count_by_outcome_and_catalog_name_and_never_by_a_clients_text() {
        let recorder = DebuggingRecorder::new();
        let guard = ::metrics::set_default_local_recorder(&recorder);
        let timeout = Some(Duration::from_millis(1));
        let gateway = Gateway::with(|config| config.held_timeout(timeout));
        for body in [
            r#"{"model":"venice-uncensored"}"#,
            r#"{"model":"Venice-Uncensored"}"#,
            r#"{"model":"0xB603"}"#,
            r#"{"model":"whatever the client likes"}"#,
            r#"{"model":7}"#,
            r#"{"model":"a","model":"b"}"#,
        ] {
            gateway.post(CHAT, body).await;
        }
        gateway.post("/v1/files", "{}").await;
        gateway.send(post(CHAT, Script::new([Step::Hang]))).await;
        gateway.layer.record_gauges();
        drop(guard);
        let mut all = recorded(&recorder);
        all.retain(|(name, _)| !name.starts_with("model_registry_age_seconds"));
        let all: Vec<_> = all.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(
            all,
            [
                ("model_registry_models{}", 9.0),
                ("model_registry_refreshes_total{result=changed}", 1.0),
                ("model_routing_held_bytes{}", 0.0),
                ("model_routing_layer_seconds{}", 8.0),
                ("model_routing_rejections_total{code=duplicate_model}", 1.0),
                ("model_routing_rejections_total{code=invalid_model}", 1.0),
                ("model_routing_rejections_total{code=request_timeout}", 1.0),
                (
                    "model_routing_requests_total{outcome=fallback,model=mistral-31-24b}",
                    1.0
                ),
                (
                    "model_routing_requests_total{outcome=id,model=venice-uncensored}",
                    1.0
                ),
                (
                    "model_routing_requests_total{outcome=name,model=venice-uncensored}",
                    2.0
                ),
                (
                    "model_routing_requests_total{outcome=rejected,model=unknown}",
                    3.0
                ),
                (
                    "model_routing_requests_total{outcome=unchanged,model=unknown}",
                    1.0
                ),
            ]
        );
    }
}
