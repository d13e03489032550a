//! Encoded request bodies.

use std::{convert::Infallible, iter, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::sleep;
use tokio_test::task;
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{RoutedBody, UnknownModel};

use crate::support::{
    body::{ScriptedBody, Step, data},
    encoding::{CODINGS, compress},
    gateway::{CHAT, Gateway, layer, post, post_form},
    source::ScriptedSource,
};

const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Sets the coding of a body, and headers that describe its encoded form.
fn encoded<B: Body>(coding: &str, mut request: Request<B>) -> Request<B> {
    let length = request.body().size_hint().exact();
    let headers = request.headers_mut();
    headers.insert("content-encoding", coding.parse().unwrap());
    if let Some(length) = length {
        headers.insert("content-length", length.into());
    }
    headers.extend(digests());
    request
}

fn digests() -> HeaderMap {
    let digest = |name: &&'static str| (http::HeaderName::from_static(name), "x".parse().unwrap());
    DIGESTS.iter().map(digest).collect()
}

/// Returns JSON with this model, and with padding before and after it.
fn json(model: &str) -> String {
    let padding = "lorem ipsum ".repeat(10_000);
    format!(r#"{{"a":"{padding}","model":"{model}","b":"{padding}"}}"#)
}

fn form(model: &str) -> String {
    let start = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
    format!("{start}{model}\r\n--b--\r\n")
}

#[tokio::test]
async fn every_coding_is_decoded_where_the_model_is_read() {
    let gateway = Gateway::new();
    for coding in CODINGS {
        let body = compress(coding, json("flux")).await;
        let request = encoded(coding, post("/v1/images/edits", Full::new(body.clone())));
        let (response, received) = gateway.send(request).await;
        assert_eq!(response.status(), 200, "{coding}: {response:?}");
        let received = received.unwrap();
        assert_eq!(received.text(), json("0x10"), "{coding}");
        for name in ["content-encoding", "content-length"] {
            assert_eq!(received.header(name), None, "{coding}");
        }
        for name in DIGESTS {
            assert_eq!(received.header(name), None, "{coding}");
        }
        assert_eq!(received.header("content-type"), Some("application/json"));

        let frames = body.chunks(100).map(data);
        let body = ScriptedBody::new(frames.chain([Step::Trailers(digests())]));
        let (_, received) = gateway
            .send(encoded(coding, post("/v1/images/edits", body)))
            .await;
        let received = received.unwrap();
        assert_eq!(received.text(), json("0x10"), "{coding}");
        assert_eq!(received.trailers, Some(HeaderMap::new()));

        let body = compress(coding, form("whisper-1")).await;
        let request = post_form("/v1/audio/transcriptions", Full::new(body));
        let (_, received) = gateway.send(encoded(coding, request)).await;
        assert_eq!(received.unwrap().text(), form("0x0d"), "{coding}");
    }
    assert_eq!(gateway.layer.held_bytes(), 0);
}

#[tokio::test]
async fn decoded_body_has_no_coding_even_if_its_model_stays() {
    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Forward));
    for model in ["0x10", "unheard-of"] {
        let body = compress("gzip", json(model)).await;
        let request = encoded("X-GZip", post(CHAT, Full::new(body)));
        let (_, received) = gateway.send(request).await;
        let received = received.unwrap();
        assert_eq!(received.text(), json(model));
        assert_eq!(received.header("content-encoding"), None);
        assert_eq!(received.header("content-digest"), None);
    }
}

#[tokio::test]
async fn passing_request_stays_encoded() {
    let gateway = Gateway::new();
    let body = compress("gzip", json("flux")).await;
    let request = encoded("gzip", post("/v1/files", Full::new(body.clone())));
    let headers = request.headers().clone();
    let (_, received) = gateway.send(request).await;
    let received = received.unwrap();
    assert_eq!(received.head.headers, headers);
    assert_eq!(received.body.unwrap(), body);
}

#[tokio::test]
async fn all_members_are_one_body() {
    let gateway = Gateway::new();
    let whole = json("flux");
    let (start, end) = whole.split_at(150_000);
    for coding in ["gzip", "zstd"] {
        let members = [
            compress(coding, start.to_owned()).await,
            compress(coding, end.to_owned()).await,
        ];
        let body = Full::<Bytes>::from(members.concat());
        let (_, received) = gateway.send(encoded(coding, post(CHAT, body))).await;
        assert_eq!(received.unwrap().text(), json("0x10"), "{coding}");
    }
    // What follows the first member is a second model.
    let second = r#","model":"venice-uncensored"}                                "#;
    let first = format!(r#"{{"model":"flux","padding":"{second:?}"}}"#).replace('\\', "/");
    let members = [
        compress("gzip", first).await,
        compress("gzip", second).await,
    ];
    let body = Full::<Bytes>::from(members.concat());
    let (response, received) = gateway.send(encoded("gzip", post(CHAT, body))).await;
    assert_eq!(response.code(), "invalid_json");
    assert!(received.is_none_or(|received| received.body.is_err()));
}

#[tokio::test]
async fn body_that_does_not_decode_is_rejected_in_its_format() {
    let gateway = Gateway::new();
    for coding in CODINGS {
        let whole = compress(coding, json("flux")).await;
        let cut = whole.slice(..20);
        let garbage = Bytes::from_static(b"\xffthis is not compressed at all");
        for body in [cut, garbage] {
            let request = encoded(coding, post(CHAT, Full::new(body.clone())));
            let (response, received) = gateway.send(request).await;
            assert_eq!((response.status(), response.code()), (400, "invalid_json"));
            assert!(received.is_none());

            let request = post_form("/v1/audio/transcriptions", Full::new(body));
            let (response, _) = gateway.send(encoded(coding, request)).await;
            assert_eq!(response.code(), "invalid_multipart");
        }
        // An empty body has no model, encoded or not.
        let (response, _) = gateway
            .send(encoded(coding, post(CHAT, Full::<Bytes>::default())))
            .await;
        assert_eq!(response.code(), "invalid_json");
    }
    assert_eq!(gateway.layer.held_bytes(), 0);
}

#[tokio::test]
async fn error_after_the_model_leaves_the_body_incomplete() {
    let gateway = Gateway::new();
    for coding in CODINGS {
        let whole = compress(coding, json("flux")).await;
        let truncated = whole.slice(..whole.len() - 1);
        let extended = Bytes::from([&whole[..], b"\0"].concat());
        for body in [truncated, extended] {
            let frames = body
                .chunks(50)
                .flat_map(|chunk| [data(chunk), Step::Pending]);
            let body = ScriptedBody::new(frames);
            let (response, received) = gateway.send(encoded(coding, post(CHAT, body))).await;
            assert_eq!((response.status(), response.code()), (400, "invalid_json"));
            assert!(
                received.is_none_or(|received| received.body.is_err()),
                "{coding}"
            );
        }
    }
    assert_eq!(gateway.layer.held_bytes(), 0);
}

/// A frame header of zstd that declares a window of `1 << log`.
fn zstd_head(log: u8) -> Vec<u8> {
    vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3]
}

#[tokio::test]
async fn large_windows_are_415() {
    let gateway = Gateway::new();
    for (coding, body) in [("zstd", zstd_head(24)), ("br", vec![0x11, 0x1e])] {
        let body = Full::<Bytes>::from(body);
        let (response, received) = gateway.send(encoded(coding, post(CHAT, body))).await;
        assert_eq!(response.code(), "unsupported_content_encoding");
        let message = String::from_utf8(response.body.into()).unwrap();
        assert!(message.contains("window"), "{message}");
        assert!(received.is_none());
    }
}

#[tokio::test]
async fn windows_count_as_held_bytes() {
    const MIB: usize = 1 << 20;

    for (coding, head, window) in [
        ("br", vec![0x0f], 16 * MIB),
        ("zstd", zstd_head(23), 8 * MIB),
        ("gzip", vec![0x1f], 32 << 10),
        ("deflate", vec![0x78], 32 << 10),
    ] {
        let layer = layer(ScriptedSource::with_models(), |config| {
            config
                .max_held_bytes(1024)
                .max_total_held_bytes(window + window / 4 + 4 * MIB)
        });
        let request = || {
            let body = ScriptedBody::new([Step::Data(head.clone().into()), Step::Hang]);
            encoded(coding, post(CHAT, body))
        };
        let service = layer.layer(service_fn(async |_: Request<RoutedBody<_>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
        let mut first = task::spawn(service.clone().oneshot(request()));
        assert!(first.poll().is_pending());
        assert!(
            layer.held_bytes() > window,
            "{coding}: {}",
            layer.held_bytes()
        );
        if window > MIB {
            let response = service.oneshot(request()).await.unwrap();
            assert_eq!(response.status(), 503, "{coding}");
        }
        drop(first);
        assert_eq!(layer.held_bytes(), 0, "{coding}");
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_counted_before_decompression() {
    let gateway = Gateway::warm(|config| config).await;
    // 100 KiB a second when decoded, but a few hundred bytes before.
    let member = compress("gzip", " ".repeat(100 << 10)).await;
    let frames = stream::iter(iter::repeat(member)).then(|member| async move {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Frame::data(member))
    });
    let request = encoded("gzip", post(CHAT, StreamBody::new(frames)));
    let (response, _) = gateway.send(request).await;
    assert_eq!(response.code(), "request_timeout");
}

#[tokio::test]
async fn decompression_bomb_before_the_model_is_413() {
    let layer = layer(ScriptedSource::with_models(), |config| {
        config.max_held_bytes(1 << 20)
    });
    let service = layer.layer(service_fn(async |request: Request<RoutedBody<_>>| {
        let mut body = request.into_body();
        let mut count = 0;
        while let Some(Ok(frame)) = body.frame().await {
            count += frame.data_ref().map_or(0, Bytes::len);
        }
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(count.to_string())))
    }));
    let padding = " ".repeat(16 << 20);
    for coding in CODINGS {
        let send = async |body: String| {
            let body = compress(coding, body).await;
            assert!(body.len() < 100_000);
            let request = encoded(coding, post("/v1/images/edits", Full::new(body)));
            service.clone().oneshot(request).await.unwrap()
        };
        let response = send(format!(r#"{{{padding}"model":"flux"}}"#)).await;
        assert_eq!(response.status(), 413, "{coding}");
        drop(response);
        assert_eq!(layer.held_bytes(), 0, "{coding}");
        // After the model, the body streams.
        let response = send(format!(r#"{{"model":"flux"{padding}}}"#)).await;
        let count = response.into_body().collect().await.unwrap().to_bytes();
        let expected = padding.len() + r#"{"model":"0x10"}"#.len();
        assert_eq!(count, expected.to_string(), "{coding}");
    }
}
