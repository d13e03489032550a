//! Text of clients, registries and sources that tries to become more than text: a line of a log, a
//! header, a label, a piece of JSON.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{
    ResponseModel, RoutedBody, UnknownModel,
    registry::{Catalog, FetchFuture, RegistrySource, SourceError},
};

use crate::support::{
    gateway::{CHAT, Gateway, layer, post, registry},
    log::{assert_logged, capture},
    source::{Outcome, ScriptedSource},
};

/// A text that ends strings, lines, labels and escape sequences of every kind.
pub(crate) const HOSTILE: &str = "a\"}],'\\\r\nx-evil: 1\n\n\
     2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\u{9b}31m\u{7}\u{2028}\
     \u{2029}\u{202e}\u{0}\u{7f}%0d%0a{model=\"x\"} 1\ndata: x\n\nz";

/// Returns a registry with a model whose every text is [`HOSTILE`], and the fallback.
pub(crate) fn hostile_source() -> ScriptedSource {
    let models = json!({"models": [
        {"Id": HOSTILE, "Name": HOSTILE, "ModelType": "LLM", "Tags": [HOSTILE], "Owner": HOSTILE},
        {"Id": "0x0a", "Name": "mistral-31-24b", "ModelType": HOSTILE},
    ]});
    ScriptedSource::new(Outcome::Catalog(models.to_string()))
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Returns whether a terminal or a log viewer acts on the character or ends the line at it.
fn is_unsafe(c: char) -> bool {
    c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)
}

#[tokio::test]
async fn name_and_id_stay_one_json_string_and_one_header() {
    const ID_HEADER: HeaderName = HeaderName::from_static("model_id");

    let layer = layer(hostile_source(), |config| {
        config
            .id_header(ID_HEADER)
            .response_headers(true)
            .response_model(ResponseModel::Served)
    });
    let expected = json!({"model": HOSTILE, "n": 1});
    for (content_type, before, after) in [
        ("application/json", "", ""),
        ("text/event-stream", "data: ", "\n\n"),
    ] {
        let inner = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
            let (head, body) = request.into_parts();
            assert!(is_visible_ascii(head.headers[ID_HEADER].to_str().unwrap()));
            assert!(!head.headers.contains_key("x-evil"));
            let body = body.collect().await.unwrap().to_bytes();
            let received: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(received, json!({"model": HOSTILE, "n": 1}));
            let body = [before.as_bytes(), &body, after.as_bytes()].concat();
            let response = Response::builder().header("content-type", content_type);
            Ok::<_, Infallible>(response.body(Full::<Bytes>::from(body)).unwrap())
        });
        let request = post(CHAT, Full::<Bytes>::from(expected.to_string()));
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        for name in ["x-model-id", "x-model-name"] {
            assert!(is_visible_ascii(response.headers()[name].to_str().unwrap()));
        }
        assert!(!response.headers().contains_key("x-evil"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        let json = body.strip_prefix(before).unwrap();
        let json = json.strip_suffix(after).unwrap();
        // An event has one line.
        assert!(!json.contains(['\n', '\r']));
        assert_eq!(serde_json::from_str::<Value>(json).unwrap(), expected);
    }
}

#[tokio::test]
async fn quoted_name_in_a_message_is_short_and_printable() {
    let gateway = Gateway::with_source(hostile_source(), |config| {
        config.unknown_model(UnknownModel::Reject)
    });
    let long = "x".repeat(1 << 20);
    for (name, max_len) in [
        (HOSTILE.replace('a', "b"), 700),
        (format!("{HOSTILE}{long}"), 700),
        (format!("\u{1b}[31m\"\n{long}"), 400),
    ] {
        let body = json!({ "model": name }).to_string();
        let (response, received) = gateway.send(post(CHAT, Full::<Bytes>::from(body))).await;
        assert_eq!(response.code(), "model_not_found");
        assert!(received.is_none());
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(!message.contains(is_unsafe), "{message:?}");
        assert!(message.len() < max_len, "{}", message.len());
    }
}

#[test]
fn deeply_nested_catalog_does_not_overflow_the_stack() {
    const DEPTH: usize = 1_000_000;

    let deep = ["[".repeat(DEPTH), "]".repeat(DEPTH)].concat();
    let document = format!(
        r#"{{"x":{deep},"models":[{{"Id":"0x1","Name":"a","Tags":{deep}}},
        {{"Id":"0x2","Name":"b"}}]}}"#
    );
    let catalog = Catalog::parse(document.as_bytes()).unwrap();
    assert_eq!(catalog.len(), 1, "the nested entry is left out");
    assert!(Catalog::parse(deep.as_bytes()).is_err());
}

/// A source whose errors are this text.
#[derive(Debug)]
struct HostileSource(String);

impl RegistrySource for HostileSource {
    fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(async {
            let cause = std::io::Error::other(self.0.clone());
            Err(SourceError::new(self.0.clone()).with_source(cause))
        })
    }

    fn location(&self) -> String {
        "a script".into()
    }
}

#[test]
fn forges_no_log_line() {
    let log = capture(log_untrusted_text);
    assert_logged(
        &log,
        &[
            "routing to the fallback model",
            "catalog changed",
            "catalog not refreshed",
            "model_registry_unavailable",
            "model_not_found",
        ],
    );
    for line in log.split_terminator('\n') {
        let is_text = line.starts_with("20") && !line.starts_with("2026-01-01");
        let is_json = || serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
        assert!(is_text || is_json(), "{line:?}");
        assert!(!line.contains(is_unsafe), "{line:?}");
        assert!(line.len() < 16_384, "{}", line.len());
    }
}

async fn log_untrusted_text() {
    let long = format!("{HOSTILE}{}", "y".repeat(1 << 20));
    for unknown in [UnknownModel::Fallback, UnknownModel::Reject] {
        let gateway =
            Gateway::with_source(hostile_source(), |config| config.unknown_model(unknown));
        for name in [HOSTILE, &long, &HOSTILE.replace('a', "b")] {
            gateway
                .post(CHAT, json!({ "model": name }).to_string())
                .await;
        }
        for header in ["content-type", "content-encoding"] {
            let value = format!("{}{}", "x\t\"'".repeat(100), "\u{9b}31m");
            let request = Request::post(CHAT).header(header, value);
            gateway
                .send(request.body(Full::<Bytes>::from("{}")).unwrap())
                .await;
        }
    }
    let inner = service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let unavailable = layer(HostileSource(HOSTILE.into()), |config| config);
    let request = post(CHAT, Full::<Bytes>::from("{}"));
    let response = unavailable.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 503);
    let registry = registry(HostileSource(long));
    assert!(registry.refresh().await.is_err());
}
