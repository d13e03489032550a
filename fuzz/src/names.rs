//! Any names, IDs, tags and errors at all, and where the library writes them: statistics, headers,
//! the model list and responses.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use tower::Service;
use tower_model_routing::{ModelListService, ModelRoutingLayer, ResponseModel};

use crate::gateway::{Gateway, Source, paused_runtime};

/// Publishes a catalog, and asserts that the model list and responses are JSON with the very texts
/// in them, and that headers are ASCII that decodes to them.
///
/// The input, in lines: an ETag, an error, and for each model its name, a tab and its ID.
pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let (Some(etag), Some(error)) = (lines.next(), lines.next()) else {
        return;
    };
    let models: Vec<_> = lines
        .filter_map(|line| line.split_once('\t'))
        .take(4)
        .collect();
    let limit = Duration::from_secs(3_600);
    let all = async { tokio::time::timeout(limit, check_all(etag, error, &models)).await };
    paused_runtime().block_on(all).expect("nothing hangs");
}

async fn check_all(etag: &str, error: &str, models: &[(&str, &str)]) {
    let entry = |(name, id): &(&str, &str)| json!({"Name": name, "Id": id, "ModelType": name});
    let entries: Vec<_> = models.iter().map(entry).collect();
    let source = Source::new(json!({ "models": entries }).to_string(), etag);
    let gateway = Gateway::new(source.clone(), |config| {
        config
            .response_headers(true)
            .id_header(HeaderName::from_static("model_id"))
            .response_model(ResponseModel::Served)
    });
    let layer = &gateway.layer;
    let published = layer.registry().refresh().await.is_ok();
    let usable = |text: &str| !text.trim().is_empty() && text.trim().len() <= 1024;
    assert_eq!(
        published,
        models.iter().any(|(name, id)| usable(name) && usable(id))
    );
    let stats = layer.registry().stats();
    if !published {
        assert_eq!(stats.models, 0);
        return;
    }
    // An ETag that no request can carry is dropped.
    let kept = stats.etag.as_deref();
    assert!(kept.is_none_or(|kept| kept == etag && HeaderValue::from_str(kept).is_ok()));
    assert!(stats.last_error.is_none());

    check_list(layer).await;
    let catalog = layer.registry().snapshot().expect("it has been fetched");
    for model in catalog.named_entries() {
        let found = catalog.find(model.name()).expect("a name in the catalog");
        let found = found.entry;
        check_headers(&gateway, model.name(), found.name(), found.id()).await;
    }

    source.fail(error);
    let refreshed = layer.registry().refresh().await;
    assert!(refreshed.is_err());
    let reported = layer.registry().stats().last_error.expect("an error");
    let error_shown = reported.report().to_string();
    assert!(!error_shown.contains(char::is_control), "{error_shown:?}");
    // One line, of which the end may be missing.
    let as_shown = |c: char| match c {
        '"' | '\'' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    let escaped: String = error.chars().map(as_shown).collect();
    let (_, shown) = error_shown
        .split_once("a script: ")
        .expect("source, then error");
    if shown != escaped {
        let start = shown.strip_suffix('…').expect("all of it, or its start");
        assert!(escaped.starts_with(start), "{error_shown:?}");
        assert!(error_shown.chars().count() > 1000, "{error_shown:?}");
    }
}

/// Asserts that the model list has every catalog entry, each of which can be requested.
async fn check_list(layer: &ModelRoutingLayer) {
    let catalog = layer.registry().snapshot().expect("it has been fetched");
    let mut service = ModelListService::new(layer.registry().clone());
    let mut get = async |path: String| -> Value {
        let request = Request::get(path).body(()).expect("a path");
        let response = service.call(request).await.expect("infallible");
        assert_eq!(response.status(), 200);
        assert!(response.headers()["etag"].to_str().is_ok());
        let body = response.into_body().collect().await.expect("infallible");
        serde_json::from_slice(&body.to_bytes()).expect("the list is JSON")
    };
    let list = get("/v1/models".into()).await;
    let listed = list["data"].as_array().expect("a list");
    let names: Vec<_> = catalog.named_entries().map(|e| json!(e.name())).collect();
    let listed: Vec<_> = listed.iter().map(|model| model["id"].clone()).collect();
    assert_eq!(listed, names);
    for model in catalog.named_entries() {
        let found = catalog.find(model.name()).expect("a name in the catalog");
        let found = found.entry;
        let name = utf8_percent_encode(model.name(), NON_ALPHANUMERIC);
        let shown = get(format!("/v1/models/{name}")).await;
        assert_eq!(shown["id"], found.name());
        assert_eq!(shown["blockchainID"], found.id());
    }
}

/// Asserts that a request for this name is forwarded with this ID, and that its response has this
/// catalog name.
async fn check_headers(gateway: &Gateway, requested: &str, name: &str, id: &str) {
    let body = json!({"model": requested}).to_string();
    let request = Request::post("/v1/other")
        .header("content-type", "application/json")
        .body(Full::from(body))
        .expect("a request");
    let (received, seen) = gateway.send(request).await;
    assert_text(
        &seen.expect("it was forwarded").head.headers,
        "model_id",
        id,
    );
    assert_text(&received.head.headers, "x-model-id", id);
    assert_text(&received.head.headers, "x-model-name", name);
    let response: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(response, json!({"model": name}));
}

/// Asserts that a header is visible ASCII, and this text or its encoding.
fn assert_text(headers: &HeaderMap, header: &str, text: &str) {
    let value = headers[header].to_str().expect("ASCII");
    let decoded = percent_decode_str(value).decode_utf8();
    let is_text = value == text || decoded.is_ok_and(|decoded| decoded == text);
    assert!(is_text, "{header}: {value}");
}
