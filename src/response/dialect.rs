//! The API that a path belongs to, whose clients expect errors in its own form.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    endpoint::MODEL_VERBS,
    path::{normalize, without_extension},
};

/// The API that a path belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Dialect {
    #[default]
    OpenAi,
    Anthropic,
    Gemini,
}

/// An error of the layer, which each API shows in its own form.
pub(crate) struct ErrorObject<'a> {
    pub(crate) status: StatusCode,
    pub(crate) code: &'a str,
    /// The field that the client must change.
    pub(crate) param: Option<&'a str>,
    pub(crate) message: &'a str,
    pub(crate) suggestions: &'a [String],
}

impl Dialect {
    /// Returns the API of a path: Anthropic's at and below `/v1/messages` and at `/messages`,
    /// Gemini's at `/models/{model}:{verb}`, otherwise OpenAI's. It is read like that of an endpoint.
    pub(crate) fn of(path: &str) -> Self {
        let path = normalize(path);
        Self::of_normal(&path, without_extension(&path))
    }

    /// Does the same as [`of`](Self::of), for a normalized path and the one without its extension.
    pub(crate) fn of_normal(path: &str, stem: Option<&str>) -> Self {
        // The dot of a model's name is no sign of an extension.
        match (Self::of_exact(path), stem) {
            (Self::OpenAi, Some(stem)) => Self::of_exact(stem),
            (dialect, _) => dialect,
        }
    }

    /// Returns the API of a path, taking an extension for a part of the last name.
    fn of_exact(path: &str) -> Self {
        if path.eq_ignore_ascii_case("/messages") {
            return Self::Anthropic;
        }
        let mut has_models = false;
        let mut previous = &b""[..];
        for segment in path.as_bytes().split(|&byte| byte == b'/') {
            if previous.eq_ignore_ascii_case(b"v1") && segment.eq_ignore_ascii_case(b"messages") {
                return Self::Anthropic;
            }
            has_models |= previous.eq_ignore_ascii_case(b"models");
            previous = segment;
        }
        // A colon alone is no sign of them: it occurs in names of models.
        let is_verb = |verb: &[u8]| {
            let mut verbs = MODEL_VERBS.iter();
            verbs.any(|(known, _)| known.as_bytes().eq_ignore_ascii_case(verb))
        };
        let mut parts = previous.rsplit(|&byte| byte == b':');
        match (has_models, parts.next(), parts.next()) {
            (true, Some(verb), Some(_)) if is_verb(verb) => Self::Gemini,
            _ => Self::OpenAi,
        }
    }

    /// Returns the body of an error response.
    pub(crate) fn render(self, error: &ErrorObject<'_>) -> Value {
        let ErrorObject {
            status,
            code,
            param,
            message,
            suggestions,
        } = *error;
        match self {
            Self::OpenAi => {
                let kind = match status.is_client_error() {
                    true => "invalid_request_error",
                    false => "server_error",
                };
                let mut object =
                    json!({ "message": message, "type": kind, "param": param, "code": code });
                if !suggestions.is_empty() {
                    object["suggestions"] = json!(suggestions);
                }
                json!({ "error": object })
            }
            Self::Anthropic => {
                let kind = match (status, code) {
                    (StatusCode::NOT_FOUND, _) => "not_found_error",
                    (StatusCode::PAYLOAD_TOO_LARGE, _) => "request_too_large",
                    (_, "overloaded") => "overloaded_error",
                    _ if status.is_client_error() => "invalid_request_error",
                    _ => "api_error",
                };
                json!({ "type": "error", "error": { "type": kind, "message": message } })
            }
            Self::Gemini => {
                let canonical = match status {
                    StatusCode::NOT_FOUND => "NOT_FOUND",
                    StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
                        "DEADLINE_EXCEEDED"
                    }
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
                    _ if status.is_client_error() => "INVALID_ARGUMENT",
                    _ => "INTERNAL",
                };
                let code = status.as_u16();
                json!({ "error": { "code": code, "message": message, "status": canonical } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_decides() {
        for (path, dialect) in [
            ("/v1/chat/completions", Dialect::OpenAi),
            ("/v1/messages", Dialect::Anthropic),
            ("/anthropic/V1/Messages/", Dialect::Anthropic),
            ("/v1/messages/count_tokens", Dialect::Anthropic),
            ("/v1/messages/batches/7/results", Dialect::Anthropic),
            ("/messages", Dialect::Anthropic),
            ("/v1//message%73.json", Dialect::Anthropic),
            ("/v1beta/models/g-1.5%3AgenerateContent", Dialect::Gemini),
            ("/v1/threads/t/messages", Dialect::OpenAi),
            ("/chats/messages", Dialect::OpenAi),
            ("/v1beta/models/gemini:generateContent", Dialect::Gemini),
            ("/v1/models/a/b:streamgeneratecontent", Dialect::Gemini),
            (
                "/v1/projects/p/locations/l/publishers/google/models/g:predict",
                Dialect::Gemini,
            ),
            ("/v1/models/ft:gpt-4:org::7", Dialect::OpenAi),
            ("/v1/tuned/x:predict", Dialect::OpenAi),
            ("/models:predict", Dialect::OpenAi),
            ("/", Dialect::OpenAi),
            ("", Dialect::OpenAi),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }

    #[test]
    fn error_objects_have_the_form_of_their_api() {
        for (status, code, of_openai, of_anthropic, of_gemini) in [
            (
                400,
                "invalid_json",
                "invalid_request_error",
                "invalid_request_error",
                "INVALID_ARGUMENT",
            ),
            (
                404,
                "model_not_found",
                "invalid_request_error",
                "not_found_error",
                "NOT_FOUND",
            ),
            (
                408,
                "request_timeout",
                "invalid_request_error",
                "invalid_request_error",
                "DEADLINE_EXCEEDED",
            ),
            (
                413,
                "request_too_large",
                "invalid_request_error",
                "request_too_large",
                "INVALID_ARGUMENT",
            ),
            (
                503,
                "overloaded",
                "server_error",
                "overloaded_error",
                "UNAVAILABLE",
            ),
            (
                503,
                "model_registry_unavailable",
                "server_error",
                "api_error",
                "UNAVAILABLE",
            ),
            (
                502,
                "upstream_unavailable",
                "server_error",
                "api_error",
                "UNAVAILABLE",
            ),
            (
                504,
                "upstream_timeout",
                "server_error",
                "api_error",
                "DEADLINE_EXCEEDED",
            ),
            (
                500,
                "internal_error",
                "server_error",
                "api_error",
                "INTERNAL",
            ),
        ] {
            let error = ErrorObject {
                status: StatusCode::from_u16(status).unwrap(),
                code,
                param: None,
                message: "m",
                suggestions: &[],
            };
            let openai = json!({"error": {
                "message": "m", "type": of_openai, "param": null, "code": code,
            }});
            assert_eq!(Dialect::OpenAi.render(&error), openai);
            let anthropic = json!({
                "type": "error", "error": {"type": of_anthropic, "message": "m"},
            });
            assert_eq!(Dialect::Anthropic.render(&error), anthropic);
            let gemini = json!({"error": {"code": status, "message": "m", "status": of_gemini}});
            assert_eq!(Dialect::Gemini.render(&error), gemini);
        }
    }
}
