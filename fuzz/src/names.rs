//! Any names, IDs, tags and errors at all, and where we write them: statistics,
//! headers, lists and answers.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_model_routing::{
    FetchFuture, Fetched, ModelListService, ModelRoutingLayer, RegistrySource, RoutedBody,
    RoutingConfig, SourceError,
};

/// Publishes a list of models, and asserts that statistics and lists are JSON
/// with the very texts in them, and that headers are ASCII from which they can
/// be had.
///
/// The input, in lines: an ETag, an error, and for each model its name, a tab
/// and its ID.
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
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let limit = Duration::from_secs(3_600);
    let all = async { tokio::time::timeout(limit, check_all(etag, error, &models)).await };
    runtime.block_on(all).expect("nothing hangs");
}

async fn check_all(etag: &str, error: &str, models: &[(&str, &str)]) {
    let entry = |(name, id): &(&str, &str)| json!({"Name": name, "Id": id, "ModelType": name});
    let entries: Vec<_> = models.iter().map(entry).collect();
    let source = Source {
        document: json!({ "models": entries }).to_string().into(),
        etag: etag.into(),
        error: Arc::default(),
    };
    let config = RoutingConfig::builder()
        .source(source.clone())
        .response_headers(true)
        .id_header(HeaderName::from_static("model_id"))
        .restore_model_name(true);
    let layer = ModelRoutingLayer::new(config.build().expect("valid settings"));
    let published = layer.registry().refresh().await.is_ok();
    let usable = |text: &str| !text.trim().is_empty() && text.trim().len() <= 1024;
    assert_eq!(
        published,
        models.iter().any(|(name, id)| usable(name) && usable(id))
    );
    let stats = stats(&layer);
    if !published {
        assert_eq!(stats["cached_models"], 0);
        return;
    }
    // One that no request can carry is not kept.
    let kept = stats["last_etag"].as_str();
    assert!(kept.is_none_or(|kept| kept == etag && HeaderValue::from_str(kept).is_ok()));
    assert_eq!(stats["last_error"], Value::Null);

    check_list(&layer).await;
    let catalog = layer.registry().snapshot().expect("it has been fetched");
    for model in catalog.named_entries() {
        let (found, _) = catalog.find(model.name()).expect("a name in the catalog");
        check_headers(&layer, model.name(), found.name(), found.id()).await;
    }

    *source.error.lock().expect("nobody panics") = Some(error.into());
    let refreshed = layer.registry().refresh().await;
    assert!(refreshed.is_err());
    let stats = self::stats(&layer);
    let told = stats["last_error"].as_str().expect("an error");
    assert!(!told.contains(char::is_control), "{told:?}");
    // In one line, of which the end may be missing.
    let as_told = |c: char| match c {
        '"' | '\'' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    let escaped: String = error.chars().map(as_told).collect();
    let (_, shown) = told.split_once("any names: ").expect("source, then error");
    if shown != escaped {
        let start = shown.strip_suffix('…').expect("all of it, or its start");
        assert!(escaped.starts_with(start), "{told:?}");
        assert!(told.chars().count() > 1000, "{told:?}");
    }
}

fn stats(layer: &ModelRoutingLayer) -> Value {
    let text = serde_json::to_string(&layer.registry().stats()).expect("JSON");
    serde_json::from_str(&text).expect("JSON")
}

/// Asserts that the list has all models, each of which can be asked for.
async fn check_list(layer: &ModelRoutingLayer) {
    let catalog = layer.registry().snapshot().expect("it has been fetched");
    let mut service = ModelListService::new(layer.registry().clone());
    let mut get = async |path: String| -> Value {
        let request = Request::get(path).body(()).expect("a path");
        let response = service.call(request).await.expect("infallible");
        assert_eq!(response.status(), 200);
        assert!(response.headers()["etag"].to_str().is_ok());
        let body = response.into_body().collect().await.expect("infallible");
        serde_json::from_slice(&body.to_bytes()).expect("a list is JSON")
    };
    let list = get("/v1/models".into()).await;
    let listed = list["data"].as_array().expect("a list");
    let names: Vec<_> = catalog.named_entries().map(|e| json!(e.name())).collect();
    let listed: Vec<_> = listed.iter().map(|model| model["id"].clone()).collect();
    assert_eq!(listed, names);
    for model in catalog.named_entries() {
        let (found, _) = catalog.find(model.name()).expect("a name in the catalog");
        let name = utf8_percent_encode(model.name(), NON_ALPHANUMERIC);
        let shown = get(format!("/v1/models/{name}")).await;
        assert_eq!(shown["id"], found.name());
        assert_eq!(shown["blockchainID"], found.id());
    }
}

/// Asserts that a request for this name is sent on with this ID, and answered
/// with this catalog name.
async fn check_headers(layer: &ModelRoutingLayer, requested: &str, name: &str, id: &str) {
    let seen = Arc::new(Mutex::new(None));
    let record = Arc::clone(&seen);
    let echo = service_fn(move |request: Request<RoutedBody<Full<Bytes>>>| {
        let record = Arc::clone(&record);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a good body").to_bytes();
            *record.lock().expect("nobody panics") = Some(head.headers);
            let response = Response::builder().header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(Full::new(body)).expect("a response"))
        }
    });
    let body = json!({"model": requested}).to_string();
    let request = Request::post("/v1/other")
        .header("content-type", "application/json")
        .body(Full::from(body))
        .expect("a request");
    let response = layer
        .layer(echo)
        .oneshot(request)
        .await
        .expect("infallible");
    let headers = seen
        .lock()
        .expect("nobody panics")
        .take()
        .expect("it was called");
    assert_text(&headers, "model_id", id);
    assert_text(response.headers(), "x-model-id", id);
    assert_text(response.headers(), "x-model-name", name);
    let answer = response.into_body().collect().await.expect("a good body");
    let answer: Value = serde_json::from_slice(&answer.to_bytes()).expect("JSON");
    assert_eq!(answer, json!({"model": name}));
}

/// Asserts that a header is visible ASCII, and this text or its encoding.
fn assert_text(headers: &HeaderMap, header: &str, text: &str) {
    let value = headers[header].to_str().expect("ASCII");
    let decoded = percent_decode_str(value).decode_utf8();
    let is_text = value == text || decoded.is_ok_and(|decoded| decoded == text);
    assert!(is_text, "{header}: {value}");
}

#[derive(Clone)]
struct Source {
    document: Bytes,
    etag: String,
    error: Arc<Mutex<Option<String>>>,
}

impl RegistrySource for Source {
    fn fetch<'a>(&'a self, _: Option<&'a str>) -> FetchFuture<'a> {
        let answer = match &*self.error.lock().expect("nobody panics") {
            Some(error) => Err(SourceError::new(error.clone())),
            None => Ok(Fetched::document(self.document.clone()).with_etag(&*self.etag)),
        };
        Box::pin(async { answer })
    }

    fn location(&self) -> String {
        "any names".into()
    }
}
