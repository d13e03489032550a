//! What the proxy is for: the name goes in, the ID comes out, and nothing else
//! is touched.

use super::{CHAT, MISTRAL, Setup, VENICE};
use test_support::{
    client::{post, post_chunked, post_with},
    upstream::Act,
};

/// White space, escapes and numbers that no parser gives back as they were.
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
async fn the_name_becomes_the_id_and_no_other_byte_changes() {
    let setup = Setup::new().await;
    let answer = post(setup.address(), CHAT, BODY).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.text(), r#"{"ok":true}"#);
    assert_eq!(answer.header("x-model-id"), Some(VENICE));
    assert_eq!(answer.header("x-model-name"), Some("venice-uncensored"));
    assert_eq!(answer.header("x-model-fallback"), None);

    let request = setup.upstream.request().await;
    assert_eq!((request.method(), request.target()), ("POST", CHAT));
    assert_eq!(request.text(), with_id(BODY));
    let length = with_id(BODY).len().to_string();
    assert_eq!(request.header("content-length"), Some(&*length));
    assert_eq!(request.header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_chunked_request_stays_chunked() {
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
    let answer = post_chunked(setup.address(), CHAT, &json, &chunks).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let request = setup.upstream.request().await;
    assert_eq!(request.text(), with_id(BODY));
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn every_spelling_finds_its_model() {
    let setup = Setup::new().await;
    for (name, id_begins) in [
        ("VENICE-Uncensored", "0xb603"),
        ("dolphin-mistral-24b", "0xb603"),
        (&VENICE.to_uppercase().replace("0X", "0x"), "0xb603"),
        ("Llama 7.1-dev", "0x7272"),
        ("llama-7.1-dev", "0x7272"),
        ("code", "0x8a8a"),
        ("LMR-ClaudeAI-Sonnet", "0x8a8a"),
        ("hermes 3 llama 3.1", "0x4747"),
        ("hermes-3-llama-3.1", "0x4747"),
        ("meta-llama/Llama-3.2-3B-Instruct", "0x1616"),
        (r"meta-llama\/Llama-3.2-3B\u002dInstruct", "0x1616"),
    ] {
        let body = format!(r#"{{"model":"{name}"}}"#);
        let answer = post(setup.address(), CHAT, body).await;
        assert_eq!(answer.header("x-model-fallback"), None, "{name}");
        let request = setup.upstream.request().await;
        let expected = format!(r#"{{"model":"{id_begins}"#);
        assert!(
            request.text().starts_with(&expected),
            "{name}: {}",
            request.text()
        );
        assert_eq!(request.text().len(), r#"{"model":""}"#.len() + 66);
    }
}

#[tokio::test]
async fn an_unknown_model_goes_to_the_fallback_and_not_silently() {
    let mut setup = Setup::new().await;
    for name in ["no-such-model", "retired"] {
        let body = format!(r#"{{"model":"{name}"}}"#);
        let answer = post(setup.address(), CHAT, body).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.header("x-model-id"), Some(MISTRAL));
        assert_eq!(answer.header("x-model-name"), Some("mistral-31-24b"));
        assert_eq!(answer.header("x-model-fallback"), Some("true"));
        let expected = format!(r#"{{"model":"{MISTRAL}"}}"#);
        assert_eq!(setup.upstream.request().await.text(), expected);
        setup.proxy.logged(&["WARN", name, "mistral-31-24b"]).await;
    }
}

#[tokio::test]
async fn without_a_fallback_an_unknown_model_is_not_found() {
    let setup = Setup::with(|proxy| {
        proxy.env("DEFAULT_FALLBACK_MODEL", "");
    })
    .await;
    let answer = post(setup.address(), CHAT, r#"{"model":"venice-uncensord"}"#).await;
    assert_eq!(answer.error(), (404, "model_not_found".to_owned()));
    assert_eq!(answer.json()["error"]["param"], "model");
    assert!(answer.text().contains("venice-uncensored"), "{answer:?}");
    assert!(!setup.upstream.has_request().await);
}

#[tokio::test]
async fn the_answer_names_the_model_that_served() {
    let json = format!(r#"{{ "model":"{VENICE}", "n":1e400,"a":{{"model":"{VENICE}"}} }}"#);
    let events = format!("data: {{\"model\":\"{VENICE}\"}}\n\ndata: [DONE]\n\n");
    for (content_type, body) in [("application/json", json), ("text/event-stream", events)] {
        let headers = format!("content-type: {content_type}\r\n");
        let setup = Setup::scripted(vec![Act::answer(200, &headers, &body)]).await;
        let answer = post(setup.address(), CHAT, r#"{"model":"dolphin-mistral-24b"}"#).await;
        assert_eq!(answer.text(), body.replacen(VENICE, "venice-uncensored", 1));
    }
}

#[tokio::test]
async fn a_model_of_the_wrong_type_is_refused() {
    let setup = Setup::new().await;
    let answer = post(setup.address(), "/v1/embeddings", r#"{"model":"code"}"#).await;
    assert_eq!(answer.error(), (400, "model_type_mismatch".to_owned()));
    assert!(!setup.upstream.has_request().await);
}

#[tokio::test]
async fn a_form_is_routed_by_its_model_part() {
    let setup = Setup::new().await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
                content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n\0\r\n--\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let path = "/v1/audio/transcriptions";
    let answer = post_with(setup.address(), path, &headers, form).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let request = setup.upstream.request().await;
    let id = format!("0x{}", "cb".repeat(32));
    assert_eq!(request.text(), form.replace("whisper-1", &id));
}

#[tokio::test]
async fn a_second_model_late_in_a_large_body_is_refused_and_never_served() {
    let setup = Setup::new().await;
    let padding = "x".repeat(4 * 1024 * 1024);
    let body = format!(r#"{{"model":"code","a":"{padding}","model":"venice-uncensored"}}"#);
    let json = [("content-type", "application/json")];
    let chunks: Vec<_> = body.as_bytes().chunks(64 * 1024).collect();
    for answer in [
        post(setup.address(), CHAT, &body).await,
        post_chunked(setup.address(), CHAT, &json, &chunks).await,
    ] {
        assert_eq!(answer.error(), (400, "duplicate_model".to_owned()));
        let request = setup.upstream.request().await;
        assert!(!request.payload.is_complete);
        assert!(
            request.payload.length > 1024 * 1024,
            "the front went on at once"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let setup = Setup::new().await;
    for body in [
        "",
        "nonsense",
        r#"{"model":"code""#,
        r#"{"model":"code"} x"#,
    ] {
        let answer = post(setup.address(), CHAT, body).await;
        assert_eq!(answer.error(), (400, "invalid_json".to_owned()), "{body}");
    }
}
