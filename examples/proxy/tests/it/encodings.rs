//! Compressed requests.

use super::{CHAT, Setup, VENICE};
use test_support::{
    client::{post_chunked, post_with},
    encoding::compress,
};

/// Large enough to be worth compressing.
fn body() -> String {
    let padding = "lorem ipsum ".repeat(20_000);
    format!(r#"{{"a":"{padding}","model":"venice-uncensored","b":"{padding}"}}"#)
}

#[tokio::test]
async fn compressed_requests_just_work() {
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
        for answer in [
            post_with(setup.address(), CHAT, &headers, &compressed).await,
            post_chunked(setup.address(), CHAT, &headers, &chunks).await,
        ] {
            assert_eq!(answer.status(), 200, "{spelling}: {answer:?}");
            let request = setup.upstream.request().await;
            assert_eq!(request.text(), expected, "{spelling}");
            assert_eq!(request.header("content-encoding"), None);
            assert_eq!(request.header("content-length"), None);
        }
    }
}

#[tokio::test]
async fn an_unknown_encoding_is_refused_where_the_body_would_be_read() {
    let setup = Setup::new().await;
    for coding in ["compress", "aws-chunked", "gzip, gzip"] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let answer = post_with(setup.address(), CHAT, &headers, "x").await;
        assert_eq!(
            answer.error(),
            (415, "unsupported_content_encoding".to_owned())
        );
    }
    let headers = [
        ("content-type", "image/png"),
        ("content-encoding", "compress"),
    ];
    let answer = post_with(setup.address(), "/v1/files", &headers, "x").await;
    assert_eq!(answer.status(), 200);
    let request = setup.upstream.request().await;
    assert_eq!(request.header("content-encoding"), Some("compress"));
    assert_eq!(request.text(), "x");
}

#[tokio::test]
async fn a_body_that_does_not_decompress_is_the_clients_fault() {
    let setup = Setup::new().await;
    let compressed = compress("gzip", body()).await;
    let cut = &compressed[..compressed.len() - 20];
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    for broken in [&b"this is no gzip at all"[..], cut] {
        let answer = post_with(setup.address(), CHAT, &headers, broken).await;
        assert_eq!(answer.error(), (400, "invalid_request_body".to_owned()));
    }
    while setup.upstream.has_request().await {
        assert!(!setup.upstream.request().await.payload.is_complete);
    }
}

#[tokio::test]
async fn a_small_body_that_grows_too_large_is_refused() {
    let setup = Setup::new().await;
    let padding = " ".repeat(65 * 1024 * 1024);
    let compressed = compress("zstd", format!("{{{padding}\"model\":\"code\"}}")).await;
    assert!(compressed.len() < 1024 * 1024);
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "zstd"),
    ];
    let answer = post_with(setup.address(), CHAT, &headers, &compressed).await;
    assert_eq!(answer.error(), (413, "request_too_large".to_owned()));
    assert!(!setup.upstream.has_request().await);
}
