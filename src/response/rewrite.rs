//! Names the model in the inner service's response.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
    response::Parts,
};
use model_scan::rewrite::{ModelRewriter, ResponseFormat};
use serde_json::Value;

use super::{ResponseBody, ResponseModel};
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

    pub(crate) fn apply<R>(self, response: Response<R>) -> Response<ResponseBody<R>> {
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

    /// Returns the name of the model in the response, as a JSON string literal.
    fn name_literal(&self) -> Bytes {
        let served = self.routed.entry().name_literal();
        match (self.response_model, self.routed.requested()) {
            (ResponseModel::Requested, Some(requested))
                if !self.routed.is_fallback() && requested != self.routed.name() =>
            {
                Value::from(requested).to_string().into()
            }
            _ => served.clone(),
        }
    }

    fn apply<R>(self, response: Response<R>) -> Response<ResponseBody<R>> {
        let (mut head, body) = response.into_parts();
        if self.adds_headers {
            self.set_headers(&mut head.headers);
        }
        let format = if self.names_model() {
            format(&head, self.event_model_parent)
        } else {
            None
        };
        let body = match format {
            Some(format) => {
                let rewriter = ModelRewriter::new(format, self.name_literal());
                rewrite(&mut head.headers, body, rewriter)
            }
            None => ResponseBody::inner(body),
        };
        head.extensions.insert(self.routed);
        Response::from_parts(head, body)
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
                rewrite(&mut head.headers, body, rewriter)
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
    let value = head.headers.get(CONTENT_TYPE)?;
    if value == "application/json" {
        // The common case.
        return Some(ResponseFormat::Json);
    }
    let essence = value.to_str().ok()?.split(';').next()?.trim();
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

/// Returns the body as it is to be sent, and updates the headers that describe it. A body whose
/// content coding is not supported stays as it is.
fn rewrite<R>(headers: &mut HeaderMap, body: R, rewriter: ModelRewriter) -> ResponseBody<R> {
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
