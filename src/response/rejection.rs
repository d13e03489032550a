//! Answers that the layer gives itself.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use model_scan::{json, multipart};
use serde_json::json;

use crate::{
    endpoint::Endpoint, registry::Unavailable, resolve::ResolveError, text::sanitize_for_log,
};

/// An answer that the layer gave itself, without the inner service or in place
/// of its answer.
///
/// The response carries the error object that OpenAI clients expect,
/// `{"error":{"message","type","param","code"}}`, and this value in its
/// extensions.
///
/// # Examples
///
/// Count rejections by code in a layer outside of this one:
///
/// ```
/// use tower_model_routing::Rejection;
///
/// fn observe<B>(response: &http::Response<B>) -> Option<&'static str> {
///     response.extensions().get::<Rejection>().map(|rejection| rejection.code().as_str())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    code: RejectionCode,
    message: String,
    retry_after: Option<Duration>,
    suggestions: Vec<String>,
    offset: Option<u64>,
    source: Option<Unavailable>,
}

/// What kind of rejection it is: the `code` of the error object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionCode {
    /// 400: the body is not the JSON object that it should be.
    InvalidJson,
    /// 400: the body is not the `multipart/form-data` that it should be.
    InvalidMultipart,
    /// 400: the body has two models.
    DuplicateModel,
    /// 400: the body has a key that some parsers read as `model`.
    AmbiguousModel,
    /// 400: the model is not a string.
    InvalidModel,
    /// 400: the model is of a type that cannot serve this endpoint.
    ModelTypeMismatch,
    /// 404: no active model has this name.
    ModelNotFound,
    /// 408: the body took too long to say its model.
    RequestTimeout,
    /// 413: too much of the body came before its model.
    RequestTooLarge,
    /// 415: the body is encoded, so that no model can be found in it.
    UnsupportedContentEncoding,
    /// 415: the body is of a type in which no model can be found.
    UnsupportedMediaType,
    /// 503: there is no usable catalog.
    ModelRegistryUnavailable,
    /// 503: the configured fallback cannot serve.
    FallbackModelUnavailable,
    /// 503: too many bytes are held for other requests.
    Overloaded,
}

impl RejectionCode {
    /// The code as the error object spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMultipart => "invalid_multipart",
            Self::DuplicateModel => "duplicate_model",
            Self::AmbiguousModel => "ambiguous_model",
            Self::InvalidModel => "invalid_model",
            Self::ModelTypeMismatch => "model_type_mismatch",
            Self::ModelNotFound => "model_not_found",
            Self::RequestTimeout => "request_timeout",
            Self::RequestTooLarge => "request_too_large",
            Self::UnsupportedContentEncoding => "unsupported_content_encoding",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::ModelRegistryUnavailable => "model_registry_unavailable",
            Self::FallbackModelUnavailable => "fallback_model_unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::InvalidMultipart
            | Self::DuplicateModel
            | Self::AmbiguousModel
            | Self::InvalidModel
            | Self::ModelTypeMismatch => StatusCode::BAD_REQUEST,
            Self::ModelNotFound => StatusCode::NOT_FOUND,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedContentEncoding | Self::UnsupportedMediaType => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::ModelRegistryUnavailable | Self::FallbackModelUnavailable | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Whether the model itself is at fault: the error object's `param`.
    fn blames_model(self) -> bool {
        matches!(
            self,
            Self::DuplicateModel
                | Self::AmbiguousModel
                | Self::InvalidModel
                | Self::ModelTypeMismatch
                | Self::ModelNotFound
                | Self::FallbackModelUnavailable
        )
    }
}

impl Rejection {
    /// What kind of rejection it is.
    pub fn code(&self) -> RejectionCode {
        self.code
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// What was wrong, and how to mend it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When it makes sense to try again: the response's `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Catalog names that are nearly the one asked for, nearest first.
    pub fn suggestions(&self) -> &[String] {
        &self.suggestions
    }

    /// The byte of the body, counted from 0, at which it turned out to be
    /// wrong.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// What the operator is told and the client is not.
    pub(crate) fn cause(&self) -> Option<String> {
        self.source
            .as_ref()
            .map(|source| source.report().to_string())
    }

    fn new(code: RejectionCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            suggestions: Vec::new(),
            offset: None,
            source: None,
        }
    }

    pub(crate) fn unsupported_media_type(why: String) -> Self {
        Self::new(
            RejectionCode::UnsupportedMediaType,
            format!(
                "No model can be found in this body: {why}. Send application/json in UTF-8, or \
                 multipart/form-data where the endpoint takes files."
            ),
        )
    }

    pub(crate) fn unsupported_content_encoding(coding: &str) -> Self {
        let coding = sanitize_for_log(coding);
        Self::new(
            RejectionCode::UnsupportedContentEncoding,
            format!(
                "No model can be found in a body with Content-Encoding {coding:?}. Send it \
                 uncompressed. (To the operator: tower_http::decompression::\
                 RequestDecompressionLayer outside of the model routing layer makes compressed \
                 requests work.)"
            ),
        )
    }

    pub(crate) fn bad_form_type(why: &str) -> Self {
        Self::new(
            RejectionCode::InvalidMultipart,
            format!(
                "The Content-Type of the form is not usable: {why}. Let the HTTP client set it."
            ),
        )
    }

    pub(crate) fn unsafe_boundary() -> Self {
        Self::new(
            RejectionCode::InvalidMultipart,
            "The form's boundary is part of the model's ID. Use a longer, random boundary.",
        )
    }

    pub(crate) fn model_not_text(kind: &str) -> Self {
        Self::new(
            RejectionCode::InvalidModel,
            format!("The model must be a string, not {kind}. Send the model's name in quotes."),
        )
    }

    pub(crate) fn model_too_long(max: u64) -> Self {
        Self::new(
            RejectionCode::InvalidModel,
            format!("The model's name is longer than {max} bytes. Send the name of a model."),
        )
    }

    pub(crate) fn model_not_utf8() -> Self {
        Self::new(
            RejectionCode::InvalidModel,
            "The model's name is not valid UTF-8.",
        )
    }

    pub(crate) fn too_large(max_held_bytes: usize) -> Self {
        Self::new(
            RejectionCode::RequestTooLarge,
            format!(
                "No model was found in the first {max_held_bytes} bytes of the body. Send \
                 \"model\" before the large fields."
            ),
        )
    }

    pub(crate) fn held_too_long(held_timeout: Duration) -> Self {
        Self::new(
            RejectionCode::RequestTimeout,
            format!(
                "No model was found in the body within {held_timeout:?}. Send \"model\" before the \
                 large fields, and the body without long pauses. (To the operator: held_timeout \
                 sets the time.)"
            ),
        )
    }

    pub(crate) fn overloaded() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(
                RejectionCode::Overloaded,
                "Too many large requests are waiting for their model at this moment. Try again \
                 shortly, and send \"model\" before the large fields: such a request need not \
                 wait.",
            )
        }
    }

    /// Why `requested` cannot be served on `endpoint`.
    pub(crate) fn unresolved(
        error: ResolveError,
        requested: Option<&str>,
        endpoint: Endpoint,
    ) -> Self {
        let asked = requested.map(sanitize_for_log);
        match error {
            ResolveError::NotFound { suggestions } => {
                let mut message = match asked {
                    Some(name) => format!("The model {name:?} does not exist or is not active."),
                    None => "The request names no model, and this gateway has no default one. \
                             Send \"model\"."
                        .into(),
                };
                if !suggestions.is_empty() {
                    let names: Vec<_> =
                        suggestions.iter().map(|name| format!("{name:?}")).collect();
                    message = format!("{message} Did you mean {}?", names.join(", "));
                } else if requested.is_some() {
                    message.push_str(" Check its spelling against the list of models.");
                }
                Self {
                    suggestions,
                    ..Self::new(RejectionCode::ModelNotFound, message)
                }
            }
            ResolveError::TypeMismatch { name, model_type } => Self::new(
                RejectionCode::ModelTypeMismatch,
                format!(
                    "The model {name:?} is of type {model_type}, which cannot serve this \
                     {endpoint} endpoint. Use the endpoint for its type, or another model."
                ),
            ),
            ResolveError::FallbackMissing { fallback } => Self::new(
                RejectionCode::FallbackModelUnavailable,
                match asked {
                    Some(name) => format!(
                        "The model {name:?} does not exist or is not active, and neither does \
                         the configured fallback {fallback:?}. Ask for an active model."
                    ),
                    None => format!(
                        "The request names no model, and the configured fallback {fallback:?} is \
                         not active. Send \"model\" with an active one."
                    ),
                },
            ),
            ResolveError::FallbackMismatch {
                fallback,
                model_type,
            } => Self::new(
                RejectionCode::FallbackModelUnavailable,
                format!(
                    "The configured fallback {fallback:?} is of type {model_type}, which cannot \
                     serve this {endpoint} endpoint. Ask for an active model of the right type."
                ),
            ),
        }
    }

    /// The answer as OpenAI's API shapes it, with this value in its extensions.
    pub fn to_response(&self) -> Response<Bytes> {
        let kind = if self.status().is_client_error() {
            "invalid_request_error"
        } else {
            "server_error"
        };
        let body = json!({
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.code.blames_model().then_some("model"),
                "code": self.code.as_str(),
            }
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            // Whole seconds (RFC 9110, 10.2.3), rounded up: not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, seconds.max(1).into());
        }
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<json::ScanError> for Rejection {
    fn from(error: json::ScanError) -> Self {
        let code = match error.kind() {
            json::ScanErrorKind::DuplicateModel => RejectionCode::DuplicateModel,
            json::ScanErrorKind::AmbiguousModel => RejectionCode::AmbiguousModel,
            json::ScanErrorKind::Invalid(_) => RejectionCode::InvalidJson,
        };
        Self {
            offset: Some(error.offset()),
            ..Self::new(code, format!("The request's body is refused: {error}."))
        }
    }
}

impl From<multipart::FormError> for Rejection {
    fn from(error: multipart::FormError) -> Self {
        let code = match error.kind() {
            multipart::FormErrorKind::DuplicateModel => RejectionCode::DuplicateModel,
            multipart::FormErrorKind::AmbiguousModel => RejectionCode::AmbiguousModel,
            multipart::FormErrorKind::Invalid(_) => RejectionCode::InvalidMultipart,
        };
        Self {
            offset: Some(error.offset()),
            ..Self::new(code, format!("The request's body is refused: {error}."))
        }
    }
}

impl From<Unavailable> for Rejection {
    fn from(unavailable: Unavailable) -> Self {
        Self {
            retry_after: Some(unavailable.retry_after()),
            // The reason is the operator's business: it goes to the log and
            // the source chain, not to the client.
            source: Some(unavailable),
            ..Self::new(
                RejectionCode::ModelRegistryUnavailable,
                "The list of active models cannot be fetched at this moment. Try again shortly.",
            )
        }
    }
}

/// A user's own way of showing a rejection.
#[derive(Clone)]
pub(crate) struct RejectionHook(Arc<Hook>);

type Hook = dyn Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync;

impl RejectionHook {
    pub(crate) fn new(
        hook: impl Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn response(&self, rejection: &Rejection, uri: &Uri) -> Response<Bytes> {
        let mut response = (self.0)(rejection, uri);
        response.extensions_mut().insert(rejection.clone());
        response
    }
}

impl fmt::Debug for RejectionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RejectionHook")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ALL: [(RejectionCode, &str, u16, bool); 14] = [
        (RejectionCode::InvalidJson, "invalid_json", 400, false),
        (
            RejectionCode::InvalidMultipart,
            "invalid_multipart",
            400,
            false,
        ),
        (RejectionCode::DuplicateModel, "duplicate_model", 400, true),
        (RejectionCode::AmbiguousModel, "ambiguous_model", 400, true),
        (RejectionCode::InvalidModel, "invalid_model", 400, true),
        (
            RejectionCode::ModelTypeMismatch,
            "model_type_mismatch",
            400,
            true,
        ),
        (RejectionCode::ModelNotFound, "model_not_found", 404, true),
        (RejectionCode::RequestTimeout, "request_timeout", 408, false),
        (
            RejectionCode::RequestTooLarge,
            "request_too_large",
            413,
            false,
        ),
        (
            RejectionCode::UnsupportedContentEncoding,
            "unsupported_content_encoding",
            415,
            false,
        ),
        (
            RejectionCode::UnsupportedMediaType,
            "unsupported_media_type",
            415,
            false,
        ),
        (
            RejectionCode::ModelRegistryUnavailable,
            "model_registry_unavailable",
            503,
            false,
        ),
        (
            RejectionCode::FallbackModelUnavailable,
            "fallback_model_unavailable",
            503,
            true,
        ),
        (RejectionCode::Overloaded, "overloaded", 503, false),
    ];

    fn read(response: Response<Bytes>) -> (http::response::Parts, Value) {
        let (head, body) = response.into_parts();
        (head, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn every_code_has_its_status_type_and_param() {
        for (code, name, status, blames_model) in ALL {
            let rejection = Rejection::new(code, "a \"message\"\u{7}");
            assert_eq!(rejection.to_string(), format!("{name}: a \"message\"\u{7}"));
            let (head, body) = read(rejection.to_response());
            assert_eq!(head.status, status);
            let kind = if status < 500 {
                "invalid_request_error"
            } else {
                "server_error"
            };
            let error = json!({"error": {
                "message": "a \"message\"\u{7}",
                "type": kind,
                "param": blames_model.then_some("model"),
                "code": name,
            }});
            assert_eq!(body, error);
            assert_eq!(head.headers.len(), 1, "{name}");
            assert_eq!(head.headers[CONTENT_TYPE], "application/json");
            let told: &Rejection = head.extensions.get().unwrap();
            assert_eq!((told.code(), told.status()), (code, head.status));
        }
    }

    #[test]
    fn retry_after_is_in_whole_seconds_never_too_early_and_never_zero() {
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
    fn each_reason_for_not_resolving_has_its_code_and_says_what_to_do() {
        let not_found = |suggestions: &[&str]| ResolveError::NotFound {
            suggestions: suggestions.iter().map(ToString::to_string).collect(),
        };
        let mismatch = |name: &str| ResolveError::TypeMismatch {
            name: name.into(),
            model_type: crate::registry::ModelType::Tts,
        };
        let missing = || ResolveError::FallbackMissing {
            fallback: "fall".into(),
        };
        let wrong = ResolveError::FallbackMismatch {
            fallback: "fall".into(),
            model_type: crate::registry::ModelType::Stt,
        };
        let (unknown, mismatched, fallback) = (
            RejectionCode::ModelNotFound,
            RejectionCode::ModelTypeMismatch,
            RejectionCode::FallbackModelUnavailable,
        );
        for (error, requested, code, parts) in [
            (
                not_found(&[]),
                Some("a\"\n"),
                unknown,
                vec!["\"a\\\"\u{fffd}\" does not exist", "spelling"],
            ),
            (
                not_found(&["b", "c"]),
                Some("a"),
                unknown,
                vec![r#"Did you mean "b", "c"?"#],
            ),
            (
                not_found(&[]),
                None,
                unknown,
                vec!["names no model", "Send \"model\""],
            ),
            (
                mismatch("A"),
                Some("a"),
                mismatched,
                vec!["\"A\"", "TTS", "llm endpoint"],
            ),
            (missing(), Some("a"), fallback, vec!["\"a\"", "\"fall\""]),
            (
                missing(),
                None,
                fallback,
                vec!["names no model", "\"fall\""],
            ),
            (
                wrong,
                Some("a"),
                fallback,
                vec!["\"fall\"", "STT", "llm endpoint"],
            ),
        ] {
            let rejection = Rejection::unresolved(error, requested, Endpoint::Llm);
            assert_eq!(rejection.code(), code);
            for part in parts {
                assert!(rejection.message().contains(part), "{part}: {rejection}");
            }
        }
        let rejection = Rejection::unresolved(not_found(&["b"]), Some("a"), Endpoint::Llm);
        assert_eq!(rejection.suggestions(), ["b"]);
    }
}
