//! Compressed request bodies.

use super::{CHAT, Setup, VENICE};
use test_support::{
    client::{post_chunked, post_with},
    encoding::compress,
};

/// Returns a body that compresses well.
fn body() -> String {
    let padding = "lorem ipsum ".repeat(20_000);
    format!(r#"{{"a":"{padding}","model":"venice-uncensored","b":"{padding}"}}"#)
}

#[tokio::test]
async fn compressed_requests_are_routed() {
    let setup = Setup::new().await;
    let expected = body().replace("venice-uncensored", VENICE);
    for (coding, spelling) in [
        ("gzip", "gzip"),
        ("gzip", "X-GZIP"),
        ("br", "br"),
        ("zstd", "ZSTD"),
        ("deflate", "deflate"),
    ] {
        let compressed = compress(coding, body()).await;
        assert!(compressed.len() < expected.len() / 10);
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", spelling),
        ];
        let chunks: Vec<_> = compressed.chunks(100).collect();
        for response in [
            post_with(setup.address(), CHAT, &headers, &compressed).await,
            post_chunked(setup.address(), CHAT, &headers, &chunks).await,
        ] {
            assert_eq!(response.status(), 200, "{spelling}: {response:?}");
            let request = setup.upstream.request().await;
            assert_eq!(request.text(), expected, "{spelling}");
            assert_eq!(request.header("content-encoding"), None);
            assert_eq!(request.header("content-length"), None);
        }
    }
}

#[tokio::test]
async fn unknown_encodings_are_rejected_on_inference_endpoints() {
    let setup = Setup::new().await;
    for coding in ["compress", "aws-chunked", "gzip, gzip"] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let response = post_with(setup.address(), CHAT, &headers, "x").await;
        assert_eq!(
            response.error(),
            (415, "unsupported_content_encoding".to_owned())
        );
    }
    let headers = [
        ("content-type", "image/png"),
        ("content-encoding", "compress"),
    ];
    let response = post_with(setup.address(), "/v1/files", &headers, "x").await;
    assert_eq!(response.status(), 200);
    let request = setup.upstream.request().await;
    assert_eq!(request.header("content-encoding"), Some("compress"));
    assert_eq!(request.text(), "x");
}

#[tokio::test]
async fn invalid_compressed_bodies_are_bad_requests() {
    let setup = Setup::new().await;
    let compressed = compress("gzip", body()).await;
    let cut = &compressed[..compressed.len() - 20];
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    for invalid in [&b"this is no gzip at all"[..], cut] {
        let response = post_with(setup.address(), CHAT, &headers, invalid).await;
        assert_eq!(response.error(), (400, "invalid_json".to_owned()));
    }
    while setup.upstream.has_request().await {
        assert!(!setup.upstream.request().await.body.is_complete);
    }
}

#[tokio::test]
async fn decompressed_bodies_are_limited() {
    let setup = Setup::new().await;
    let padding = " ".repeat(65 * 1024 * 1024);
    let compressed = compress("zstd", format!("{{{padding}\"model\":\"code\"}}")).await;
    assert!(compressed.len() < 1024 * 1024);
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "zstd"),
    ];
    let response = post_with(setup.address(), CHAT, &headers, &compressed).await;
    assert_eq!(response.error(), (413, "request_too_large".to_owned()));
    assert!(!setup.upstream.has_request().await);
}
