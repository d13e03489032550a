//! The `model` part of `multipart/form-data`.

use bytes::Bytes;
use http::{HeaderName, Request};
use http_body_util::Full;
use tower_model_routing::{RoutedModel, registry::ResolvedBy};

use crate::support::{
    gateway::{Gateway, ReceivedRequest, ReceivedResponse},
    source::{Outcome, ScriptedSource},
};

const SPEECH: &str = "/v1/audio/transcriptions";
const EDITS: &str = "/v1/images/edits";
const FORM: &str = "multipart/form-data; boundary=\"b-7\"";

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";
const FILE: &str =
    "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav";
const LANGUAGE: &str = "Content-Disposition: form-data; name=\"language\"";

/// Returns a form of these parts: heads and contents.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (head, content) in parts {
        form.extend_from_slice(format!("--b-7\r\n{head}\r\n\r\n").as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--b-7--\r\n");
    form
}

/// Returns 512 KiB of every byte, with many prefixes of a delimiter.
fn audio() -> Vec<u8> {
    let mut audio: Vec<u8> = (0..1_u32 << 19)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    for at in (0..audio.len() - 100).step_by(1_000) {
        audio[at..at + 7].copy_from_slice(b"\r\n--b-x");
    }
    audio
}

async fn send(
    gateway: &Gateway,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> (ReceivedResponse, Option<ReceivedRequest>) {
    let request = Request::post(path)
        .header("content-type", content_type)
        .header("content-length", body.len())
        .body(Full::<Bytes>::from(body));
    gateway.send(request.unwrap()).await
}

async fn assert_served(gateway: &Gateway, path: &str, sent: Vec<u8>, served: Vec<u8>) {
    let (response, received) = send(gateway, path, FORM, sent).await;
    let received = received.unwrap_or_else(|| panic!("{response:?}"));
    assert!(received.body.as_deref() == Ok(&served), "{received:?}");
    let length = served.len().to_string();
    assert_eq!(received.header("content-length"), Some(&*length));
    assert_eq!(received.header("content-type"), Some(FORM));
    assert_eq!(received.exact_size, Some(served.len() as u64));
}

#[tokio::test]
async fn replaces_the_model_part() {
    let gateway = Gateway::new();
    let audio = &*audio();
    for (sent, served) in [("Whisper-1", "0x0d"), ("", "0x0d"), ("tts kokoro", "0x0c")] {
        let (sent, served) = (sent.as_bytes(), served.as_bytes());
        for file in [b"".as_slice(), b"RIFF", audio] {
            let first = |model| form(&[(MODEL, model), (FILE, file), (LANGUAGE, b"model")]);
            assert_served(&gateway, SPEECH, first(sent), first(served)).await;
            let last = |model| form(&[(FILE, file), (LANGUAGE, b"model"), (MODEL, model)]);
            assert_served(&gateway, SPEECH, last(sent), last(served)).await;
        }
    }
    // The part's own Content-Length is corrected.
    let with_length = |length, model| {
        let head = format!("Content-Length: {length}\r\n{MODEL}\r\nContent-Type: text/plain");
        form(&[(FILE, b"RIFF"), (&head, model), (LANGUAGE, b"en")])
    };
    let (sent, served) = (with_length(9, b"whisper-1"), with_length(4, b"0x0d"));
    assert_served(&gateway, SPEECH, sent, served).await;
}

#[tokio::test]
async fn inserts_a_missing_model_on_inference_endpoints_only() {
    let gateway = Gateway::new();
    let parts: [(&str, &[u8]); 2] = [(FILE, b"RIFF"), (LANGUAGE, b"en")];
    let without = || form(&parts);
    let with = form(&[(MODEL, b"0x0d"), parts[0], parts[1]]);
    let image = |model| form(&[(FILE, b"PNG"), (MODEL, model)]);
    for (path, sent, served) in [
        (SPEECH, without(), with),
        (EDITS, without(), without()),
        (EDITS, image(b"flux"), image(b"0x10")),
        // Forms on other paths pass through.
        ("/v1/files", image(b"flux"), image(b"flux")),
    ] {
        assert_served(&gateway, path, sent, served).await;
    }
}

#[tokio::test]
async fn sets_headers_and_extensions_like_json() {
    let gateway = Gateway::with(|config| {
        config
            .id_header(HeaderName::from_static("model_id"))
            .response_headers(true)
    });
    let (response, received) = send(&gateway, SPEECH, FORM, form(&[(MODEL, b"gpt-9")])).await;
    let received = received.unwrap();
    assert_eq!(received.header("model_id"), Some("0x0d"));
    assert_eq!(response.header("x-model-fallback"), Some("true"));
    let routed = received.head.extensions.get::<RoutedModel>().unwrap();
    assert_eq!(routed.requested(), Some("gpt-9"));
    assert_eq!(routed.resolved_by(), ResolvedBy::Fallback);
    assert_eq!(routed.operation(), Some("speech_to_text"));
}

#[tokio::test]
async fn ambiguous_and_invalid_forms_are_rejected() {
    let gateway = Gateway::new();
    let model: (&str, &[u8]) = (MODEL, b"whisper-1");
    let whole = form(&[model]);
    let capital = "Content-Disposition: form-data; name=\"Model\"";
    let file = "Content-Disposition: form-data; name=\"model\"; filename=\"m\"";
    for (sent, code) in [
        (form(&[model, (FILE, b"RIFF"), model]), "duplicate_model"),
        (form(&[(capital, b"m")]), "ambiguous_model"),
        (
            form(&[(MODEL, b"venice-uncensored")]),
            "model_type_mismatch",
        ),
        (form(&[(MODEL, b"\xff")]), "invalid_model"),
        (form(&[(file, b"m")]), "invalid_multipart"),
        (whole[..whole.len() - 5].to_vec(), "invalid_multipart"),
        (b"{\"model\":\"whisper-1\"}".to_vec(), "invalid_multipart"),
        (Vec::new(), "invalid_multipart"),
    ] {
        let (response, received) = send(&gateway, SPEECH, FORM, sent).await;
        assert_eq!((response.status(), response.code()), (400, code));
        assert!(received.is_none());
    }
}

#[tokio::test]
async fn forms_that_servers_read_differently_are_rejected() {
    let gateway = Gateway::new();
    let with_file = |head: &str, content: &str| {
        let head = format!("Content-Disposition: form-data; {head}");
        form(&[(&head, content.as_bytes()), (MODEL, b"whisper-1")])
    };
    let hidden = "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ntts-kokoro\r\n--";
    for sent in [
        with_file("name=\"file\"", &format!("b-7{hidden}")),
        with_file("name=\"file\"", &format!("RIFF b-7{hidden}")),
        with_file(
            "name=\"file\"\r\nContent-Type: application/x-www-form-urlencoded",
            "&model=x&",
        ),
        with_file(
            "name=\"file\"\r\nContent-Type: multipart/mixed; boundary=c",
            "",
        ),
        with_file(
            "name=\"file\"\r\nContent-Type: text/plain; charset=utf-16",
            "",
        ),
        with_file("name=\"file\"; name*=utf-8''model", ""),
        with_file("name=\"file\"; filename=\"a; name=model\"", ""),
        form(&[("Content-Disposition: form-data;name=model", b"whisper-1")]),
        form(&[(
            "Content-Disposition: form-data;; name=\"model\"",
            b"whisper-1",
        )]),
        form(&[(
            "Content-Disposition: form-data; name=\"model\";",
            b"whisper-1",
        )]),
    ] {
        let shown = String::from_utf8_lossy(&sent).into_owned();
        let (response, received) = send(&gateway, SPEECH, FORM, sent).await;
        assert_eq!(response.code(), "invalid_multipart", "{shown}");
        assert!(received.is_none());
    }
}

#[tokio::test]
async fn unusable_content_type_is_rejected_where_forms_are_read() {
    let gateway = Gateway::new();
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=b-7; boundary=c",
        "multipart/form-data; boundary=\"b\u{e9}\"",
        "multipart/form-data; boundary=b-7; charset=utf-8",
        "multipart/form-data; boundary=\"b\\-7\"",
        "multipart/form-data; boundary=\" b-7\"",
        "multipart/form-data; boundary=\"b,-7\"",
        "multipart/form-data; boundary='b-7'",
        "multipart/form-data; boundary=utf-8''b-7",
        "multipart/form-data; BOUNDARY=b-7",
        "Multipart/Form-Data; boundary=b-7",
        "multipart/form-data, x; boundary=b-7",
    ] {
        let body = || form(&[(MODEL, b"whisper-1")]);
        for path in [SPEECH, EDITS] {
            let (response, received) = send(&gateway, path, content_type, body()).await;
            let found = (response.status(), response.code(), received.is_none());
            assert_eq!(found, (400, "invalid_multipart", true), "{content_type}");
        }
        let (_, received) = send(&gateway, "/v1/files", content_type, body()).await;
        assert!(received.is_some(), "{content_type}");
    }
}

/// The forms in `forms/`, as real clients sent them: each a Content-Type, a line feed and a body.
#[tokio::test]
async fn forms_of_real_clients_pass() {
    const SENT: &[u8] = b"\r\n\r\nwhisper-1\r\n";
    const SERVED: &[u8] = b"\r\n\r\n0x0d\r\n";

    let gateway = Gateway::new();
    let mut clients = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/forms")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "form") {
            continue;
        }
        clients += 1;
        let recorded = std::fs::read(&path).unwrap();
        let line_end = recorded.iter().position(|&byte| byte == b'\n').unwrap();
        let content_type = std::str::from_utf8(&recorded[..line_end]).unwrap();
        let sent = &recorded[line_end + 1..];
        let model = sent
            .windows(SENT.len())
            .position(|part| part == SENT)
            .unwrap();
        let served = [&sent[..model], SERVED, &sent[model + SENT.len()..]].concat();
        let (response, received) = send(&gateway, SPEECH, content_type, sent.to_vec()).await;
        let message = String::from_utf8_lossy(&response.body);
        let received = received.unwrap_or_else(|| panic!("{}: {message}", path.display()));
        assert!(
            received.body.as_deref() == Ok(&served),
            "{}",
            path.display()
        );
    }
    assert_eq!(clients, 15);
}

#[tokio::test]
async fn boundary_inside_the_id_is_rejected() {
    let catalog = r#"{"models":[{"Name":"whisper-1","Id":"a--b-7c","ModelType":"STT"}]}"#;
    let source = ScriptedSource::new(Outcome::Catalog(catalog.into()));
    let gateway = Gateway::with_source(source, |config| config);
    let (response, received) = send(&gateway, SPEECH, FORM, form(&[(MODEL, b"whisper-1")])).await;
    let found = (response.code(), received.is_none());
    assert_eq!(found, ("invalid_multipart", true));
}
