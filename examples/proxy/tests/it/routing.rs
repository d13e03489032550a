//! Requests are routed by their model, and nothing else in them changes.

use std::time::Duration;

use tokio::time::timeout;

use super::{CHAT, MISTRAL, Setup, VENICE};
use test_support::client::{get, post, post_chunked, post_with};

/// A body whose white space, escapes and numbers no serializer reproduces.
const BODY: &str = concat!(
    " {\r\n\t\"zeta\" : [1e400, -0.0E-0,1234567890123456789012345 ,  1.0],\n",
    r#" "messages": [{"role":"user", "content":"\u00e9 \"model\": \"mistral-31-24b\" \/ ü"}], "#,
    r#""nested":{"model":"mistral-31-24b","a":{}},"model"  :"#,
    "\t\"venice-uncensored\" ,\"temperature\":0.70000000000000000000001,  \"alpha\":{ }\n}\n\n "
);

fn with_id(body: &str) -> String {
    body.replace("\"venice-uncensored\"", &format!("\"{VENICE}\""))
}

#[tokio::test]
async fn only_the_model_changes() {
    let setup = Setup::new().await;
    let response = post(setup.address(), CHAT, BODY).await;
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(response.text(), r#"{"ok":true}"#);
    assert_eq!(response.header("x-model-id"), Some(VENICE));
    assert_eq!(response.header("x-model-name"), Some("venice-uncensored"));
    assert_eq!(response.header("x-model-fallback"), None);

    let request = setup.upstream.request().await;
    assert_eq!((request.method(), request.target()), ("POST", CHAT));
    assert_eq!(request.text(), with_id(BODY));
    let length = with_id(BODY).len().to_string();
    assert_eq!(request.header("content-length"), Some(&*length));
    assert_eq!(request.header("transfer-encoding"), None);
}

#[tokio::test]
async fn chunked_requests_stay_chunked() {
    let setup = Setup::new().await;
    let json = [("content-type", "application/json")];
    // Cut within the key, the name and a character.
    let at = |text| BODY.find(text).unwrap();
    let cuts = [
        0,
        at("\"model\"  :") + 4,
        at("uncensored\" ,"),
        BODY.len() - 1,
        BODY.len(),
    ];
    let bytes = BODY.as_bytes();
    let chunks: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
    let response = post_chunked(setup.address(), CHAT, &json, &chunks).await;
    assert_eq!(response.status(), 200, "{response:?}");
    let request = setup.upstream.request().await;
    assert_eq!(request.text(), with_id(BODY));
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn fallbacks_are_logged_and_in_the_headers() {
    let mut setup = Setup::new().await;
    for name in ["no-such-model", "retired"] {
        let body = format!(r#"{{"model":"{name}"}}"#);
        let response = post(setup.address(), CHAT, body).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.header("x-model-id"), Some(MISTRAL));
        assert_eq!(response.header("x-model-name"), Some("mistral-31-24b"));
        assert_eq!(response.header("x-model-fallback"), Some("true"));
        let expected = format!(r#"{{"model":"{MISTRAL}"}}"#);
        assert_eq!(setup.upstream.request().await.text(), expected);
        setup
            .proxy
            .wait_for_log(&["WARN", name, "mistral-31-24b"])
            .await;
    }
}

#[tokio::test]
async fn models_of_another_type_are_rejected() {
    let setup = Setup::new().await;
    let response = post(setup.address(), "/v1/embeddings", r#"{"model":"code"}"#).await;
    assert_eq!(response.error(), (400, "model_type_mismatch".to_owned()));
    assert!(!setup.upstream.has_request().await);
}

#[tokio::test]
async fn late_rejections_leave_the_request_incomplete() {
    let setup = Setup::new().await;
    let padding = "x".repeat(4 * 1024 * 1024);
    let body = format!(r#"{{"model":"code","a":"{padding}","model":"venice-uncensored"}}"#);
    let json = [("content-type", "application/json")];
    let chunks: Vec<_> = body.as_bytes().chunks(64 * 1024).collect();
    for response in [
        post(setup.address(), CHAT, &body).await,
        post_chunked(setup.address(), CHAT, &json, &chunks).await,
    ] {
        assert_eq!(response.error(), (400, "duplicate_model".to_owned()));
        let request = setup.upstream.request().await;
        assert!(!request.body.is_complete);
        assert!(
            request.body.length > 1024 * 1024,
            "the body is forwarded while it arrives"
        );
    }
}

#[tokio::test]
async fn without_fallback_unknown_models_get_suggestions() {
    let setup = Setup::with(|command| {
        command.env("DEFAULT_FALLBACK_MODEL", "");
    })
    .await;
    let response = post(setup.address(), CHAT, r#"{"model":"venice-uncensord"}"#).await;
    assert_eq!(response.error(), (404, "model_not_found".to_owned()));
    assert!(
        response
            .text()
            .contains(r#"Did you mean \"venice-uncensored\"?"#)
    );
    let response = post(setup.address(), CHAT, r#"{"model":"code",}"#).await;
    assert_eq!(response.error(), (400, "invalid_json".to_owned()));
    assert!(response.text().contains("byte 16"), "{}", response.text());
}

#[tokio::test]
async fn the_model_of_a_uri_is_replaced() {
    let setup = Setup::new().await;
    for (path, start, end) in [
        (
            "/v1/models/venice-uncensored:generateContent",
            "/v1/models/",
            ":generateContent",
        ),
        (
            "/v1/realtime?model=venice-uncensored&x=%20",
            "/v1/realtime?model=",
            "&x=%20",
        ),
    ] {
        let response = match path.contains('?') {
            true => get(setup.address(), path).await,
            false => post(setup.address(), path, "{}").await,
        };
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.header("x-model-name"), Some("venice-uncensored"));
        let request = setup.upstream.request().await;
        assert_eq!(request.target(), format!("{start}{VENICE}{end}"));
        let length = (!path.contains('?')).then_some("2");
        assert_eq!(request.header("content-length"), length);
    }
}

#[tokio::test]
async fn the_model_of_a_form_is_replaced() {
    let setup = Setup::new().await;
    let file = "\0\r\n--not-the-boundary".repeat(100_000);
    for model_first in [true, false] {
        let part = |name: &str, more: &str, content: &str| {
            format!(
                "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n\
                 {content}\r\n"
            )
        };
        let parts = [
            part("model", "", "whisper-1"),
            part("file", "; filename=\"a.wav\"", &file),
        ];
        let order = if model_first { [0, 1] } else { [1, 0] };
        let body = format!("{}{}--xyz--\r\n", parts[order[0]], parts[order[1]]);
        let form = [("content-type", "multipart/form-data; boundary=xyz")];
        let response = timeout(
            Duration::from_secs(60),
            post_with(setup.address(), "/v1/audio/transcriptions", &form, &body),
        );
        assert_eq!(response.await.unwrap().status(), 200);
        let request = setup.upstream.request().await;
        let id = format!("0x{}", "cb".repeat(32));
        assert!(
            request.text() == body.replace("whisper-1", &id),
            "only the model changes, to {id}"
        );
    }
}
