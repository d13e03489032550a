//! Which requests are inspected, and that all others pass untouched.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, Uri, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::{compression::CompressionLayer, decompression::RequestDecompressionLayer};
use tower_model_routing::{Endpoint, RoutedBody, RoutedModel};

use crate::support::{
    body::{Hint, Script, Step, data, trailers},
    gateway::{CHAT, Gateway, layer, post},
    source::{Answer, Source},
};

const NAMED: &str = r#"{"model":"venice-uncensored"}"#;
const ROUTED: &str = r#"{"model":"0xb603"}"#;

/// What becomes of a POST of [`NAMED`] with these headers.
async fn with_headers(path: &str, headers: &[(&str, &str)]) -> String {
    let gateway = Gateway::new();
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, seen) = gateway
        .send(request.body(Full::<Bytes>::from(NAMED)).unwrap())
        .await;
    match seen {
        Some(seen) if seen.text() == NAMED => "untouched".into(),
        Some(seen) if seen.text() == ROUTED => "routed".into(),
        seen => {
            assert!(seen.is_none(), "{seen:?}");
            answer.code().into()
        }
    }
}

#[tokio::test]
async fn what_is_not_inspected_passes_with_every_byte_header_extension_and_trailer() {
    // A source that fails, as there is no need of one.
    let gateway = Gateway::of(Source::new(Answer::Fails), |config| {
        config.response_headers(true)
    });
    // None of it is JSON, and each frame is the very same memory.
    for (method, path, content_type) in [
        ("GET", CHAT, "application/json"),
        ("PUT", CHAT, "application/json"),
        ("DELETE", CHAT, "application/json"),
        ("PURGE", CHAT, "application/json"),
        ("POST", "/v1/files", "text/plain"),
        ("POST", "/v1/files", "multipart/form-data; boundary=b"),
        ("POST", "/v1/files", "application/json; charset=utf-16"),
    ] {
        let body = Script::new([
            data("{{\0"),
            Step::Pending,
            data(""),
            Step::Trailers(trailers()),
        ]);
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?model=a&model=b"))
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
        let (answer, seen) = gateway.send(request).await;
        let seen = seen.unwrap();
        assert_eq!(answer.code(), "ok");
        assert_eq!(seen.head.method, method);
        assert_eq!(seen.head.uri, *format!("{path}?model=a&model=b"));
        assert_eq!(seen.head.version, Version::HTTP_2);
        assert_eq!(seen.head.headers, headers, "{method} {path}");
        assert_eq!(seen.head.extensions.get::<&str>(), Some(&"mark"));
        assert!(seen.head.extensions.get::<RoutedModel>().is_none());
        assert!(answer.head.extensions.get::<RoutedModel>().is_none());
        assert!(answer.header("x-model-id").is_none());
        assert_eq!(seen.text(), "{{\0");
        assert_eq!(seen.claimed, Some(3));
        assert_eq!(seen.trailers, Some(trailers()));
    }
    assert_eq!(gateway.source.fetches(), 0);
}

#[tokio::test]
async fn what_is_inspected_keeps_the_rest_of_its_head() {
    let gateway = Gateway::new();
    let request = Request::post("http://host:8/api/v1/embeddings/?model=x&y=%20")
        .version(Version::HTTP_10)
        .header(
            "content-type",
            "Application/Vnd.Api+JSON; charset=\"UTF-8\"",
        )
        .header("content-encoding", "identity")
        .header("transfer-encoding", "chunked")
        .header("authorization", "Bearer secret")
        .header("x-twice", "1")
        .header("x-twice", "2")
        .extension("mark")
        .body(Full::<Bytes>::from(r#"{"model":"TEXT-embedding-bge-m3"}"#))
        .unwrap();
    let headers = request.headers().clone();
    let (_, seen) = gateway.send(request).await;
    let seen = seen.unwrap();
    assert_eq!(seen.text(), r#"{"model":"0x0b"}"#);
    assert_eq!(seen.head.headers, headers);
    assert_eq!(
        seen.head.uri,
        Uri::from_static("http://host:8/api/v1/embeddings/?model=x&y=%20")
    );
    assert_eq!(seen.head.version, Version::HTTP_10);
    assert_eq!(seen.head.extensions.get::<&str>(), Some(&"mark"));
}

#[tokio::test]
async fn the_content_type_decides_with_the_endpoint() {
    for (content_type, on_inference, elsewhere) in [
        ("application/json", "routed", "routed"),
        ("application/problem+json", "routed", "routed"),
        ("application/json; charset=us-ascii", "routed", "routed"),
        (
            "application/json; charset=utf-16",
            "unsupported_media_type",
            "untouched",
        ),
        ("text/plain", "unsupported_media_type", "untouched"),
        (
            "multipart/form-data; boundary=b",
            "invalid_multipart",
            "untouched",
        ),
    ] {
        let headers = [("content-type", content_type)];
        assert_eq!(with_headers(CHAT, &headers).await, on_inference);
        assert_eq!(with_headers("/v1/other", &headers).await, elsewhere);
    }
    assert_eq!(with_headers(CHAT, &[]).await, "routed");
    assert_eq!(with_headers("/v1/other", &[]).await, "untouched");
}

#[tokio::test]
async fn an_encoded_body_is_refused_with_the_remedy_where_it_would_be_inspected() {
    let json = ("content-type", "application/json");
    for path in [CHAT, "/v1/other"] {
        for coding in ["gzip", "br", "identity, zstd"] {
            let refused = with_headers(path, &[json, ("content-encoding", coding)]).await;
            assert_eq!(refused, "unsupported_content_encoding");
        }
        let identity = with_headers(path, &[json, ("content-encoding", "identity")]).await;
        assert_eq!(identity, "routed");
    }
    let untouched = with_headers("/v1/other", &[("content-encoding", "gzip")]).await;
    assert_eq!(untouched, "untouched");

    let mut request = post(CHAT, Full::<Bytes>::from("\x1f"));
    let gzip = header::HeaderValue::from_static("gzip");
    request.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    let (answer, _) = Gateway::new().send(request).await;
    let message = std::str::from_utf8(&answer.body).unwrap();
    assert!(message.contains("tower_http::decompression::RequestDecompressionLayer"));
}

/// A POST of this text, packed by gzip.
async fn packed(text: String) -> Request<Full<Bytes>> {
    let echo = service_fn(async |request: Request<_>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    // A response of the compression layer is a handy compressor.
    let compressor = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .service(echo);
    let request = Request::post("/")
        .header("accept-encoding", "gzip")
        .body(Full::<Bytes>::from(text))
        .unwrap();
    let response = compressor.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let mut request = post(CHAT, Full::new(body));
    let gzip = header::HeaderValue::from_static("gzip");
    request.headers_mut().insert("content-encoding", gzip);
    request
}

#[tokio::test]
async fn decompression_in_front_makes_compressed_requests_work() {
    let padding = " ".repeat(99);
    let service = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .layer(layer(&Source::of_models(), |config| config))
        .service_fn(async |request: Request<_>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
    let request = packed(format!("{NAMED}{padding}")).await;
    let response = service.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("{ROUTED}{padding}"));
}

#[tokio::test]
async fn a_compressed_bomb_before_the_model_is_a_413() {
    let layer = layer(&Source::of_models(), |config| {
        config.max_held_bytes(1 << 20)
    });
    let service = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .layer(layer.clone())
        .service_fn(async |request: Request<RoutedBody<_>>| {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(count.to_string())))
        });
    let padding = " ".repeat(16 << 20);
    let before = packed(format!(r#"{{{padding}"model":"flux"}}"#)).await;
    assert!(before.body().size_hint().exact().unwrap() < 100_000);
    let response = service.clone().oneshot(before).await.unwrap();
    assert_eq!(response.status(), 413);
    drop(response);
    assert_eq!(layer.held_bytes(), 0);
    // After the model it streams.
    let after = packed(format!(r#"{{"model":"flux"{padding}}}"#)).await;
    let response = service.oneshot(after).await.unwrap();
    let count = response.into_body().collect().await.unwrap().to_bytes();
    let expected = padding.len() + r#"{"model":"0x10"}"#.len();
    assert_eq!(count, expected.to_string());
}

#[tokio::test]
async fn each_path_is_the_endpoint_of_its_end_and_refuses_the_types_of_others() {
    let types = [
        "venice-uncensored",
        "text-embedding-bge-m3",
        "tts-kokoro",
        "whisper-1",
    ];
    let suits_all = ["mystery", "untyped", "flux"];
    // Which of the four types it serves.
    for (path, serves) in [
        ("/chat/completions", [true, false, false, false]),
        ("/completions", [true, false, false, false]),
        ("/responses", [true, false, false, false]),
        ("/messages", [true, false, false, false]),
        ("/embeddings", [false, true, false, false]),
        ("/audio/speech", [false, false, true, true]),
        ("/audio/transcriptions", [false, false, true, true]),
        ("/audio/translations", [false, false, true, true]),
        ("/rerank", [true, true, true, true]),
        ("/speech", [true, true, true, true]),
    ] {
        let gateway = Gateway::new();
        for prefix in ["", "/v1", "/api/v1"] {
            let path = format!("{prefix}{path}");
            let others = suits_all.iter().map(|name| (name, true));
            for (name, serves) in types.iter().zip(serves).chain(others) {
                let (code, body) = gateway
                    .post(&path, format!(r#"{{"model":"{name}"}}"#))
                    .await;
                let expected = if serves { "ok" } else { "model_type_mismatch" };
                assert_eq!(code, expected, "{path} {name}");
                assert_eq!(body.is_some(), serves);
            }
        }
    }
}

#[tokio::test]
async fn the_endpoints_can_be_extended_by_the_config() {
    let gateway = Gateway::with(|config| {
        config
            .endpoint("/rerank", Endpoint::Embedding)
            .endpoint("/messages", Endpoint::Other)
    });
    let (code, body) = gateway.post("/v2/rerank", "{}").await;
    assert_eq!(
        (code, body.unwrap().as_str()),
        ("ok", r#"{"model":"0x0b"}"#)
    );
    let (code, _) = gateway.post("/v2/rerank", NAMED).await;
    assert_eq!(code, "model_type_mismatch");
    let (code, body) = gateway.post("/v1/messages", "{}").await;
    assert_eq!((code, body.unwrap().as_str()), ("ok", "{}"));
}
