//! The responses by which the layer rejects requests.

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode, Uri, header::RETRY_AFTER};
use model_scan::{ScanError, ScanErrorKind};

use super::{Dialect, ErrorObject, error_response_in};
use crate::{
    endpoint::Endpoint, registry::Unavailable, resolve::ResolveError, text::sanitize_for_log,
};

/// A rejected request.
///
/// The layer responds with the error object that the clients of the path's API expect, and with
/// this value in the response's extensions.
///
/// | path | error object |
/// |---|---|
/// | at and below `/v1/messages`, `/messages` | Anthropic's `{"type":"error","error":{"type","message"}}` |
/// | `/models/{model}:{verb}` | Gemini's `{"error":{"code","message","status"}}` |
/// | any other | OpenAI's `{"error":{"message","type","param","code"}}`, and in `error`, if there are any, `suggestions` |
///
/// # Examples
///
/// Count rejections by code in a layer outside of this one:
///
/// ```
/// use std::collections::HashMap;
/// use tower_model_routing::{Rejection, RejectionCode};
///
/// fn count<B>(response: &http::Response<B>, rejections: &mut HashMap<RejectionCode, u64>) {
///     if let Some(rejection) = response.extensions().get::<Rejection>() {
///         *rejections.entry(rejection.code()).or_default() += 1;
///     }
/// }
/// # count(&http::Response::new(()), &mut HashMap::new());
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

/// The kind of a [`Rejection`]: the `code` of the error object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionCode {
    /// 400: the body is not a valid JSON object.
    InvalidJson,
    /// 400: the body is not valid `multipart/form-data`.
    InvalidMultipart,
    /// 400: the body has two models.
    DuplicateModel,
    /// 400: the request has another key, parameter or method that some servers read as `model` or
    /// `POST`, or its URI and its body name different models.
    AmbiguousModel,
    /// 400: the model is not a string, or too long.
    InvalidModel,
    /// 400: the request names no model.
    ModelRequired,
    /// 400: the model's type cannot serve this endpoint.
    ModelTypeMismatch,
    /// 404: no active model has this name.
    ModelNotFound,
    /// 408: the body made too little progress before it named its model.
    RequestTimeout,
    /// 413: the body is too long before its model.
    RequestTooLarge,
    /// 415: the body is encoded, so that its model cannot be read.
    UnsupportedContentEncoding,
    /// 415: the model cannot be read from a body of this media type.
    UnsupportedMediaType,
    /// 503: no usable catalog is available.
    ModelRegistryUnavailable,
    /// 503: the configured fallback model cannot serve the request.
    FallbackModelUnavailable,
    /// 503: other requests have reserved all of the buffer budget.
    Overloaded,
}

impl RejectionCode {
    /// Returns the code as the error object spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMultipart => "invalid_multipart",
            Self::DuplicateModel => "duplicate_model",
            Self::AmbiguousModel => "ambiguous_model",
            Self::InvalidModel => "invalid_model",
            Self::ModelRequired => "model_required",
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

    /// Returns the status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::InvalidMultipart
            | Self::DuplicateModel
            | Self::AmbiguousModel
            | Self::InvalidModel
            | Self::ModelRequired
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

    /// Returns the error object's `param`: the field that the client must change.
    fn param(self) -> Option<&'static str> {
        let is_about_model = matches!(
            self,
            Self::DuplicateModel
                | Self::AmbiguousModel
                | Self::InvalidModel
                | Self::ModelRequired
                | Self::ModelTypeMismatch
                | Self::ModelNotFound
                | Self::FallbackModelUnavailable
        );
        is_about_model.then_some("model")
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Rejection {
    /// Returns the kind of rejection.
    pub fn code(&self) -> RejectionCode {
        self.code
    }

    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// Returns the problem with the request, and its remedy.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the time after which a retry may succeed: the response's `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the catalog names that are similar to the requested one, most similar first.
    pub fn suggestions(&self) -> &[String] {
        &self.suggestions
    }

    /// Returns the offset of the byte that made the body invalid.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// Returns the cause that is logged, but not shown to the client.
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

    pub(crate) fn unsupported_media_type(reason: &str) -> Self {
        Self::new(
            RejectionCode::UnsupportedMediaType,
            format!(
                "The model cannot be read from this request: {reason}. Send application/json in \
                 UTF-8, or multipart/form-data where the endpoint accepts files."
            ),
        )
    }

    pub(crate) fn ambiguous_method(method: &str) -> Self {
        Self::new(
            RejectionCode::AmbiguousModel,
            format!(
                "Some servers read the method {method:?} as POST, and others do not. Send POST in \
                 upper case."
            ),
        )
    }

    pub(crate) fn model_in_query() -> Self {
        Self::new(
            RejectionCode::AmbiguousModel,
            "The query has a parameter \"model\", which some servers prefer to the body's. Send \
             \"model\" in the body only.",
        )
    }

    pub(crate) fn repeated_parameter() -> Self {
        Self::new(
            RejectionCode::AmbiguousModel,
            "The query names the model more than once, and servers differ in which one they read. \
             Send one.",
        )
    }

    pub(crate) fn model_hidden_in_path() -> Self {
        Self::new(
            RejectionCode::AmbiguousModel,
            "The path has encoded slashes or dot segments, and servers differ in which model it \
             names. Encode no slashes but those in the model's name.",
        )
    }

    pub(crate) fn models_disagree() -> Self {
        Self::new(
            RejectionCode::AmbiguousModel,
            "The URI and the body name different models. Send the same one in both, or none in the \
             body.",
        )
    }

    pub(crate) fn uri_too_long() -> Self {
        Self::new(
            RejectionCode::InvalidModel,
            "The URI is too long with the model's ID in place of its name. Send a shorter URI.",
        )
    }

    pub(crate) fn unsupported_content_encoding(coding: &str) -> Self {
        const REMEDY: &str = if cfg!(feature = "decompression") {
            "Send the body uncompressed, or compressed once: by gzip, deflate, br or zstd."
        } else {
            "Send the body uncompressed. (Operators: the cargo feature `decompression` of \
             tower-model-routing decompresses requests.)"
        };

        let coding = sanitize_for_log(coding);
        Self::new(
            RejectionCode::UnsupportedContentEncoding,
            format!(
                "The model cannot be read from a body with Content-Encoding {coding:?}. {REMEDY}"
            ),
        )
    }

    /// Returns the rejection of a body that its content coding does not decode.
    #[cfg(feature = "decompression")]
    pub(crate) fn undecodable(code: RejectionCode, error: &crate::coding::DecodeError) -> Self {
        let message = format!(
            "The request body is rejected: {error}. Send the body whole, encoded as its \
             Content-Encoding says, or uncompressed."
        );
        Self::new(code, message)
    }

    /// Returns the rejection of a body by its scanner.
    ///
    /// Not a `From` implementation, which would make [`ScanError`] part of the public API.
    pub(crate) fn invalid_body(error: ScanError) -> Self {
        let code = match error.kind() {
            ScanErrorKind::DuplicateModel => RejectionCode::DuplicateModel,
            ScanErrorKind::AmbiguousModel => RejectionCode::AmbiguousModel,
            ScanErrorKind::InvalidJson => RejectionCode::InvalidJson,
            ScanErrorKind::InvalidMultipart => RejectionCode::InvalidMultipart,
            ScanErrorKind::UnsafeBoundary => return Self::unsafe_boundary(),
            ScanErrorKind::InvalidModel => return Self::model_not_utf8(),
        };
        Self {
            offset: error.offset(),
            ..Self::new(code, format!("The request body is rejected: {error}."))
        }
    }

    pub(crate) fn unusable_boundary(reason: &str) -> Self {
        Self::new(
            RejectionCode::InvalidMultipart,
            format!(
                "The form cannot be parsed: {reason}. Let the HTTP client set the Content-Type, or \
                 send \"multipart/form-data; boundary=...\" with that one parameter."
            ),
        )
    }

    pub(crate) fn unsafe_boundary() -> Self {
        Self::new(
            RejectionCode::InvalidMultipart,
            "The form's boundary occurs in the model's ID. Use a longer, random boundary.",
        )
    }

    pub(crate) fn model_not_string(kind: &str) -> Self {
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
            "The model's name is not valid UTF-8. Send the name of a model.",
        )
    }

    pub(crate) fn too_large(max_held_bytes: usize) -> Self {
        Self::new(
            RejectionCode::RequestTooLarge,
            format!(
                "The first {max_held_bytes} bytes of the body name no model. Send \"model\" before \
                 the large fields."
            ),
        )
    }

    pub(crate) fn timed_out(held_timeout: Duration) -> Self {
        Self::new(
            RejectionCode::RequestTimeout,
            format!(
                "The body named no model within {held_timeout:?}. Send \"model\" before the large \
                 fields, and the body without long pauses. (Operators: held_timeout sets the \
                 limit.)"
            ),
        )
    }

    pub(crate) fn overloaded() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(
                RejectionCode::Overloaded,
                "Too many bytes of requests that wait for their model, the catalog or the upstream \
                 are buffered. Try again shortly, and send \"model\" before the large fields: less \
                 of such a request is buffered.",
            )
        }
    }

    /// Rejects a request whose model cannot be resolved.
    pub(crate) fn unresolved(
        error: ResolveError,
        requested: Option<&str>,
        endpoint: Endpoint,
    ) -> Self {
        let requested = requested.map(sanitize_for_log);
        match error {
            ResolveError::ModelRequired => Self::new(
                RejectionCode::ModelRequired,
                "The request names no model. Send \"model\" with the name of an active model.",
            ),
            ResolveError::NotFound { suggestions } => Self::not_found(requested, suggestions),
            ResolveError::TypeMismatch { name, model_type } => Self::new(
                RejectionCode::ModelTypeMismatch,
                format!(
                    "The model {name:?} has the type {model_type}, which cannot serve this \
                     {endpoint} endpoint. Use the endpoint for its type, or another model."
                ),
            ),
            ResolveError::FallbackMissing { fallback } => Self::new(
                RejectionCode::FallbackModelUnavailable,
                match requested {
                    Some(name) => format!(
                        "Neither the model {name:?} nor the configured fallback {fallback:?} is \
                         active. Send the name of an active model."
                    ),
                    None => format!(
                        "The request names no model, and the configured fallback {fallback:?} is \
                         not active. Send \"model\" with the name of an active model."
                    ),
                },
            ),
            ResolveError::FallbackMismatch {
                fallback,
                model_type,
            } => Self::new(
                RejectionCode::FallbackModelUnavailable,
                format!(
                    "The configured fallback {fallback:?} has the type {model_type}, which cannot \
                     serve this {endpoint} endpoint. Send the name of an active model of the right \
                     type."
                ),
            ),
        }
    }

    fn not_found(requested: Option<String>, suggestions: Vec<String>) -> Self {
        let requested = requested.unwrap_or_default();
        let remedy = if suggestions.is_empty() {
            "Check its spelling against the active models.".to_owned()
        } else {
            let names: Vec<_> = suggestions.iter().map(|name| format!("{name:?}")).collect();
            format!("Did you mean {}?", names.join(", "))
        };
        let message = format!("The model {requested:?} does not exist or is not active. {remedy}");
        Self {
            suggestions,
            ..Self::new(RejectionCode::ModelNotFound, message)
        }
    }

    /// Builds the response with OpenAI's error object, and with this value in the extensions.
    pub fn to_response(&self) -> Response<Bytes> {
        self.response_in(Dialect::OpenAi)
    }

    /// Builds the response with the error object of an API, and with this value in the extensions.
    pub(crate) fn response_in(&self, dialect: Dialect) -> Response<Bytes> {
        let error = ErrorObject {
            status: self.status(),
            code: self.code.as_str(),
            param: self.code.param(),
            message: &self.message,
            suggestions: &self.suggestions,
        };
        let mut response = error_response_in(dialect, &error);
        if let Some(wait) = self.retry_after {
            // Whole seconds (RFC 9110, 10.2.3), rounded up so that no retry is too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, seconds.max(1).into());
        }
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<Unavailable> for Rejection {
    fn from(unavailable: Unavailable) -> Self {
        Self {
            retry_after: Some(unavailable.retry_after()),
            // The cause goes to the log and the source chain, but not to the client.
            source: Some(unavailable),
            ..Self::new(
                RejectionCode::ModelRegistryUnavailable,
                "The catalog of active models is unavailable. Try again shortly.",
            )
        }
    }
}

/// The user's function that builds the response of a rejection.
#[derive(Clone)]
pub(crate) struct RejectionHook(Arc<Hook>);

type Hook = dyn Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync;

impl RejectionHook {
    pub(crate) fn new(
        hook: impl Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(hook))
    }

    /// Calls the function, and adds the rejection to the response's extensions.
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
