//! Keys, query strings and bodies reach no log, no error and no debug print.
//!
//! Each test plants secrets everywhere, logs everything there is, that of the
//! dependencies too, in a process of its own, shows there every value that a
//! user could print, and searches all that this process has written.

use std::{
    convert::Infallible,
    error::Error,
    fmt::{Debug, Display},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_model_routing::{
    Catalog, Endpoint, Fetched, ModelListService, ModelRoutingLayer, Registry, RegistryPolicy,
    RegistrySource, Rejection, ReqwestSource, RoutedBody, RoutedModel, RoutingConfig,
    RoutingConfigBuilder, UnknownModel,
};

use crate::{
    registry_https::{found, ok, serve_tls},
    support::{
        body::{Script, data},
        child::{self, log_everything},
        gateway::CHAT,
        registry_server::{RegistryServer, Reply},
        source::{self, MODELS, Source},
    },
};

/// What every secret begins with; the rest says where it was planted.
const SECRET: &str = "s3cret";
/// "user:s3cret" in base 64, but for the end of it.
const SECRET_IN_BASE_64: &str = "dXNlcjpzM2NyZX";

/// Runs the test in a process of its own and searches what it wrote; `None` in
/// that process.
fn log_of(test: &str) -> Option<String> {
    let output = child::output_of(&format!("secrets::{test}"), |command| {
        let trusted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
        command
            .env("SSL_CERT_FILE", trusted)
            .env_remove("SSL_CERT_DIR")
            .env("HTTP_PROXY", "http://user:s3cret-proxy@127.0.0.1:1")
            .env_remove("http_proxy")
            .env_remove("NO_PROXY")
            .env_remove("no_proxy");
    })?;
    let log = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for secret in [SECRET, SECRET_IN_BASE_64] {
        if let Some(at) = log.find(secret) {
            let line = log[..at].lines().count();
            let lines: Vec<_> = log.lines().skip(line.saturating_sub(1)).take(2).collect();
            panic!("a secret is shown:\n{}", lines.join("\n"));
        }
    }
    Some(log)
}

fn show(value: &(impl Debug + ?Sized)) {
    eprintln!("shown: {value:?} {value:#?}");
}

/// Shows an error and all its causes in every way.
fn show_error(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        eprintln!("shown: {error}");
        show(error);
        next = error.source();
    }
}

fn show_text(text: impl Display) {
    eprintln!("shown: {text}");
}

/// A request full of secrets.
fn request<B>(content_type: &'static str, body: B) -> Request<B> {
    let mut request = Request::post(format!("{CHAT}?key=s3cret-uri"))
        .header("content-type", content_type)
        .body(body)
        .unwrap();
    for (name, value) in [
        ("authorization", "Bearer s3cret-authorization"),
        ("proxy-authorization", "Bearer s3cret-proxy-authorization"),
        ("api-key", "s3cret-api-key"),
        ("x-api-key", "s3cret-x-api-key"),
        ("cookie", "session=s3cret-cookie"),
        ("x-anything", "s3cret-header"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    request
}

/// Reads the body, shows it, and answers with secrets.
async fn inner(request: Request<RoutedBody<Script>>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(routed) = request.extensions().get::<RoutedModel>() {
        show(routed);
    }
    let mut body = request.into_body();
    show(&body);
    while let Some(frame) = body.frame().await {
        if let Err(error) = frame {
            show_error(&*error);
            break;
        }
    }
    show(&body);
    let answer = r#"{"model":"0xb603","choices":"s3cret-answer"}"#;
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("set-cookie", "s3cret-set-cookie");
    Ok(response.body(answer.into()).unwrap())
}

/// Sends a body of these frames; the code of the rejection, or `"ok"`.
async fn send(layer: &ModelRoutingLayer, frames: &[&str]) -> &'static str {
    let body = Script::new(frames.iter().map(data));
    send_request(layer, request("application/json", body)).await
}

async fn send_request(layer: &ModelRoutingLayer, request: Request<Script>) -> &'static str {
    let mut service = layer.layer(service_fn(inner));
    show(&layer);
    let future = service.ready().await.unwrap().call(request);
    show(&future);
    let response = future.await.unwrap();
    show(response.body());
    if let Some(routed) = response.extensions().get::<RoutedModel>() {
        show(routed);
    }
    let code = response.extensions().get::<Rejection>().map(|rejection| {
        show_error(rejection);
        rejection.code().as_str()
    });
    response.into_body().collect().await.unwrap();
    code.unwrap_or("ok")
}

fn configured(
    source: impl RegistrySource,
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> ModelRoutingLayer {
    let builder = configure(RoutingConfig::builder().source(source))
        .restore_model_name(true)
        .response_headers(true);
    show(&builder);
    let config = builder.build().unwrap();
    show(&config);
    ModelRoutingLayer::new(config)
}

#[tokio::test]
async fn requests_and_answers_reach_no_log_error_or_debug_print() {
    let Some(log) = log_of("requests_and_answers_reach_no_log_error_or_debug_print") else {
        return requests_of_every_outcome().await;
    };
    for expected in [
        "routing to the fallback model",
        "route_model",
        r#""level":"DEBUG""#,
        "RoutedBody",
        // Every code, so that none has been forgotten.
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
    ] {
        assert!(log.contains(expected), "{expected} is not in:\n{log}");
    }
}

async fn requests_of_every_outcome() {
    log_everything();
    let layer = configured(Source::of_models(), |config| config.max_held_bytes(200));
    layer.registry().refresh().await.unwrap();
    let long = format!(r#"{{"messages":"s3cret-body{}""#, "x".repeat(200));
    for (frames, code) in [
        (
            &[r#"{"model":"venice-uncensored","messages":"s3cret-body"}"#][..],
            "ok",
        ),
        (&[r#"{"messages":"s3cret-body"}"#], "ok"),
        (&[r#"{"messages":"s3cret-body","model":"nobody"}"#], "ok"),
        (&[r#"{"messages":"s3cret-body","#], "invalid_json"),
        (&["s3cret-body"], "invalid_json"),
        (&[r#"{"s3cret-body":}"#], "invalid_json"),
        (
            &[r#"{"model":"m","s3cret-body":1,"model":"n"}"#],
            "duplicate_model",
        ),
        // These two are refused late.
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
        let body = Script::new([data(body)]);
        let sent = send_request(&layer, request(content_type, body)).await;
        assert_eq!(sent, code, "{content_type}");
    }
    let mut encoded = request("application/json", Script::new([data("s3cret-body")]));
    let encoding = HeaderValue::from_static("gzip");
    encoded.headers_mut().insert("content-encoding", encoding);
    assert_eq!(
        send_request(&layer, encoded).await,
        "unsupported_content_encoding"
    );

    let unknown = [r#"{"messages":"s3cret-body","model":"nobody"}"#];
    let strict = configured(Source::of_models(), |config| {
        config.unknown_model(UnknownModel::Reject)
    });
    assert_eq!(send(&strict, &unknown).await, "model_not_found");
    let orphan = configured(Source::of_models(), |config| {
        config.fallback(Endpoint::Llm, "gone")
    });
    assert_eq!(send(&orphan, &unknown).await, "fallback_model_unavailable");
    let dead = configured(Source::new(source::Answer::Fails), |config| config);
    assert_eq!(send(&dead, &unknown).await, "model_registry_unavailable");
    let full = configured(Source::of_models(), |config| {
        config.max_total_held_bytes(40)
    });
    let mut service = full.layer(service_fn(inner));
    let held = Script::new([
        data(r#"{"messages":"s3cret-body""#),
        crate::support::body::Step::Hang,
    ]);
    let mut holding = tokio_test::task::spawn(service.call(request("application/json", held)));
    assert!(holding.poll().is_pending());
    assert_eq!(
        send(&full, &[r#"{"messages":"s3cret-body""#, "}"]).await,
        "overloaded"
    );
}

#[tokio::test]
async fn registry_secrets_reach_no_log_error_or_debug_print() {
    let Some(log) = log_of("registry_secrets_reach_no_log_error_or_debug_print") else {
        return registries_of_every_kind().await;
    };
    for expected in [
        "catalog changed",
        "catalog not refreshed",
        "no complete answer within",
        "more than 3 redirects",
        "a URL with a user name or password",
        "from https to http",
        "certificate",
        "not a usable catalog",
        // The dependencies log too.
        "reqwest::connect",
        "hyper_util::client",
        "rustls::client",
    ] {
        assert!(log.contains(expected), "{expected} is not in:\n{log}");
    }
}

const QUERY: &str = "?sig=s3cret-query#s3cret-fragment";

async fn registries_of_every_kind() {
    log_everything();
    let server = RegistryServer::start(Reply::new(200, MODELS).etag("\"1\"")).await;
    let url = |host: &str| format!("http://user:s3cret-password@{host}/list{QUERY}");
    let here = url(&server.address().to_string());

    // Used by requests.
    let layer = configured(ReqwestSource::new(&here).unwrap(), |config| config);
    assert_eq!(send(&layer, &[r#"{"model":"flux"}"#]).await, "ok");
    let builder = RoutingConfig::builder().models_url(&*here);
    show(&builder);
    show(&builder.build().unwrap());
    for bad in ["ftp://user:s3cret@h/?s3cret", "user:s3cret@h", "http://"] {
        show_error(&ReqwestSource::new(bad).unwrap_err());
        let error = RoutingConfig::builder().models_url(bad).build();
        show_error(&error.unwrap_err());
    }
    let source = ReqwestSource::new(&here).unwrap();
    show(&source);
    show(&source.fetch(None).await.unwrap());
    show(&Fetched::document("s3cret-document").with_etag("\"1\""));
    for document in [
        r#""s3cret-document""#,
        r#"{"models":"s3cret-document"}"#,
        r#"{"models":{"s3cret-document":1}}"#,
        r#"{"models":["s3cret-document"]}"#,
        r#"{"s3cret-document":1}"#,
        r#"["s3cret-document"]"#,
        "s3cret-document",
    ] {
        show_error(&Catalog::parse(document.as_bytes()).unwrap_err());
    }

    let registry = layer.registry();
    let there = format!("http://user:s3cret-password@127.0.0.1:1/x{QUERY}");
    for reply in [
        Reply::new(500, "s3cret-document"),
        Reply::new(200, "<html>s3cret-document"),
        Reply::new(200, r#"{"s3cret-document":1}"#),
        Reply::new(200, r#"{"models":"s3cret-document"}"#),
        Reply::new(200, r#""s3cret-document""#),
        Reply::new(200, "s3cret-document").truncated(),
        Reply::new(200, "s3cret-document").reset(),
        Reply::new(200, "s3cret-document").header("content-encoding", "br"),
        Reply::new(200, "").header("content-length", "99999999999"),
        Reply::redirect(302, format!("/list{QUERY}")),
        Reply::redirect(302, format!("ftp://user:s3cret@h/{QUERY}")),
        Reply::redirect(302, there.clone()),
        Reply::redirect(302, "http://user:s3cret@[bad/x?s3cret"),
    ] {
        server.reply(reply);
        show_error(&registry.refresh().await.unwrap_err());
        show(registry);
        show(&registry.stats());
        show_text(serde_json::to_string(&registry.stats()).unwrap());
    }
    // A redirect that is followed, with a cookie that nobody asked for.
    let list = Reply::new(200, MODELS.replace("flux", "fluxx"));
    server.reply(list.header("set-cookie", "s3cret-set-cookie"));
    server.push(Reply::redirect(302, format!("/elsewhere{QUERY}")));
    registry.refresh().await.unwrap();

    // Over TLS.
    let secure = format!(
        "user:s3cret-password@localhost:{}",
        serve_tls(ok(MODELS)).port()
    );
    let secure = Registry::new(ReqwestSource::new(&format!("https://{secure}/{QUERY}")).unwrap());
    secure.refresh().await.unwrap();
    let downgrade = serve_tls(found(&server.url_of("/x?s3cret-query"))).port();
    let by_another_name = serve_tls(ok(MODELS)).port();
    for url in [
        format!("https://user:s3cret-password@localhost:{downgrade}/{QUERY}"),
        // The certificate is not for this name.
        format!("https://user:s3cret-password@127.0.0.2:{by_another_name}/{QUERY}"),
        url("127.0.0.1:1"),
        // By way of the proxy in the environment.
        url("does-not-exist.invalid"),
    ] {
        let registry = Registry::new(ReqwestSource::new(&url).unwrap());
        show_error(&registry.refresh().await.unwrap_err());
        show(&registry);
    }
    server.reply(Reply::silent());
    let mut hasty = RegistryPolicy::default();
    hasty.fetch_timeout = Duration::from_millis(100);
    let hasty = Registry::with_policy(ReqwestSource::new(&here).unwrap(), hasty, None);
    let error = hasty.catalog().await.unwrap_err();
    show_error(&error);
    let list = ModelListService::new(hasty);
    let request = Request::get("/v1/models/nobody").body(()).unwrap();
    let response = list.clone().oneshot(request).await.unwrap();
    show_text(String::from_utf8_lossy(
        &response.into_body().collect().await.unwrap().to_bytes(),
    ));
    show(&list);
}
