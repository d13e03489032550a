//! Forms: the `model` part of `multipart/form-data`.

use bytes::Bytes;
use http::{HeaderName, Request};
use http_body_util::Full;
use tower_model_routing::{ResolvedBy, RoutedModel};

use crate::support::{
    body::{Hint, Script, Step, data, trailers},
    gateway::{Answer, Gateway, Seen, post},
};

const SPEECH: &str = "/v1/audio/transcriptions";
const FORM: &str = "multipart/form-data; boundary=\"b-7\"";

fn form<B>(path: &str, content_type: &str, body: B) -> Request<B> {
    let mut request = post(path, body);
    let content_type = content_type.parse().unwrap();
    request.headers_mut().insert("content-type", content_type);
    request
}

/// A form of these parts: heads less the delimiter line, and contents.
fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (head, content) in parts {
        form.extend_from_slice(format!("--b-7\r\n{head}\r\n\r\n").as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--b-7--\r\n");
    form
}

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";
const FILE: &str =
    "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav";
const LANGUAGE: &str = "Content-Disposition: form-data; name=\"language\"";

/// Half a MiB of every byte, with much that looks like a delimiter.
fn audio() -> Vec<u8> {
    let mut audio: Vec<u8> = (0..1_u32 << 19)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    for at in (0..audio.len() - 100).step_by(1_000) {
        audio[at..at + 7].copy_from_slice(b"\r\n--b-x");
    }
    audio
}

async fn send(gateway: &Gateway, path: &str, body: Vec<u8>) -> (Answer, Option<Seen>) {
    let length = body.len();
    let mut request = form(path, FORM, Full::<Bytes>::from(body));
    request
        .headers_mut()
        .insert("content-length", length.into());
    gateway.send(request).await
}

/// The form was served like this.
async fn assert_served(gateway: &Gateway, path: &str, sent: Vec<u8>, served: Vec<u8>) {
    let (answer, seen) = send(gateway, path, sent).await;
    let seen = seen.unwrap_or_else(|| panic!("{answer:?}"));
    assert!(seen.body.as_deref() == Ok(&served), "{seen:?}");
    assert_eq!(
        seen.header("content-length"),
        Some(&*served.len().to_string())
    );
    assert_eq!(seen.header("content-type"), Some(FORM));
    assert_eq!(seen.claimed, Some(served.len() as u64));
}

#[tokio::test]
async fn the_model_part_is_rewritten_wherever_it_is() {
    let gateway = Gateway::new();
    let audio = &*audio();
    for (sent, served) in [("Whisper-1", "0x0d"), ("", "0x0d"), ("tts kokoro", "0x0c")] {
        let (sent, served) = (sent.as_bytes(), served.as_bytes());
        for file in [b"".as_slice(), b"RIFF", audio] {
            let before = |model| parts(&[(MODEL, model), (FILE, file), (LANGUAGE, b"model")]);
            assert_served(&gateway, SPEECH, before(sent), before(served)).await;
            let after = |model| parts(&[(FILE, file), (LANGUAGE, b"model"), (MODEL, model)]);
            assert_served(&gateway, SPEECH, after(sent), after(served)).await;
        }
    }
    let own_length = |length, model| {
        let head = format!("Content-Length: {length}\r\n{MODEL}\r\nContent-Type: text/plain");
        parts(&[(FILE, b"RIFF"), (&head, model), (LANGUAGE, b"en")])
    };
    assert_served(
        &gateway,
        SPEECH,
        own_length(9, b"whisper-1"),
        own_length(4, b"0x0d"),
    )
    .await;
}

#[tokio::test]
async fn a_missing_model_part_is_inserted_on_inference_endpoints_only() {
    let gateway = Gateway::new();
    let without: [(&str, &[u8]); 2] = [(FILE, b"RIFF"), (LANGUAGE, b"en")];
    let with = parts(&[(MODEL, b"0x0d"), without[0], without[1]]);
    assert_served(&gateway, SPEECH, parts(&without), with).await;
    assert_served(
        &gateway,
        "/v1/images/edits",
        parts(&without),
        parts(&without),
    )
    .await;
    let image = |model| parts(&[(FILE, b"PNG"), (MODEL, model)]);
    assert_served(&gateway, "/v1/images/edits", image(b"flux"), image(b"0x10")).await;
    // Other forms are nobody's business.
    assert_served(&gateway, "/v1/files", image(b"flux"), image(b"flux")).await;
}

#[tokio::test]
async fn a_form_is_routed_like_json() {
    let gateway = Gateway::with(|config| {
        config
            .id_header(HeaderName::from_static("model_id"))
            .response_headers(true)
    });
    let (answer, seen) = send(&gateway, SPEECH, parts(&[(MODEL, b"gpt-9")])).await;
    let seen = seen.unwrap();
    assert_eq!(seen.header("model_id"), Some("0x0d"));
    assert_eq!(answer.header("x-model-fallback"), Some("true"));
    let routed = seen.head.extensions.get::<RoutedModel>().unwrap();
    assert_eq!(routed.requested(), Some("gpt-9"));
    assert_eq!(routed.resolved_by(), ResolvedBy::Fallback);
}

#[tokio::test]
async fn a_form_that_could_be_read_in_two_ways_is_refused() {
    let gateway = Gateway::new();
    let truncated = |form: Vec<u8>, by| form[..form.len() - by].to_vec();
    let model: (&str, &[u8]) = (MODEL, b"whisper-1");
    for (sent, code) in [
        (parts(&[model, (FILE, b"RIFF"), model]), "duplicate_model"),
        (
            parts(&[("Content-Disposition: form-data; name=\"Model\"", b"m")]),
            "ambiguous_model",
        ),
        (
            parts(&[(MODEL, b"venice-uncensored")]),
            "model_type_mismatch",
        ),
        (parts(&[(MODEL, b"\xff")]), "invalid_model"),
        (
            parts(&[(
                "Content-Disposition: form-data; name=\"model\"; filename=\"m\"",
                b"m",
            )]),
            "invalid_multipart",
        ),
        (truncated(parts(&[model]), 5), "invalid_multipart"),
        (b"{\"model\":\"whisper-1\"}".to_vec(), "invalid_multipart"),
        (Vec::new(), "invalid_multipart"),
    ] {
        let (answer, seen) = send(&gateway, SPEECH, sent).await;
        assert_eq!((answer.status(), answer.code()), (400, code));
        assert!(seen.is_none());
    }
}

#[tokio::test]
async fn a_form_type_without_a_usable_boundary_is_refused_on_its_endpoints_only() {
    let gateway = Gateway::new();
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=b-7; boundary=c",
        "multipart/form-data; boundary=\"b\u{e9}\"",
        "multipart/form-data; boundary=b-7; charset=utf-16",
    ] {
        let body = || Full::<Bytes>::from(parts(&[(MODEL, b"whisper-1")]));
        let (answer, seen) = gateway.send(form(SPEECH, content_type, body())).await;
        let expected = if content_type.is_ascii() {
            "invalid_multipart"
        } else {
            "unsupported_media_type"
        };
        assert_eq!(
            (answer.code(), seen.is_none()),
            (expected, true),
            "{content_type}"
        );
        let (_, seen) = gateway.send(form("/v1/files", content_type, body())).await;
        assert!(seen.is_some(), "{content_type}");
    }
}

#[tokio::test]
async fn a_boundary_that_is_part_of_the_id_is_refused() {
    let list = r#"{"models":[{"Name":"whisper-1","Id":"a--b-7c","ModelType":"STT"}]}"#;
    let source = crate::support::source::Answer::List(list.into());
    let gateway = Gateway::of(crate::support::source::Source::new(source), |config| config);
    let (answer, seen) = send(&gateway, SPEECH, parts(&[(MODEL, b"whisper-1")])).await;
    assert_eq!((answer.code(), seen.is_none()), ("invalid_multipart", true));
}

#[tokio::test]
async fn a_form_streams_from_its_model_on_under_every_cut() {
    // Bounded, so that the file cannot be held.
    let gateway = Gateway::with(|config| config.max_held_bytes(150));
    let file = [b'x'; 300];
    let of = |model| parts(&[(MODEL, model), (FILE, &file)]);
    let (sent, served) = (of(b"whisper-1"), of(b"0x0d"));
    for cut in 0..=sent.len().min(150) {
        for hint in [Hint::Exact, Hint::Unknown] {
            let steps = [
                data(&sent[..cut]),
                Step::Pending,
                data(&sent[cut..=cut]),
                Step::Pending,
                data(&sent[cut + 1..]),
                Step::Trailers(trailers()),
            ];
            let body = Script::new(steps).hint(hint);
            let (_, seen) = gateway.send(form(SPEECH, FORM, body)).await;
            let seen = seen.unwrap();
            assert_eq!(seen.body.as_deref(), Ok(&*served), "{cut}");
            assert_eq!(seen.trailers, Some(trailers()));
            let claimed = (hint == Hint::Exact).then_some(served.len() as u64);
            assert_eq!(seen.claimed, claimed);
        }
    }
    let late = parts(&[(FILE, &file), (MODEL, b"whisper-1")]);
    let body = Script::halting(&[&late[..200], &late[200..]]);
    let (answer, _) = gateway.send(form(SPEECH, FORM, body)).await;
    assert_eq!(answer.code(), "request_too_large");
}

#[tokio::test]
async fn a_late_duplicate_or_a_missing_end_fails_the_body_before_its_last_byte() {
    let gateway = Gateway::new();
    let model: (&str, &[u8]) = (MODEL, b"whisper-1");
    let duplicate = parts(&[model, (FILE, b"RIFF"), model]);
    let whole = parts(&[model, (FILE, b"RIFF")]);
    // Less its close delimiter, or a part of that.
    let mut bodies = vec![(duplicate, "duplicate_model")];
    bodies.extend((3..30).map(|by| (whole[..whole.len() - by].to_vec(), "invalid_multipart")));
    for (body, code) in bodies {
        for hint in [Hint::Exact, Hint::Unknown] {
            let frames: Vec<_> = body.chunks(7).collect();
            let script = Script::halting(&frames).hint(hint);
            let (answer, seen) = gateway.send(form(SPEECH, FORM, script)).await;
            assert_eq!((answer.status(), answer.code()), (400, code));
            assert!(seen.is_none_or(|seen| seen.body.is_err()));
        }
    }
}
