//! Tests of the rejections: statuses, messages, headers.

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::*;
use crate::registry::ModelType;

fn read(response: Response<Bytes>) -> (http::response::Parts, Value) {
    let (head, body) = response.into_parts();
    (head, serde_json::from_slice(&body).unwrap())
}

#[test]
fn code_determines_status_type_and_param() {
    use RejectionCode::*;
    for (code, name, status, param) in [
        (InvalidJson, "invalid_json", 400, false),
        (InvalidMultipart, "invalid_multipart", 400, false),
        (DuplicateModel, "duplicate_model", 400, true),
        (AmbiguousModel, "ambiguous_model", 400, true),
        (InvalidModel, "invalid_model", 400, true),
        (ModelRequired, "model_required", 400, true),
        (ModelTypeMismatch, "model_type_mismatch", 400, true),
        (ModelNotFound, "model_not_found", 404, true),
        (RequestTimeout, "request_timeout", 408, false),
        (RequestTooLarge, "request_too_large", 413, false),
        (
            UnsupportedContentEncoding,
            "unsupported_content_encoding",
            415,
            false,
        ),
        (UnsupportedMediaType, "unsupported_media_type", 415, false),
        (
            ModelRegistryUnavailable,
            "model_registry_unavailable",
            503,
            false,
        ),
        (
            FallbackModelUnavailable,
            "fallback_model_unavailable",
            503,
            true,
        ),
        (Overloaded, "overloaded", 503, false),
    ] {
        let message = "a \"message\"\u{7}";
        let rejection = Rejection::new(code, message);
        assert_eq!(rejection.to_string(), format!("{name}: {message}"));
        let (head, body) = read(rejection.to_response());
        assert_eq!(head.status, status);
        let kind = match status {
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        let error = json!({"error": {
            "message": message,
            "type": kind,
            "param": param.then_some("model"),
            "code": name,
        }});
        assert_eq!(body, error);
        assert_eq!(head.headers.len(), 1, "{name}");
        assert_eq!(head.headers[CONTENT_TYPE], "application/json");
        let extension: &Rejection = head.extensions.get().unwrap();
        assert_eq!((extension.code(), extension.status()), (code, head.status));
    }
    assert_eq!(format!("{Overloaded:>12}"), "  overloaded");
}

#[test]
fn retry_after_is_rounded_up_to_whole_seconds() {
    for (millis, header) in [
        (0, "1"),
        (1, "1"),
        (1_000, "1"),
        (1_001, "2"),
        (59_999, "60"),
    ] {
        let wait = Duration::from_millis(millis);
        let rejection = Rejection::from(Unavailable::new(wait, None));
        assert_eq!(rejection.retry_after(), Some(wait));
        let (head, _) = read(rejection.to_response());
        assert_eq!(head.headers[RETRY_AFTER], header, "{millis}");
    }
    let (head, _) = read(Rejection::overloaded().to_response());
    assert_eq!(head.headers[RETRY_AFTER], "1");
}

#[test]
fn unresolved_message_says_what_to_do() {
    use RejectionCode::{
        FallbackModelUnavailable, ModelNotFound, ModelRequired, ModelTypeMismatch,
    };

    let not_found = |suggestions: &[&str]| ResolveError::NotFound {
        suggestions: suggestions.iter().map(ToString::to_string).collect(),
    };
    let missing = || ResolveError::FallbackMissing {
        fallback: "f".into(),
    };
    let mismatch = ResolveError::TypeMismatch {
        name: "A".into(),
        model_type: ModelType::Tts,
    };
    let fallback_mismatch = ResolveError::FallbackMismatch {
        fallback: "f".into(),
        model_type: ModelType::Stt,
    };
    for (error, name, code, parts) in [
        (
            not_found(&[]),
            Some("\""),
            ModelNotFound,
            [r#""\"""#, "spelling"],
        ),
        (
            not_found(&["b", "c"]),
            Some("a\n"),
            ModelNotFound,
            ["\"a\u{fffd}\" does not exist", r#"Did you mean "b", "c"?"#],
        ),
        (
            ResolveError::ModelRequired,
            None,
            ModelRequired,
            ["no model", "Send \"model\""],
        ),
        (
            mismatch,
            Some("a"),
            ModelTypeMismatch,
            ["\"A\" has the type TTS", "llm endpoint"],
        ),
        (
            missing(),
            Some("a"),
            FallbackModelUnavailable,
            ["\"a\"", "\"f\""],
        ),
        (
            missing(),
            None,
            FallbackModelUnavailable,
            ["no model", "\"f\""],
        ),
        (
            fallback_mismatch,
            Some("a"),
            FallbackModelUnavailable,
            ["\"f\" has the type STT", "llm endpoint"],
        ),
    ] {
        let rejection = Rejection::unresolved(error, name, Endpoint::Llm);
        assert_eq!(rejection.code(), code);
        for part in parts {
            assert!(rejection.message().contains(part), "{part}: {rejection}");
        }
    }
    let rejection = Rejection::unresolved(not_found(&["b"]), Some("a"), Endpoint::Llm);
    assert_eq!(rejection.suggestions(), ["b"]);
    let (_, body) = read(rejection.to_response());
    assert_eq!(body["error"]["suggestions"], json!(["b"]));
}
