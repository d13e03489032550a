//! Which requests are inspected and how strictly, and that all others pass unchanged.

use bytes::Bytes;
use http::{Request, Uri, Version, header};
use http_body_util::Full;
use tower_model_routing::{Endpoint, RoutedModel};

use crate::support::{
    body::{Hint, ScriptedBody, Step, data, trailers},
    gateway::{CHAT, Gateway, post},
    source::{Outcome, ScriptedSource},
};

const EDITS: &str = "/v1/images/edits";
const OTHER: &str = "/v1/other";
const NAMED: &str = r#"{"model":"venice-uncensored"}"#;
const ROUTED: &str = r#"{"model":"0xb603"}"#;

/// Returns the outcome of a POST of [`NAMED`] with these headers: a code, `routed` or `unchanged`.
async fn outcome(path: &str, headers: &[(&str, &str)]) -> String {
    let gateway = Gateway::new();
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::from(NAMED)).unwrap();
    match gateway.send(request).await {
        (_, Some(received)) if received.text() == NAMED => "unchanged".into(),
        (_, Some(received)) if received.text() == ROUTED => "routed".into(),
        (_, Some(received)) => panic!("{received:?}"),
        (response, None) => response.code().into(),
    }
}

#[tokio::test]
async fn other_requests_pass_unchanged() {
    // No registry is needed.
    let gateway = Gateway::with_source(ScriptedSource::new(Outcome::Failure), |config| {
        config.response_headers(true)
    });
    for (method, path, content_type) in [
        ("GET", CHAT, "application/json"),
        ("DELETE", CHAT, "application/json"),
        ("PUT", "/v1/files", "application/json"),
        ("post", "/v1/files", "application/json"),
        ("PATCH", EDITS, "application/json"),
        ("POST", "/v1/files", "text/plain"),
        ("POST", "/v1/files", "multipart/form-data; boundary=b"),
        ("POST", "/v1/files", "application/json; charset=utf-16"),
    ] {
        let uri = format!("{path}?model=a&model=b");
        let body = ScriptedBody::new([
            data("{{\0"),
            Step::Pending,
            data(""),
            Step::Trailers(trailers()),
        ]);
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .version(Version::HTTP_2)
            .header("content-type", content_type)
            .header("content-length", "99")
            .header("digest", "sha-256=x")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .extension("mark")
            .body(body.hint(Hint::Exact))
            .unwrap();
        let headers = request.headers().clone();
        let (response, received) = gateway.send(request).await;
        let received = received.unwrap();
        assert_eq!(response.code(), "ok");
        assert_eq!(received.head.method, method);
        assert_eq!(received.head.uri, *uri);
        assert_eq!(received.head.version, Version::HTTP_2);
        assert_eq!(received.head.headers, headers, "{method} {path}");
        assert_eq!(received.head.extensions.get::<&str>(), Some(&"mark"));
        assert!(received.head.extensions.get::<RoutedModel>().is_none());
        assert!(response.head.extensions.get::<RoutedModel>().is_none());
        assert!(response.header("x-model-id").is_none());
        assert_eq!(received.text(), "{{\0");
        assert_eq!(received.exact_size, Some(3));
        assert_eq!(received.trailers, Some(trailers()));
    }
    assert_eq!(gateway.source.fetches(), 0);
}

#[tokio::test]
async fn routed_request_keeps_its_head() {
    let uri = "http://host:8/api/v1/embeddings/?api-version=x&y=%20";
    let content_type = "Application/Vnd.Api+JSON; charset=\"UTF-8\"";
    let request = Request::post(uri)
        .version(Version::HTTP_10)
        .header("content-type", content_type)
        .header("content-encoding", "identity")
        .header("transfer-encoding", "chunked")
        .header("authorization", "Bearer secret")
        .header("x-twice", "1")
        .header("x-twice", "2")
        .extension("mark")
        .body(Full::<Bytes>::from(r#"{"model":"TEXT-embedding-bge-m3"}"#))
        .unwrap();
    let headers = request.headers().clone();
    let (_, received) = Gateway::new().send(request).await;
    let received = received.unwrap();
    assert_eq!(received.text(), r#"{"model":"0x0b"}"#);
    assert_eq!(received.head.headers, headers);
    assert_eq!(received.head.uri, Uri::from_static(uri));
    assert_eq!(received.head.version, Version::HTTP_10);
    assert_eq!(received.head.extensions.get::<&str>(), Some(&"mark"));
}

#[tokio::test]
async fn content_type_decides() {
    let media = "unsupported_media_type";
    for (content_type, on_inference, elsewhere) in [
        (Some("application/json"), "routed", "routed"),
        (Some("application/problem+json"), "routed", "routed"),
        (
            Some("application/json; charset=us-ascii"),
            "routed",
            "routed",
        ),
        (Some("application/json; charset=utf-16"), media, "unchanged"),
        (Some("application/json; charset*=utf-7"), media, "unchanged"),
        (
            Some("application/json; charset*0=utf-7"),
            media,
            "unchanged",
        ),
        (
            Some("application/json; charset*=utf-8''utf-7"),
            media,
            "unchanged",
        ),
        (Some("application/json; profile=x"), media, "unchanged"),
        (Some("text/plain"), media, "unchanged"),
        (
            Some("multipart/form-data; boundary=b"),
            "invalid_multipart",
            "unchanged",
        ),
        (None, "routed", "unchanged"),
    ] {
        let headers = content_type.map(|value| ("content-type", value));
        let headers = headers.as_slice();
        assert_eq!(outcome(CHAT, headers).await, on_inference, "{headers:?}");
        assert_eq!(outcome(EDITS, headers).await, on_inference, "{headers:?}");
        assert_eq!(outcome(OTHER, headers).await, elsewhere, "{headers:?}");
    }
}

#[tokio::test]
async fn encoded_body_is_415_where_it_must_be_valid() {
    const UNSUPPORTED: &str = "unsupported_content_encoding";

    let json = ("content-type", "application/json");
    for (path, expected) in [
        (CHAT, UNSUPPORTED),
        (EDITS, UNSUPPORTED),
        (OTHER, "unchanged"),
    ] {
        let coding = if cfg!(feature = "decompression") {
            "compress"
        } else {
            "gzip"
        };
        for coding in [coding, "gzip, br", "identity, zstd"] {
            let found = outcome(path, &[json, ("content-encoding", coding)]).await;
            assert_eq!(found, expected, "{path} {coding}");
        }
        let identity = outcome(path, &[json, ("content-encoding", "identity")]).await;
        assert_eq!(identity, "routed");
    }

    let mut request = post(CHAT, Full::<Bytes>::from("\x1f"));
    let compress = header::HeaderValue::from_static("compress");
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_ENCODING, compress);
    let (response, _) = Gateway::new().send(request).await;
    let message = std::str::from_utf8(&response.body).unwrap();
    let remedy = if cfg!(feature = "decompression") {
        "gzip, deflate, br or zstd"
    } else {
        "the cargo feature `decompression`"
    };
    assert!(message.contains(remedy), "{message}");
}

#[tokio::test]
async fn endpoint_rejects_other_model_types() {
    // Which of LLM, EMBEDDING, TTS and STT each endpoint serves.
    const LLM: [bool; 4] = [true, false, false, false];
    const EMBEDDING: [bool; 4] = [false, true, false, false];
    const AUDIO: [bool; 4] = [false, false, true, true];

    let typed = [
        "venice-uncensored",
        "text-embedding-bge-m3",
        "tts-kokoro",
        "whisper-1",
    ];
    const ANY: [bool; 4] = [true; 4];

    let untyped = ["mystery", "untyped", "flux"];
    let gateway = Gateway::new();
    for (path, serves) in [
        ("/v1/chat/completions", LLM),
        ("/chat/completions.json", LLM),
        ("/v1/completions", LLM),
        ("/api/v1/messages", LLM),
        ("/messages", LLM),
        ("/v1/messages/count_tokens", LLM),
        ("/api/v1/responses", LLM),
        ("/openai/responses", LLM),
        ("/responses", LLM),
        ("/v1/responses/input_tokens", LLM),
        ("/v1/responses/compact", LLM),
        ("/api/chat", LLM),
        ("/api/generate", LLM),
        ("/v1/chat", LLM),
        ("/v2/chat", LLM),
        ("/v1/embeddings", EMBEDDING),
        ("/api/embed", EMBEDDING),
        ("/v1/embed", EMBEDDING),
        ("/v2/embed", EMBEDDING),
        ("/v1/audio/speech", AUDIO),
        ("/v1/audio/transcriptions", AUDIO),
        ("/v1/audio/translations", AUDIO),
        ("/v1/images/edits", ANY),
        ("/v1/images/variations", ANY),
        ("/v1/videos", ANY),
        ("/v1/agents/completions", ANY),
        ("/v1/rerank", ANY),
        ("/v1/threads/t/messages", ANY),
    ] {
        let untyped = untyped.iter().map(|name| (name, true));
        for (name, serves) in typed.iter().zip(serves).chain(untyped) {
            let body = format!(r#"{{"model":"{name}"}}"#);
            let (code, body) = gateway.post(path, body).await;
            let expected = if serves { "ok" } else { "model_type_mismatch" };
            assert_eq!(code, expected, "{path} {name}");
            assert_eq!(body.is_some(), serves);
        }
    }
}

#[tokio::test]
async fn every_method_with_a_body_is_inspected_on_inference_endpoints() {
    let gateway = Gateway::new();
    for (method, code) in [
        ("PUT", "ok"),
        ("PATCH", "ok"),
        ("QUERY", "ok"),
        ("post", "ambiguous_model"),
        ("Post", "ambiguous_model"),
    ] {
        let request = Request::builder().method(method).uri(CHAT);
        let request = request.body(Full::<Bytes>::from(NAMED)).unwrap();
        let (response, received) = gateway.send(request).await;
        assert_eq!(response.code(), code, "{method}");
        let received = received.map(|received| received.text().to_owned());
        assert_eq!(received.as_deref(), (code == "ok").then_some(ROUTED));
    }
}

#[tokio::test]
async fn model_in_the_query_is_ambiguous_beside_a_strict_body() {
    let gateway = Gateway::new();
    for (path, code) in [
        ("/v1/chat/completions?model=x", "ambiguous_model"),
        ("/v1/embeddings?a=b;%6dodel[]=x", "ambiguous_model"),
        ("/v1/chat/completions?api-version=2024-10-21", "ok"),
        ("/v1/images/edits?model=x", "ambiguous_model"),
        ("/v1/other?model=x", "ok"),
    ] {
        let (found, body) = gateway.post(path, r#"{"model":"untyped"}"#).await;
        assert_eq!((found, body.is_some()), (code, code == "ok"), "{path}");
    }
}

#[tokio::test]
async fn forms_path_takes_any_model_and_no_invalid_body() {
    let gateway = Gateway::new();
    for (sent, code, served) in [
        (r#"{"model":"flux"}"#, "ok", r#"{"model":"0x10"}"#),
        (
            r#"{"model":"venice-uncensord"}"#,
            "ok",
            r#"{"model":"venice-uncensord"}"#,
        ),
        (r#"{"model":7}"#, "ok", r#"{"model":7}"#),
        ("{}", "ok", "{}"),
        ("", "ok", ""),
        (r#"{"model":"gpt-9","Model":"x"}"#, "ambiguous_model", ""),
        (r#"{"model":7,"model":"x"}"#, "duplicate_model", ""),
        (r#"{"model":"gpt-9",}"#, "invalid_json", ""),
        ("[]", "invalid_json", ""),
    ] {
        let (found, body) = gateway.post("/v1/videos", sent).await;
        let expected = (code, (code == "ok").then_some(served));
        assert_eq!((found, body.as_deref()), expected, "{sent}");
    }
}

#[tokio::test]
async fn config_extends_the_endpoints() {
    let gateway = Gateway::with(|config| {
        config
            .add_endpoint("/rerank", Endpoint::Embedding)
            .add_endpoint("=/ask", Endpoint::Llm)
            .add_endpoint("/audio/speech", Endpoint::Other)
    });
    for (path, sent, code, received) in [
        ("/v2/rerank", "{}", "ok", Some(r#"{"model":"0x0b"}"#)),
        ("/v2/rerank", NAMED, "model_type_mismatch", None),
        ("/ask/", "{}", "ok", Some(r#"{"model":"0x0a"}"#)),
        ("/v1/ask", "{}", "ok", Some("{}")),
        ("/v1/audio/speech", "{}", "ok", Some("{}")),
    ] {
        let (found, body) = gateway.post(path, sent).await;
        assert_eq!((found, body.as_deref()), (code, received), "{path} {sent}");
    }
}
