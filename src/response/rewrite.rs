//! Names the model in the inner service's response.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
    response::Parts,
};
use http_body::Body;
use model_scan::rewrite::{IdRewriter, ModelRewriter, ResponseFormat, TextFormat};
use serde_json::Value;

use super::{ResponseBody, ResponseModel, rewriting::Rewriter};
use crate::{
    coding::{ContentCoding, DecodedBody, Decoder},
    headers,
    registry::{Catalog, Registry},
    resolve::RoutedModel,
    telemetry,
};

/// The changes to the response of one request.
#[derive(Debug)]
pub(crate) enum ResponseChanges {
    /// The request went on to this model.
    Routed(ResponseRewrite),
    /// The request went on unchanged.
    Unrouted(IdLookup),
}

/// The changes to the response of a request that went on to a model.
#[derive(Debug)]
pub(crate) struct ResponseRewrite {
    pub(crate) routed: RoutedModel,
    /// Whether to add headers that name the model.
    pub(crate) adds_headers: bool,
    pub(crate) response_model: ResponseModel,
    /// The key of the object that has the `model` in an event, besides the top level.
    pub(crate) event_model_parent: Option<&'static str>,
}

/// The changes to the response of a request that went on unchanged, such as
/// `GET /v1/responses/{id}`: IDs become names.
#[derive(Debug)]
pub(crate) struct IdLookup {
    pub(crate) registry: Registry,
    pub(crate) event_model_parent: Option<&'static str>,
}

impl ResponseChanges {
    pub(crate) fn routed(&self) -> Option<&RoutedModel> {
        match self {
            Self::Routed(rewrite) => Some(&rewrite.routed),
            Self::Unrouted(_) => None,
        }
    }

    pub(crate) fn apply<R: Body>(self, response: Response<R>) -> Response<ResponseBody<R>> {
        match self {
            Self::Routed(rewrite) => rewrite.apply(response),
            Self::Unrouted(lookup) => lookup.apply(response),
        }
    }
}

impl ResponseRewrite {
    /// Asks for a response that can be read, if it is to be rewritten.
    pub(crate) fn set_accept_encoding(&self, headers: &mut HeaderMap) {
        if self.names_model() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }

    /// Returns whether the response names another model than the inner service.
    fn names_model(&self) -> bool {
        // A fallback is never silent.
        self.response_model != ResponseModel::Unchanged || self.routed.is_fallback()
    }

    /// Returns the name of the model in the response.
    fn name(&self) -> &str {
        match self.response_model {
            ResponseModel::Requested if !self.routed.is_fallback() => self.routed.requested(),
            _ => None,
        }
        .unwrap_or(self.routed.name())
    }

    /// Returns the name as a JSON string literal.
    fn name_literal(&self) -> Bytes {
        let (name, entry) = (self.name(), self.routed.entry());
        if name == entry.name() {
            entry.name_literal().clone()
        } else {
            Value::from(name).to_string().into()
        }
    }

    fn apply<R: Body>(self, response: Response<R>) -> Response<ResponseBody<R>> {
        let (mut head, body) = response.into_parts();
        if self.adds_headers {
            self.set_headers(&mut head.headers);
        }
        let body = match self.rewriter(&head, &body) {
            Some(rewriter) => rewrite(&mut head.headers, body, rewriter),
            None => ResponseBody::inner(body),
        };
        head.extensions.insert(self.routed);
        Response::from_parts(head, body)
    }

    /// Returns the rewriter of the body; `None` leaves the body unchanged.
    fn rewriter<R: Body>(&self, head: &Parts, body: &R) -> Option<Rewriter> {
        if !self.names_model() {
            return None;
        }
        if head.status.is_client_error() || head.status.is_server_error() {
            let least = headers::content_length(&head.headers).unwrap_or(0);
            let is_short = least.max(body.size_hint().lower()) <= IdRewriter::MAX_LEN as u64;
            let format = text_format(&head.headers).filter(|_| is_short)?;
            return Some(Rewriter::Error(self.error_rewriter(format)));
        }
        let format = format(head, self.event_model_parent)?;
        let rewriter = ModelRewriter::new(format, self.name_literal());
        Some(Rewriter::Model(rewriter))
    }

    fn error_rewriter(&self, format: TextFormat) -> IdRewriter {
        let (id, name) = match format {
            TextFormat::Json => {
                let without_quotes = |literal: Bytes| literal.slice(1..literal.len() - 1);
                let id = self.routed.entry().id_literal().clone();
                (without_quotes(id), without_quotes(self.name_literal()))
            }
            TextFormat::Plain => {
                let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
                (bytes(self.routed.id()), bytes(self.name()))
            }
        };
        IdRewriter::new(format, id, name)
    }

    fn set_headers(&self, headers: &mut HeaderMap) {
        const ID: HeaderName = HeaderName::from_static("x-model-id");
        const NAME: HeaderName = HeaderName::from_static("x-model-name");
        const FALLBACK: HeaderName = HeaderName::from_static("x-model-fallback");

        let entry = self.routed.entry();
        headers.insert(ID, entry.id_header_value().clone());
        headers.insert(NAME, entry.name_header_value().clone());
        if self.routed.is_fallback() {
            headers.insert(FALLBACK, HeaderValue::from_static("true"));
        } else {
            // The inner service must not claim it.
            headers.remove(FALLBACK);
        }
    }
}

impl IdLookup {
    fn apply<R>(self, response: Response<R>) -> Response<ResponseBody<R>> {
        let (mut head, body) = response.into_parts();
        // The format first: most responses need no catalog.
        let plan = format(&head, self.event_model_parent)
            .and_then(|format| Some((format, self.registry.snapshot()?)));
        let body = match plan {
            Some((format, catalog)) => {
                let lookup = move |id: &[u8]| name_of_id(&catalog, id);
                let rewriter = ModelRewriter::with_lookup(format, lookup);
                rewrite(&mut head.headers, body, Rewriter::Model(rewriter))
            }
            None => ResponseBody::inner(body),
        };
        Response::from_parts(head, body)
    }
}

/// Returns the catalog name of an ID; both are JSON string literals.
fn name_of_id(catalog: &Catalog, literal: &[u8]) -> Option<Bytes> {
    let id: String = serde_json::from_slice(literal).ok()?;
    Some(catalog.find_id(&id)?.name_literal().clone())
}

/// Returns the format in which to rewrite the body; `None` leaves the body unchanged.
fn format(head: &Parts, event_model_parent: Option<&'static str>) -> Option<ResponseFormat> {
    // Partial content (206) cannot be parsed.
    let is_whole = head.status.is_success() && head.status != StatusCode::PARTIAL_CONTENT;
    if !is_whole {
        return None;
    }
    let essence = media_type(&head.headers)?;
    if essence.eq_ignore_ascii_case("text/event-stream") {
        return Some(ResponseFormat::Events {
            parent: event_model_parent,
        });
    }
    let is_lines = ["application/x-ndjson", "application/jsonl"]
        .into_iter()
        .any(|lines| essence.eq_ignore_ascii_case(lines));
    if is_lines {
        return Some(ResponseFormat::Lines);
    }
    headers::is_json(essence).then_some(ResponseFormat::Json)
}

/// Returns the format of an error message; `None` leaves it unchanged. HTML is no text: the name
/// may be the client's own.
fn text_format(headers: &HeaderMap) -> Option<TextFormat> {
    let essence = media_type(headers)?;
    if essence.eq_ignore_ascii_case("text/plain") {
        return Some(TextFormat::Plain);
    }
    headers::is_json(essence).then_some(TextFormat::Json)
}

/// Returns the media type without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim())
}

/// Returns the body as it is to be sent, and updates the headers that describe it. A body whose
/// content coding is not supported stays as it is.
fn rewrite<R>(headers: &mut HeaderMap, body: R, rewriter: Rewriter) -> ResponseBody<R> {
    let Some(decoder) = decoder(headers) else {
        return ResponseBody::inner(body);
    };
    if decoder.is_some() {
        headers::remove_coding(headers);
    } else {
        headers::remove_length_and_digests(headers);
    }
    ResponseBody::rewriting(DecodedBody::new(body, decoder), rewriter)
}

/// Returns the decoder of a body that is to be read, or `None` if its content coding is not
/// supported.
fn decoder(headers: &HeaderMap) -> Option<Option<Decoder>> {
    let coding = match ContentCoding::of(headers) {
        ContentCoding::Identity => None,
        ContentCoding::Supported(coding) => Some(coding),
        ContentCoding::Unsupported(coding) => {
            telemetry::response_unread(&coding);
            return None;
        }
    };
    // Without a reservation: the inner service is trusted, and its windows are bounded.
    Some(coding.map(|coding| Decoder::new(coding, None)))
}
