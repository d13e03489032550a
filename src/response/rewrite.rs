//! What is added to the inner service's response.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body::Body;
use model_scan::restore::{AnswerFormat, Restorer};

use super::ResponseBody;
use crate::{headers, request::Target, resolve::RoutedModel, shared::Shared};

/// What outer services and the client are told of the model that served.
#[derive(Debug)]
pub(crate) struct ResponseRewrite {
    routed: RoutedModel,
    headers: bool,
    /// Whether to restore the model's name, and where else than at the top of
    /// an event it is.
    restore: Option<Option<&'static str>>,
}

impl ResponseRewrite {
    pub(crate) fn new(routed: RoutedModel, target: &Target, shared: &Shared) -> Self {
        Self {
            routed,
            headers: shared.response_headers,
            restore: shared
                .restore_model_name
                .then_some(target.event_model_parent),
        }
    }

    /// The model that serves.
    pub(crate) fn routed(&self) -> &RoutedModel {
        &self.routed
    }

    pub(crate) fn finish<R: Body>(self, response: Response<R>) -> Response<ResponseBody<R>> {
        let (mut head, body) = response.into_parts();
        if self.headers {
            self.set_headers(&mut head.headers);
        }
        let format = self
            .restore
            .and_then(|event_model_parent| format(head.status, &head.headers, event_model_parent));
        let body = match format {
            Some(format) => {
                headers::remove_length_and_digests(&mut head.headers);
                let name = self.routed.entry().name_literal().clone();
                ResponseBody::restoring(body, Restorer::new(format, name))
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
            // Only this layer says so.
            headers.remove(FALLBACK);
        }
    }
}

/// How to read the answer; `None` for one to be left alone.
fn format(
    status: StatusCode,
    headers: &HeaderMap,
    event_model_parent: Option<&'static str>,
) -> Option<AnswerFormat> {
    // A part of an answer (206) cannot be read without the rest.
    let whole = status.is_success() && status != StatusCode::PARTIAL_CONTENT;
    if !whole || headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    let value = headers.get(CONTENT_TYPE)?;
    if value == "application/json" {
        // The usual case.
        return Some(AnswerFormat::Json);
    }
    let essence = value.to_str().ok()?.split(';').next()?.trim();
    if essence.eq_ignore_ascii_case("text/event-stream") {
        return Some(AnswerFormat::Events {
            parent: event_model_parent,
        });
    }
    headers::is_json(essence).then_some(AnswerFormat::Json)
}
