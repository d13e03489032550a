//! Traces of requests, exported by OTLP over HTTP.

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use opentelemetry::{Context, KeyValue, propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::{
    ExporterBuildError, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, SpanExporter,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SdkTracerProvider, SpanData},
};
use tracing::{Span, Subscriber, field::Empty, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::FilterFn, registry::LookupSpan};

use crate::{headers::join_lines, request_context::path_excerpt};

/// The target of the spans of requests, which are in traces only and not in the log.
pub(crate) const TARGET: &str = "proxy::trace";
/// The target of the routing layer's spans.
const LAYER_TARGET: &str = "tower_model_routing";

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const PROTOCOL: &str = "http/protobuf";

/// The samplers of the SDK, which takes another name for the default.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// How long the spans in the queue may delay the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The export of traces. Sends the spans in the queue when dropped.
///
/// A thread of its own sends them in batches. If its queue is full, spans are dropped.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the export that OpenTelemetry's environment variables configure. Returns `None`
    /// without an endpoint, or if they disable it.
    ///
    /// # Errors
    ///
    /// Returns a message if a value is invalid. It leaves out the endpoint, which may contain
    /// credentials.
    pub(crate) fn from_env() -> Result<Option<Self>, String> {
        let is = |name, value| env::var(name).is_ok_and(|it| it.eq_ignore_ascii_case(value));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let names = [
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
            OTEL_EXPORTER_OTLP_ENDPOINT,
        ];
        let endpoints = names.map(|name| (name, env::var_os(name).unwrap_or_default()));
        let Some((name, endpoint)) = endpoints.iter().find(|(_, value)| !value.is_empty()) else {
            return Ok(None);
        };
        check_endpoint(&endpoint.to_string_lossy()).map_err(|error| format!("{name} {error}"))?;
        for name in [
            OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
            OTEL_EXPORTER_OTLP_PROTOCOL,
        ] {
            let protocol = env::var_os(name).unwrap_or_default();
            if !protocol.is_empty() && protocol != PROTOCOL {
                return Err(format!(
                    "{name} is {protocol:?}; only {PROTOCOL} is supported"
                ));
            }
        }
        check_sampler()?;
        let traces = Self::start().map_err(|error| format!("OTLP: {error}"))?;
        Ok(Some(traces))
    }

    fn start() -> Result<Self, ExporterBuildError> {
        let exporter = LoggedExporter {
            inner: SpanExporter::builder().with_http().build()?,
            is_failing: AtomicBool::new(false),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Self(provider))
    }

    /// Returns the layer that takes the spans.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_exported = FilterFn::new(|metadata| {
            metadata.is_span() && [TARGET, LAYER_TARGET].contains(&metadata.target())
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_context_activation(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(is_exported.with_max_level_hint(LevelFilter::INFO))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Starts the span of a request in the client's trace, and makes it the parent of the upstream's.
/// Returns a disabled span without export.
pub(crate) fn start_span<B>(request: &mut Request<B>, id: &HeaderValue) -> Span {
    // As the conventions name methods that they do not know.
    let (method, name) = match *request.method() {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::CONNECT
        | Method::OPTIONS
        | Method::TRACE
        | Method::PATCH => (request.method().as_str(), request.method().as_str()),
        _ => ("_OTHER", "HTTP"),
    };
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        url.path = path_excerpt(request.uri()),
        url.scheme = "http",
        error.r#type = Empty,
        gen_ai.response.model = Empty,
        request_id = id.to_str().unwrap_or_default(),
    );
    if span.is_disabled() {
        return span;
    }
    let headers = request.headers_mut();
    join_lines(headers, TRACESTATE, b",");
    let propagator = TraceContextPropagator::new();
    let parent = propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers));
    // Fails only without the layer or after the start.
    let _ = span.set_parent(parent);
    propagator.inject_context(&span.context(), &mut HeaderInjector(headers));
    if headers.get(TRACESTATE).is_some_and(HeaderValue::is_empty) {
        headers.remove(TRACESTATE);
    }
    span
}

fn check_sampler() -> Result<(), String> {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

    let value = |name| env::var(name).unwrap_or_default();
    let (sampler, argument) = (value(SAMPLER), value(ARGUMENT));
    if !sampler.is_empty() && !SAMPLERS.contains(&&*sampler) {
        let known = SAMPLERS.join(", ");
        return Err(format!(
            "{SAMPLER} is {sampler:?}; it must be one of {known}"
        ));
    }
    let is_ratio = |ratio: f64| (0.0..=1.0).contains(&ratio);
    if !argument.is_empty() && !argument.parse().is_ok_and(is_ratio) {
        return Err(format!(
            "{ARGUMENT} is {argument:?}; it must be a number from 0 to 1"
        ));
    }
    Ok(())
}

fn check_endpoint(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is not a valid URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must be a URL that begins with http:// or https://");
    }
    if uri.authority().is_none_or(|it| it.as_str().contains('@')) {
        return Err(
            "must not contain a user name or password; set OTEL_EXPORTER_OTLP_HEADERS instead",
        );
    }
    Ok(())
}

fn resource() -> Resource {
    let resource = Resource::builder_empty()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    match env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource.with_service_name(name).build(),
        _ => resource.build(),
    }
}

/// Exports spans, and logs when this begins to fail and when it succeeds again.
#[derive(Debug)]
struct LoggedExporter {
    inner: SpanExporter,
    is_failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for LoggedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Ok(()) if was_failing => tracing::info!("traces are exported again"),
            Err(error) if !was_failing => {
                tracing::warn!(%error, "traces cannot be exported; spans are dropped");
            }
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_without_credentials() {
        for valid in [
            "http://localhost:4318",
            "https://collector/a?b=c",
            "http://[::1]:1/",
        ] {
            assert_eq!(check_endpoint(valid), Ok(()), "{valid}");
        }
        for invalid in [
            "",
            "localhost:4318",
            "/v1/traces",
            "grpc://collector",
            "http://a:b@c",
        ] {
            assert!(check_endpoint(invalid).is_err(), "{invalid}");
        }
    }
}
