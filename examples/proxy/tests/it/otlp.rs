//! The export of traces, with the feature `otlp`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::Semaphore,
};

use super::{
    CHAT, Setup, VENICE,
    admin::admin_address,
    proxy,
    websocket::{ACCEPT, open},
};
use test_support::{
    client::{Response, get, post_with},
    process::run,
    upstream::{Received, Step, Upstream},
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const STATE: &str = "a=b,c=d";

/// Starts a proxy that exports to this server when it stops.
async fn exporting(url: &str, configure: impl FnOnce(&mut Command)) -> Setup {
    let setup = Setup::with(|proxy| {
        proxy.env("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        proxy.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
        configure(proxy);
    })
    .await;
    setup.warm_up().await;
    setup
}

async fn collector() -> Upstream {
    let script = vec![Step::response(
        200,
        "content-type: application/x-protobuf\r\n",
        "",
    )];
    Upstream::with_script(script).await
}

/// Stops the proxy, which must exit with 0, and returns its log.
async fn stop(setup: Setup) -> String {
    setup.proxy.signal("TERM").await;
    let output = setup.proxy.wait().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output.stderr
}

/// Posts a chat in a client's trace.
async fn post_in_trace(setup: &Setup, traceparent: &str) -> Response {
    let headers = [JSON, ("traceparent", traceparent), ("tracestate", STATE)];
    post_with(setup.address(), &format!("{CHAT}?secret"), &headers, BODY).await
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// Returns the trace ID, the span ID and the flags of an upstream request.
fn context(request: &Received) -> [String; 3] {
    let parts: Vec<_> = request.header("traceparent").unwrap().split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"));
    [1, 2, 3].map(|index| parts[index].to_owned())
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(attributes: &[KeyValue]) -> HashMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    let attributes = attributes.iter();
    attributes.map(|it| (&*it.key, text(it).unwrap())).collect()
}

/// Returns the next request to the collector, and its content.
async fn export(collector: &Upstream) -> (Received, ExportTraceServiceRequest) {
    let request = collector.request().await;
    assert_eq!(
        request.header("content-type"),
        Some("application/x-protobuf")
    );
    let export = ExportTraceServiceRequest::decode(&*request.body.bytes).unwrap();
    (request, export)
}

fn spans(export: &ExportTraceServiceRequest) -> Vec<&Span> {
    let scopes = export.resource_spans.iter().flat_map(|it| &it.scope_spans);
    scopes.flat_map(|it| &it.spans).collect()
}

#[tokio::test]
async fn client_trace_is_continued() {
    let collector = collector().await;
    let setup = exporting(&collector.url(), |proxy| {
        proxy.env("OTEL_SERVICE_NAME", "find-me");
        proxy.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=1");
    })
    .await;
    post_in_trace(&setup, &traceparent("01")).await;
    let upstream = setup.upstream.request().await;
    assert_eq!(upstream.header("tracestate"), Some(STATE));
    let [trace, span, flags] = context(&upstream);
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    assert_ne!(span, PARENT);
    stop(setup).await;

    let (request, export) = export(&collector).await;
    assert_eq!((request.method(), request.target()), ("POST", "/v1/traces"));
    assert_eq!(request.header("x-key"), Some("1"));
    let resource = export.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "find-me");
    let mut spans = spans(&export);
    spans.sort_by_key(|span| span.start_time_unix_nano);
    // `GET /v1/models` is the proxy's own, and the export is no request of a client.
    let [server, layer] = spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (hex(&server.trace_id), hex(&layer.trace_id)),
        (trace.clone(), trace)
    );
    assert_eq!(hex(&server.parent_span_id), PARENT);
    assert_eq!(
        (hex(&server.span_id), hex(&layer.parent_span_id)),
        (span.clone(), span)
    );
    assert_eq!((&*server.name, server.kind()), ("POST", SpanKind::Server));
    assert_eq!(
        (&*layer.name, layer.kind()),
        ("route_model", SpanKind::Internal)
    );
    assert_eq!(
        server.status.clone().unwrap_or_default().code(),
        StatusCode::Unset
    );

    let server_attributes = attributes(&server.attributes);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("url.path", CHAT),
        ("url.scheme", "http"),
        ("gen_ai.response.model", "venice-uncensored"),
        ("request_id", upstream.header("x-request-id").unwrap()),
    ] {
        assert_eq!(server_attributes[name], value, "{name}");
    }
    assert_eq!(server_attributes.len(), 6, "{server_attributes:?}");
    let layer = attributes(&layer.attributes);
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "venice-uncensored"),
        ("model_routing.id", VENICE),
    ] {
        assert_eq!(layer[name], value, "{name}");
    }
}

#[tokio::test]
async fn requests_without_a_valid_trace_get_one_of_their_own() {
    let collector = collector().await;
    let setup = exporting(&collector.url(), |_| {}).await;
    post_in_trace(&setup, "00-none-none-01").await;
    let [first, ..] = context(&setup.upstream.request().await);
    setup.upstream.script(vec![Step::Close]);
    post_with(setup.address(), CHAT, &[JSON], BODY).await;
    let upstream = setup.upstream.request().await;
    assert_eq!(upstream.header("tracestate"), None);
    let [second, ..] = context(&upstream);
    stop(setup).await;

    let (_, export) = export(&collector).await;
    let mut servers = spans(&export);
    servers.retain(|span| span.kind() == SpanKind::Server);
    servers.sort_by_key(|span| span.start_time_unix_nano);
    let traces: Vec<_> = servers.iter().map(|span| hex(&span.trace_id)).collect();
    assert_eq!(traces, [first, second]);
    assert!(servers.iter().all(|span| span.parent_span_id.is_empty()));
    let status = servers[1].status.as_ref().unwrap();
    assert_eq!(status.code(), StatusCode::Error);
    assert_eq!(attributes(&servers[1].attributes)["error.type"], "502");
}

#[tokio::test]
async fn admin_routes_have_no_span_wherever_they_are() {
    let collector = collector().await;
    let mut setup = exporting(&collector.url(), |proxy| {
        proxy.args(["--admin-listen", "127.0.0.1:0"]);
    })
    .await;
    let admin = admin_address(&mut setup).await;
    get(setup.address(), "/health").await;
    for path in ["/metrics", "/nowhere"] {
        get(admin, path).await;
    }
    // Beside an admin listener, this goes upstream.
    get(setup.address(), "/metrics").await;
    assert!(
        setup
            .upstream
            .request()
            .await
            .header("traceparent")
            .is_some()
    );
    stop(setup).await;

    let (_, export) = export(&collector).await;
    let [server] = spans(&export)[..] else {
        panic!("{export:?}");
    };
    assert_eq!(attributes(&server.attributes)["url.path"], "/metrics");
}

#[tokio::test]
async fn lines_of_tracestate_are_joined() {
    let setup = exporting(&collector().await.url(), |_| {}).await;
    let traceparent = traceparent("01");
    let states = [("tracestate", "a=b"), ("tracestate", "c=d")];
    let headers = [&[JSON, ("traceparent", &*traceparent)], &states[..]].concat();
    post_with(setup.address(), CHAT, &headers, BODY).await;
    let request = setup.upstream.request().await;
    assert_eq!(request.header("tracestate"), Some(STATE));
}

#[tokio::test]
async fn clients_decide_what_is_sampled() {
    let collector = collector().await;
    let setup = exporting(&collector.url(), |_| {}).await;
    post_in_trace(&setup, &traceparent("00")).await;
    let [trace, span, flags] = context(&setup.upstream.request().await);
    assert_eq!((&*trace, &*flags), (TRACE, "00"));
    assert_ne!(span, PARENT);
    stop(setup).await;
    assert!(!collector.has_request().await);
}

#[tokio::test]
async fn dead_and_silent_collectors_change_nothing() {
    let silent = Upstream::with_script(vec![Step::WaitForDisconnect]).await;
    // Nothing listens at port 1.
    for url in [silent.url(), "http://127.0.0.1:1".to_owned()] {
        let setup = exporting(&url, |proxy| {
            proxy.env("OTEL_BSP_SCHEDULE_DELAY", "1");
            proxy.env("OTEL_EXPORTER_OTLP_TIMEOUT", "200");
        })
        .await;
        for _ in 0..20 {
            let response = post_in_trace(&setup, &traceparent("01")).await;
            assert_eq!(response.status(), 200);
        }
        let log = stop(setup).await;
        assert_eq!(log.matches("traces cannot be exported").count(), 1, "{log}");
    }
}

#[tokio::test]
async fn nothing_is_exported_without_an_endpoint_or_if_disabled() {
    let collector = collector().await;
    let url = collector.url();
    for variables in [
        vec![],
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_SDK_DISABLED", "true"),
        ],
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_TRACES_EXPORTER", "none"),
        ],
    ] {
        let setup = Setup::with(|proxy| {
            proxy.env("RUST_LOG", "trace").envs(variables);
        })
        .await;
        setup.warm_up().await;
        let sent = traceparent("01");
        post_in_trace(&setup, &sent).await;
        let request = setup.upstream.request().await;
        assert_eq!(request.header("traceparent"), Some(&*sent));
        assert_eq!(request.header("tracestate"), Some(STATE));
        let log = stop(setup).await;
        assert!(!log.contains("otel.name"), "{log}");
        assert!(!collector.has_request().await);
    }
}

#[tokio::test]
async fn server_span_lasts_as_long_as_the_body() {
    let permits = Arc::new(Semaphore::new(0));
    let collector = collector().await;
    let mut setup = exporting(&collector.url(), |_| {}).await;
    setup.upstream.script(vec![
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
        Step::Wait(Arc::clone(&permits)),
        Step::Close,
    ]);
    let mut client = TcpStream::connect(setup.address()).await.unwrap();
    let length = BODY.len();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: test\r\nx-request-id: find-me\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{BODY}"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    permits.add_permits(1);
    let parts = ["upstream response ended early", "find-me"];
    setup.proxy.wait_for_log(&parts).await;
    stop(setup).await;

    let (_, export) = export(&collector).await;
    let mut spans = spans(&export);
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let [server, layer] = spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(attributes(&server.attributes)["error.type"], "body_error");
    assert!(u128::from(server.end_time_unix_nano) > now.as_nanos());
    assert!(u128::from(layer.end_time_unix_nano) < now.as_nanos());
}

#[tokio::test]
async fn server_span_lasts_as_long_as_the_websocket() {
    let collector = collector().await;
    let setup = exporting(&collector.url(), |_| {}).await;
    let script = vec![Step::send(ACCEPT), Step::WaitForDisconnect];
    setup.upstream.script(script);
    let (client, _) = open(&setup).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    drop(client);
    setup.upstream.wait_for_disconnect().await;
    stop(setup).await;

    let (_, export) = export(&collector).await;
    let mut spans = spans(&export);
    spans.retain(|span| span.kind() == SpanKind::Server);
    let [server] = spans[..] else {
        panic!("{spans:?}");
    };
    let status = &attributes(&server.attributes)["http.response.status_code"];
    assert_eq!(status, "101");
    assert!(u128::from(server.end_time_unix_nano) > now.as_nanos());
}

#[tokio::test]
async fn log_is_the_same_with_export() {
    let collector = collector().await;
    let setup = exporting(&collector.url(), |proxy| {
        proxy.args(["--access-log"]);
    })
    .await;
    get(setup.address(), "/v1/files/1").await;
    let log = stop(setup).await;
    let line = log
        .lines()
        .find(|line| line.contains("/v1/files/1"))
        .unwrap();
    assert_eq!(line.matches("request{").count(), 1, "{line}");
    assert!(
        !line.contains("route_model") && !line.contains("otel"),
        "{line}"
    );
}

#[tokio::test]
async fn errors_name_the_variable() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    for (variable, value) in [
        (ENDPOINT, "localhost:4318"),
        (ENDPOINT, "http://user:secret@localhost:4318"),
        (ENDPOINT, "http://local host/secret"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "grpc://localhost:4318/?secret",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_SAMPLER", "parentbased_ratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "10%"),
    ] {
        let mut command = proxy();
        command
            .env(ENDPOINT, "http://127.0.0.1:1")
            .env(variable, value);
        let output = run(&mut command).await;
        assert_eq!(output.status.code(), Some(2), "{variable}: {output:?}");
        assert!(output.stderr.contains(variable), "{output:?}");
        assert!(!output.stderr.contains("secret"), "{output:?}");
    }
}
