//! Responses to clients, and the checks of them.

use std::{io::Read, ops::Range};

use flate2::read::GzDecoder;
use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::{
    catalogs::Served,
    checks::Check,
    plan::{Action, ORIGIN, Plan, document, event},
    request_log::RequestLog,
};

/// A response.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
    is_complete: bool,
    /// Whether the body was compressed.
    was_compressed: bool,
}

impl Response {
    /// Reads a response to its end, and decodes it.
    pub(crate) async fn read(response: http::Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let mut this = Self {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            is_complete: true,
            was_compressed: false,
        };
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    this.body.extend_from_slice(data);
                }
                Err(_) => {
                    this.is_complete = false;
                    break;
                }
            }
        }
        let coding = this.headers.get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| coding == "gzip") {
            let compressed = std::mem::take(&mut this.body);
            let decoded = GzDecoder::new(&*compressed).read_to_end(&mut this.body);
            this.is_complete &= decoded.is_ok();
            this.was_compressed = true;
        }
        this
    }

    /// Checks for the upstream's response, with the model's name in place of the ID.
    pub(crate) fn check(&self, log: &RequestLog, plan: &Plan) {
        let status = match plan.action {
            Action::Fail => 500,
            _ => 200,
        };
        if !self.check_status(log, plan, status) {
            return;
        }
        let served = log.served(plan);
        let name = served.map_or("", |served| served.name());
        let expected = match plan.action {
            Action::Respond(len) => document(plan.nonce, name, len),
            Action::Events(count, _) => events(plan.nonce, name, 0..count, count),
            Action::Abort => events(plan.nonce, name, 0..4, 8),
            // An error names the model, too.
            Action::Fail | Action::Late(_) | Action::Close | Action::Silent | Action::Echo(_) => {
                document(plan.nonce, name, 0)
            }
        };
        self.check_compression(log, plan, expected.len());
        let has_headers = has_model(plan, served, &self.headers);
        let has_body = match plan.action {
            // It ends after one of the events.
            Action::Abort => expected.as_bytes().starts_with(&self.body) && !self.is_complete,
            _ => self.body == expected.as_bytes() && self.is_complete,
        };
        log.checks
            .check(Check::Response, has_headers && has_body, || {
                let body = String::from_utf8_lossy(&self.body);
                let body: String = body.chars().take(300).collect();
                format!(
                    "request {} ({}) got {:?} {body:?} for {served:?}, complete: {}",
                    plan.nonce, plan.category, self.headers, self.is_complete
                )
            });
    }

    fn check_compression(&self, log: &RequestLog, plan: &Plan, len: usize) {
        let may = plan.accepts_gzip() && !matches!(plan.action, Action::Events(..) | Action::Abort);
        // A shorter one is not if its length is known.
        let must = may && len >= 1024;
        let holds = match self.was_compressed {
            true => may,
            false => !must,
        };
        log.checks.check(Check::Compression, holds, || {
            format!(
                "request {} ({}) got {:?}",
                plan.nonce, plan.category, self.headers
            )
        });
    }

    /// Checks for a response of the proxy's own.
    pub(crate) fn check_rejection(&self, log: &RequestLog, plan: &Plan, status: u16, code: &str) {
        if self.check_status(log, plan, status) {
            let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
            let has_form = match plan.path.starts_with("/v1/messages") {
                // Anthropic's errors have no code.
                true => body["type"] == "error" && body["error"]["message"].is_string(),
                false => body["error"]["code"] == code,
            };
            let holds = has_form && self.is_complete;
            log.checks.check(Check::Response, holds, || {
                format!("request {} ({}) got {body}", plan.nonce, plan.category)
            });
        }
    }

    pub(crate) fn check_status(&self, log: &RequestLog, plan: &Plan, expected: u16) -> bool {
        let check = match self.status.is_server_error() {
            true => Check::Error5xx,
            false => Check::Status,
        };
        let holds = self.status == expected;
        log.checks.check(check, holds, || {
            let body = String::from_utf8_lossy(&self.body);
            format!(
                "request {} ({}, {:?}, {:?}) got {} {body}",
                plan.nonce, plan.category, plan.action, plan.end, self.status
            )
        })
    }
}

/// Checks the headers of all responses.
pub(crate) fn check_headers(log: &RequestLog, plan: &Plan, headers: &HeaderMap) {
    let header = |name| headers.get(name).map(|value| value.as_bytes());
    let holds = header("x-request-id") == Some(plan.request_id().as_bytes())
        && header("access-control-allow-origin") == Some(ORIGIN.as_bytes());
    log.checks.check(Check::Headers, holds, || {
        format!("request {} ({}) got {headers:?}", plan.nonce, plan.category)
    });
}

/// Returns whether a response has headers with its model, and of a fallback.
pub(crate) fn has_model(plan: &Plan, served: Option<Served>, headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).map(|value| value.as_bytes());
    match (served, &plan.routed) {
        (Some(served), Some(routed)) => {
            let is_fallback = routed.requested != Some(served.model);
            header("x-model-id") == Some(served.id().as_bytes())
                && header("x-model-name") == Some(served.name().as_bytes())
                && header("x-model-fallback") == is_fallback.then_some(&b"true"[..])
        }
        (None, None) => header("x-model-id").is_none(),
        _ => false,
    }
}

fn events(nonce: u64, name: &str, range: Range<usize>, count: usize) -> String {
    range
        .map(|index| event(nonce, name, index, count))
        .collect::<Vec<_>>()
        .concat()
}
