//! Text of others (clients, registries, sources) that tries to become more than
//! text: a line of a log, a header, a label, a piece of JSON.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{
    Catalog, FetchFuture, Registry, RegistrySource, RoutedBody, SourceError, UnknownModel,
};

use crate::support::{
    child::{self, log_everything},
    gateway::{CHAT, Gateway, layer, post},
    source::{Answer, Source},
};

/// Ends strings, lines, labels and escape sequences of every kind.
const EVIL: &str = "a\"}],'\\\r\nx-evil: 1\n\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\u{9b}31m\
                    \u{7}\u{2028}\u{2029}\u{202e}\u{0}\u{7f}%0d%0a{model=\"x\"} 1\ndata: x\n\nz";

/// A registry with one evil model, which is also the newest `m`.
fn evil_source() -> Source {
    let models = json!({"models": [
        {"Id": EVIL, "Name": EVIL, "ModelType": "LLM", "Tags": [EVIL], "Owner": EVIL},
        {"Id": "0x0a", "Name": "mistral-31-24b", "ModelType": EVIL},
    ]});
    Source::new(Answer::List(models.to_string()))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[tokio::test]
async fn an_evil_name_or_id_stays_one_string_and_one_header() {
    const ID_HEADER: HeaderName = HeaderName::from_static("model_id");

    let layer = layer(&evil_source(), |config| {
        config
            .id_header(ID_HEADER)
            .response_headers(true)
            .restore_model_name(true)
    });
    let body = json!({"model": EVIL, "n": 1}).to_string();
    for content_type in ["application/json", "text/event-stream"] {
        let inner = service_fn(async |request: Request<RoutedBody<Full<Bytes>>>| {
            let (head, body) = request.into_parts();
            assert!(is_plain(head.headers[ID_HEADER].to_str().unwrap()));
            assert!(!head.headers.contains_key("x-evil"));
            let body = body.collect().await.unwrap().to_bytes();
            let seen: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(seen, json!({"model": EVIL, "n": 1}));
            let answer = match content_type {
                "application/json" => body,
                _ => Bytes::from([b"data: ", &body[..], b"\n\n"].concat()),
            };
            let response = Response::builder().header("content-type", content_type);
            Ok::<_, Infallible>(response.body(Full::<Bytes>::from(answer)).unwrap())
        });
        let request = post(CHAT, Full::<Bytes>::from(body.clone()));
        let (head, answer) = layer
            .layer(inner)
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        for name in ["x-model-id", "x-model-name"] {
            assert!(is_plain(head.headers[name].to_str().unwrap()));
        }
        assert!(!head.headers.contains_key("x-evil"));
        let answer = answer.collect().await.unwrap().to_bytes();
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        let json = match content_type {
            "application/json" => &*answer,
            // One event of one line.
            _ => answer
                .strip_prefix("data: ")
                .and_then(|event| event.strip_suffix("\n\n"))
                .unwrap(),
        };
        assert!(!json.contains(['\n', '\r']));
        let read: Value = serde_json::from_str(json).unwrap();
        assert_eq!(read, json!({"model": EVIL, "n": 1}));
    }
}

#[tokio::test]
async fn a_name_that_is_quoted_in_an_answer_is_bounded_and_has_no_control_characters() {
    let gateway = Gateway::of(evil_source(), |config| {
        config.unknown_model(UnknownModel::Reject)
    });
    for name in [
        EVIL.replace('a', "b"),
        format!("{EVIL}{}", "x".repeat(1 << 20)),
    ] {
        let request = post(
            CHAT,
            Full::<Bytes>::from(json!({ "model": name }).to_string()),
        );
        let (answer, seen) = gateway.send(request).await;
        assert_eq!(answer.code(), "model_not_found");
        assert!(seen.is_none());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        let bad = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
        assert!(!message.contains(bad), "{message:?}");
        assert!(message.len() < 4096, "{}", message.len());
    }
}

#[test]
fn a_name_or_id_past_1024_bytes_is_left_out() {
    let long = "x".repeat(1025);
    let models = json!({"models": [
        {"Id": "0x1", "Name": long}, {"Id": long, "Name": "b"}, {"Id": "0x3", "Name": "c"},
    ]});
    let catalog = Catalog::parse(models.to_string().as_bytes()).unwrap();
    assert_eq!((catalog.len(), catalog.id_count()), (1, 1));
}

#[test]
fn a_deeply_nested_list_is_no_stack_overflow() {
    const DEPTH: usize = 1_000_000;

    let deep = ["[".repeat(DEPTH), "]".repeat(DEPTH)].concat();
    let around = format!(
        r#"{{"x":{deep},"models":[{{"Id":"0x1","Name":"a","Tags":{deep}}},
        {{"Id":"0x2","Name":"b"}}]}}"#
    );
    let catalog = Catalog::parse(around.as_bytes()).unwrap();
    assert_eq!(catalog.len(), 1, "the deep entry is left out");
    assert!(Catalog::parse(deep.as_bytes()).is_err());
}

/// A source whose errors hold another's text.
#[derive(Debug)]
struct Tells(String);

impl RegistrySource for Tells {
    fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(async {
            let cause = std::io::Error::other(self.0.clone());
            Err(SourceError::new(self.0.clone()).with_source(cause))
        })
    }

    fn location(&self) -> String {
        "somewhere".into()
    }
}

#[tokio::test]
async fn no_text_of_others_forges_a_line_of_a_log() {
    let output = child::output_of(
        "injection::no_text_of_others_forges_a_line_of_a_log",
        |_| {},
    );
    let Some(output) = output else {
        return log_evil_text().await;
    };
    let log = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "routing to the fallback model",
        "catalog changed",
        "catalog not refreshed",
        "model_registry_unavailable",
        "model_not_found",
    ] {
        assert!(log.contains(expected), "{expected} is not in:\n{log}");
    }
    for line in log.split_terminator('\n') {
        let is_text = line.starts_with("20") && !line.starts_with("2026-01-01");
        let is_json = || serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
        assert!(is_text || is_json(), "{line:?}");
        let bad = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
        assert!(!line.contains(bad), "{line:?}");
        assert!(line.len() < 16_384, "{}", line.len());
    }
}

async fn log_evil_text() {
    log_everything();
    let long = format!("{EVIL}{}", "y".repeat(1 << 20));
    for unknown in [UnknownModel::Fallback, UnknownModel::Reject] {
        let gateway = Gateway::of(evil_source(), |config| config.unknown_model(unknown));
        for name in [EVIL, &long, &EVIL.replace('a', "b")] {
            let request = post(
                CHAT,
                Full::<Bytes>::from(json!({ "model": name }).to_string()),
            );
            gateway.send(request).await;
            for header in ["content-type", "content-encoding"] {
                let value = format!("{}{}", "x\t\"'".repeat(100), "\u{9b}31m");
                let request = Request::post(CHAT)
                    .header(header, value)
                    .body(Full::<Bytes>::from("{}"));
                gateway.send(request.unwrap()).await;
            }
        }
    }
    let dead = layer_of(Tells(EVIL.into()));
    let request = post(CHAT, Full::<Bytes>::from("{}"));
    let inner = service_fn(async |_: Request<RoutedBody<Full<Bytes>>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let response = dead.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 503);
    let registry = Registry::new(Tells(long));
    assert!(registry.refresh().await.is_err());
}

fn layer_of(source: impl RegistrySource) -> tower_model_routing::ModelRoutingLayer {
    let config = tower_model_routing::RoutingConfig::builder().source(source);
    tower_model_routing::ModelRoutingLayer::new(config.build().unwrap())
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn an_evil_name_is_one_label_and_a_clients_name_is_none() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let guard = metrics::set_default_local_recorder(&recorder);
    let gateway = Gateway::of(evil_source(), |config| config);
    for client in 0..50 {
        for name in [EVIL.to_owned(), format!("{EVIL}{client}")] {
            gateway
                .post(CHAT, json!({ "model": name }).to_string())
                .await;
        }
    }
    drop(guard);
    let text = recorder.handle().render();
    let requests: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("model_routing_requests_total{"))
        .collect();
    assert_eq!(requests.len(), 2, "{text}");
    let ours = |line: &str| line.is_empty() || line.starts_with("# ") || line.starts_with("model_");
    assert!(text.split('\n').all(ours), "{text}");
}
