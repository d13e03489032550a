//! Secrets reach no log, error or debug output.
//!
//! Each test plants secrets wherever a request, a response or a registry can hold them, captures
//! the logs of all crates at all levels, and formats every value that a user can print.

use std::{
    cell::RefCell,
    convert::Infallible,
    error::Error,
    fmt::{Debug, Display, Write},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_model_routing::{
    Endpoint, ModelListService, ModelRoutingLayer, Rejection, ResponseModel, RoutedBody,
    RoutedModel, RoutingConfig, RoutingConfigBuilder, UnknownModel,
    registry::{Catalog, Fetched, RegistrySource, ReqwestSource},
};

use crate::support::{
    body::{ScriptedBody, Step, data},
    gateway::{CHAT, builder, registry, registry_with_timeout},
    log::{assert_logged, capture},
    server::{RegistryServer, ScriptedResponse, start_untrusted_https_server},
    source::{MODELS, Outcome, ScriptedSource},
};

/// The prefix of every secret; the rest says where it was planted.
const SECRET: &str = "s3cret";
/// The start of "user:s3cret" in base 64.
const SECRET_IN_BASE_64: &str = "dXNlcjpzM2NyZX";

thread_local! {
    static PRINTED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns the logs of a scenario and all that it printed. Panics if there is a secret in it.
fn output_of(scenario: impl AsyncFn()) -> String {
    let output = capture(scenario) + &PRINTED.take();
    for line in output.lines() {
        let is_secret = line.contains(SECRET) || line.contains(SECRET_IN_BASE_64);
        assert!(!is_secret, "{line}");
    }
    output
}

fn print(value: &(impl Debug + ?Sized)) {
    print_text(format_args!("{value:?} {value:#?}"));
}

fn print_text(text: impl Display) {
    PRINTED.with_borrow_mut(|printed| writeln!(printed, "{text}").unwrap());
}

/// Prints an error and its sources in every way.
fn print_error(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        print_text(error);
        print(error);
        next = error.source();
    }
}

/// Returns a request with secrets in its URI and its headers.
fn request<B>(content_type: &'static str, body: B) -> Request<B> {
    let mut request = Request::post(format!("{CHAT}?key=s3cret-uri"));
    for (name, value) in [
        ("content-type", content_type),
        ("authorization", "Bearer s3cret-authorization"),
        ("proxy-authorization", "Bearer s3cret-proxy-authorization"),
        ("api-key", "s3cret-api-key"),
        ("x-api-key", "s3cret-x-api-key"),
        ("cookie", "session=s3cret-cookie"),
        ("x-anything", "s3cret-header"),
    ] {
        request = request.header(name, value);
    }
    request.body(body).unwrap()
}

/// Prints and reads the request; its response holds secrets.
async fn inner(
    request: Request<RoutedBody<ScriptedBody>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(routed) = request.extensions().get::<RoutedModel>() {
        print(routed);
    }
    let mut body = request.into_body();
    print(&body);
    while let Some(frame) = body.frame().await {
        if let Err(error) = frame {
            print_error(&*error);
            break;
        }
    }
    print(&body);
    let body = r#"{"model":"0xb603","choices":"s3cret-response"}"#;
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("set-cookie", "s3cret-set-cookie");
    Ok(response.body(body.into()).unwrap())
}

/// Sends a body of these frames. Returns the rejection's code or `"ok"`.
async fn send(layer: &ModelRoutingLayer, frames: &[&str]) -> &'static str {
    let body = ScriptedBody::new(frames.iter().map(data));
    send_request(layer, request("application/json", body)).await
}

async fn send_request(layer: &ModelRoutingLayer, request: Request<ScriptedBody>) -> &'static str {
    let mut service = layer.layer(service_fn(inner));
    print(&layer);
    let future = service.ready().await.unwrap().call(request);
    print(&future);
    let response = future.await.unwrap();
    print(response.body());
    if let Some(routed) = response.extensions().get::<RoutedModel>() {
        print(routed);
    }
    let code = response.extensions().get::<Rejection>().map(|rejection| {
        print_error(rejection);
        rejection.code().as_str()
    });
    response.into_body().collect().await.unwrap();
    code.unwrap_or("ok")
}

fn configured(
    source: impl RegistrySource,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> ModelRoutingLayer {
    let builder = configure(builder(source))
        .response_model(ResponseModel::Served)
        .response_headers(true);
    print(&builder);
    let config = builder.build().unwrap();
    print(&config);
    ModelRoutingLayer::new(config)
}

#[test]
fn requests_and_responses_reach_no_log_error_or_debug_output() {
    let output = output_of(send_requests_of_every_outcome);
    assert_logged(
        &output,
        &[
            "routing to the fallback model",
            "route_model",
            r#""level":"DEBUG""#,
            "RoutedBody",
            // All rejections but `request_timeout`.
            "invalid_json",
            "invalid_multipart",
            "duplicate_model",
            "ambiguous_model",
            "invalid_model",
            "model_type_mismatch",
            "model_not_found",
            "request_too_large",
            "unsupported_content_encoding",
            "unsupported_media_type",
            "model_registry_unavailable",
            "fallback_model_unavailable",
            "overloaded",
        ],
    );
}

async fn send_requests_of_every_outcome() {
    let models = ScriptedSource::with_models;
    let layer = configured(models(), |config| config.max_held_bytes(200));
    layer.registry().refresh().await.unwrap();
    let long = format!(r#"{{"messages":"s3cret-body{}""#, "x".repeat(200));
    for (frames, code) in [
        (
            &[r#"{"model":"venice-uncensored","messages":"s3cret-body"}"#][..],
            "ok",
        ),
        (&[r#"{"messages":"s3cret-body"}"#], "ok"),
        (&[r#"{"messages":"s3cret-body","model":"unknown"}"#], "ok"),
        (&[r#"{"messages":"s3cret-body","#], "invalid_json"),
        (&["s3cret-body"], "invalid_json"),
        (&[r#"{"s3cret-body":}"#], "invalid_json"),
        (
            &[r#"{"model":"m","s3cret-body":1,"model":"n"}"#],
            "duplicate_model",
        ),
        // Rejected late.
        (
            &[r#"{"model":"m","s3cret-body":1"#, r#","model":"n"}"#],
            "duplicate_model",
        ),
        (
            &[r#"{"model":"m","x":"s3cret-body""#, "s3cret-body"],
            "invalid_json",
        ),
        (
            &[r#"{"x":"s3cret-body","MODEL":"s3cret-body"}"#],
            "ambiguous_model",
        ),
        (&[r#"{"model":{"x":"s3cret-body"}}"#], "invalid_model"),
        (
            &[r#"{"x":"s3cret-body","model":"whisper-1"}"#],
            "model_type_mismatch",
        ),
        (&[&long, "}"], "request_too_large"),
    ] {
        assert_eq!(send(&layer, frames).await, code, "{frames:?}");
    }

    let form = "multipart/form-data; boundary=b";
    for (content_type, body, code) in [
        (form, "--b\r\ns3cret-body", "invalid_multipart"),
        (
            form,
            "--b\r\nContent-Disposition: form-data; name=\"s3cret-body\"\r\n\r\n\
             s3cret-body\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\
             whisper-1\r\n--b--\r\n",
            "model_type_mismatch",
        ),
        ("multipart/form-data", "s3cret-body", "invalid_multipart"),
        ("text/plain", "s3cret-body", "unsupported_media_type"),
    ] {
        let body = ScriptedBody::new([data(body)]);
        let sent = send_request(&layer, request(content_type, body)).await;
        assert_eq!(sent, code, "{content_type}");
    }
    let body = ScriptedBody::new([data("s3cret-body")]);
    let mut encoded = request("application/json", body);
    let encoding = HeaderValue::from_static("compress");
    encoded.headers_mut().insert("content-encoding", encoding);
    let sent = send_request(&layer, encoded).await;
    assert_eq!(sent, "unsupported_content_encoding");

    let unknown = [r#"{"messages":"s3cret-body","model":"unknown"}"#];
    let rejecting = configured(models(), |config| {
        config.unknown_model(UnknownModel::Reject)
    });
    assert_eq!(send(&rejecting, &unknown).await, "model_not_found");
    let no_fallback = configured(models(), |config| config.fallback(Endpoint::Llm, "gone"));
    let sent = send(&no_fallback, &unknown).await;
    assert_eq!(sent, "fallback_model_unavailable");
    let unavailable = configured(ScriptedSource::new(Outcome::Failure), |config| config);
    let sent = send(&unavailable, &unknown).await;
    assert_eq!(sent, "model_registry_unavailable");
    let full = configured(models(), |config| config.max_total_held_bytes(40));
    let prefix = r#"{"messages":"s3cret-body""#;
    let held = ScriptedBody::new([data(prefix), Step::Hang]);
    let mut service = full.layer(service_fn(inner));
    let mut holding = tokio_test::task::spawn(service.call(request("application/json", held)));
    assert!(holding.poll().is_pending());
    assert_eq!(send(&full, &[prefix, "}"]).await, "overloaded");
}

#[test]
fn registry_secrets_reach_no_log_error_or_debug_output() {
    let output = output_of(use_registries_of_every_kind);
    assert_logged(
        &output,
        &[
            "catalog changed",
            "catalog not refreshed",
            "no complete",
            "more than 3 redirects",
            "a URL with a user name or password",
            "certificate",
            "not a usable catalog",
            // Dependencies.
            "reqwest::connect",
            "hyper_util::client",
            "rustls::client",
        ],
    );
}

const QUERY: &str = "?sig=s3cret-query#s3cret-fragment";

async fn use_registries_of_every_kind() {
    let server = RegistryServer::start(ScriptedResponse::new(200, MODELS).etag("\"1\"")).await;
    let url = |host: &str| format!("http://user:s3cret-password@{host}/models{QUERY}");
    let here = url(&server.address().to_string());

    let layer = configured(ReqwestSource::new(&here).unwrap(), |config| config);
    assert_eq!(send(&layer, &[r#"{"model":"flux"}"#]).await, "ok");
    let builder = RoutingConfig::builder().models_url(&*here);
    print(&builder);
    print(&builder.build().unwrap());
    for bad in ["ftp://user:s3cret@h/?s3cret", "user:s3cret@h", "http://"] {
        print_error(&ReqwestSource::new(bad).unwrap_err());
        let error = RoutingConfig::builder().models_url(bad).build();
        print_error(&error.unwrap_err());
    }
    let source = ReqwestSource::new(&here).unwrap();
    print(&source);
    print(&source.fetch(None).await.unwrap());
    print(&Fetched::document("s3cret-document").with_etag("\"1\""));
    for document in [
        r#""s3cret-document""#,
        r#"{"models":"s3cret-document"}"#,
        r#"{"models":{"s3cret-document":1}}"#,
        r#"{"models":["s3cret-document"]}"#,
        r#"{"s3cret-document":1}"#,
        r#"["s3cret-document"]"#,
        "s3cret-document",
    ] {
        print_error(&Catalog::parse(document.as_bytes()).unwrap_err());
    }

    let shared = layer.registry();
    let other_host = format!("http://user:s3cret-password@127.0.0.1:1/x{QUERY}");
    let document = || ScriptedResponse::new(200, "s3cret-document");
    for response in [
        document().status(500),
        ScriptedResponse::new(200, "<html>s3cret-document"),
        ScriptedResponse::new(200, r#"{"s3cret-document":1}"#),
        ScriptedResponse::new(200, r#"{"models":"s3cret-document"}"#),
        ScriptedResponse::new(200, r#""s3cret-document""#),
        document().truncated(),
        document().reset(),
        document().header("content-encoding", "br"),
        document().header("content-length", "99999999999"),
        ScriptedResponse::redirect(302, format!("/models{QUERY}")),
        ScriptedResponse::redirect(302, format!("ftp://user:s3cret@h/{QUERY}")),
        ScriptedResponse::redirect(302, other_host),
        ScriptedResponse::redirect(302, "http://user:s3cret@[bad/x?s3cret"),
    ] {
        server.set_response(response);
        let error = shared.refresh().await.unwrap_err();
        print_error(&error);
        print_text(error.report());
        print(shared);
        print_text(shared.location());
        print(&shared.stats());
    }
    // A redirect that is followed, with a cookie.
    let changed = ScriptedResponse::new(200, MODELS.replace("flux", "fluxx"));
    server.set_response(changed.header("set-cookie", "s3cret-set-cookie"));
    server.push(ScriptedResponse::redirect(
        302,
        format!("/elsewhere{QUERY}"),
    ));
    shared.refresh().await.unwrap();

    let untrusted = start_untrusted_https_server();
    for url in [
        format!("https://user:s3cret-password@{untrusted}/{QUERY}"),
        url("127.0.0.1:1"),
        url("does-not-exist.invalid"),
    ] {
        let source = ReqwestSource::new(&url).unwrap();
        let registry = registry_with_timeout(source, Duration::from_secs(5));
        print_error(&registry.refresh().await.unwrap_err());
        print(&registry);
    }
    server.set_response(ScriptedResponse::silent());
    let source = ReqwestSource::new(&here).unwrap();
    let hasty = registry_with_timeout(source, Duration::from_millis(100));
    print_error(&hasty.catalog().await.unwrap_err());
    let models = ModelListService::new(hasty);
    let request = Request::get("/v1/models/unknown").body(()).unwrap();
    let response = models.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    print_text(String::from_utf8_lossy(&body));
    print(&models);
    print(&registry(ReqwestSource::new(&here).unwrap()));
}
