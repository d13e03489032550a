//! Observes each response until its end, for the access log, the histograms and the trace.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tower_model_routing::{BoxError, Rejection, RoutedModel};
use tracing::Span;

use crate::{access_log, body::Body, gen_ai, websocket::Tunnel};

/// The observation of a request from its arrival until its response has ended.
pub(crate) struct Observation {
    observed: Observed,
    /// The request's span in the log.
    span: Span,
    /// The request's span in its trace.
    trace: Span,
    access_log: bool,
}

impl Observation {
    /// Observes a request that came at `start`, in the current span, until this is dropped.
    ///
    /// `trace` is the request's span in its trace. `access_log` is whether a line is logged.
    pub(crate) fn new(start: Instant, trace: Span, access_log: bool) -> Self {
        Self {
            observed: Observed {
                start,
                status: None,
                routed: None,
                rejection: None,
                first_byte: None,
                bytes: 0,
                end: End::Canceled,
            },
            span: Span::current(),
            trace,
            access_log,
        }
    }

    /// Goes on with the response, until its body ends or is dropped.
    pub(crate) fn observe(mut self, mut response: Response<Body>) -> Response<Body> {
        let routed = response.extensions().get::<RoutedModel>().cloned();
        if routed.is_none() && self.trace.is_disabled() && !self.access_log {
            return response;
        }
        if let Some(tunnel) = response.extensions_mut().get_mut::<Tunnel>() {
            tunnel.set_trace(self.trace.clone());
        }
        let (head, body) = response.into_parts();
        let observed = &mut self.observed;
        observed.status = Some(head.status);
        observed.routed = routed;
        observed.rejection = head.extensions.get().cloned();
        if body.is_end_stream() {
            observed.end = End::Complete;
        }
        let body = ObservedBody {
            body,
            observation: self,
        };
        Response::from_parts(head, body.boxed_unsync())
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let observed = &self.observed;
        gen_ai::record_duration(observed);
        if self.access_log {
            self.span.in_scope(|| access_log::log(observed));
        }
        // The span's end is the last time that it was left.
        self.trace.in_scope(|| record_trace(&self.trace, observed));
    }
}

/// What was observed of a request and its response.
#[derive(Debug)]
pub(crate) struct Observed {
    /// When the request came.
    pub(crate) start: Instant,
    /// `None` if the client disconnected before there was a response.
    pub(crate) status: Option<StatusCode>,
    pub(crate) routed: Option<RoutedModel>,
    pub(crate) rejection: Option<Rejection>,
    /// The time from the start to the body's first byte.
    pub(crate) first_byte: Option<Duration>,
    /// The length of the body.
    pub(crate) bytes: u64,
    pub(crate) end: End,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// It was complete.
    Complete,
    /// It failed: the upstream disconnected, for example.
    Failed,
    /// It was dropped before its end: the client disconnected, for example.
    Canceled,
}

impl Observed {
    /// Returns the type of the error if the response did not end well: the status or the end.
    pub(crate) fn error_type(&self) -> Option<&str> {
        let status = self.status.as_ref();
        let is_error = |status: &&StatusCode| status.is_client_error() || status.is_server_error();
        if let Some(status) = status.filter(is_error) {
            return Some(status.as_str());
        }
        match self.end {
            End::Complete => None,
            End::Failed => Some("body_error"),
            End::Canceled => Some("canceled"),
        }
    }
}

/// The body of a response that is observed.
struct ObservedBody {
    body: Body,
    observation: Observation,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let observed = &mut this.observation.observed;
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if observed.first_byte.is_none() {
                        observed.first_byte = Some(observed.start.elapsed());
                        gen_ai::record_first_byte(observed);
                    }
                    observed.bytes += data.len() as u64;
                }
                if this.body.is_end_stream() || frame.is_trailers() {
                    observed.end = End::Complete;
                }
            }
            Some(Err(_)) => observed.end = End::Failed,
            None => observed.end = End::Complete,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Records attributes of the HTTP and GenAI conventions.
fn record_trace(trace: &Span, observed: &Observed) {
    if trace.is_disabled() {
        return;
    }
    if let Some(status) = observed.status {
        trace.record("http.response.status_code", status.as_u16());
    }
    let is = |class: fn(&StatusCode) -> bool| observed.status.as_ref().is_some_and(class);
    // An error response comes from no model.
    if is(StatusCode::is_success)
        && let Some(routed) = &observed.routed
    {
        trace.record("gen_ai.response.model", routed.name());
    }
    if let Some(error_type) = observed.error_type() {
        trace.record("error.type", error_type);
    }
    // The server's errors only, and not the client's, as the conventions say.
    if is(StatusCode::is_server_error) || observed.end == End::Failed {
        trace.record("otel.status_code", "ERROR");
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::response::boxed;

    fn observed(body: Body) -> ObservedBody {
        ObservedBody {
            body,
            observation: Observation::new(Instant::now(), Span::none(), false),
        }
    }

    #[tokio::test]
    async fn bytes_are_counted_to_the_end() {
        let mut body = observed(boxed(Full::from("12345")));
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.unwrap().unwrap();
        let observed = &body.observation.observed;
        assert_eq!((observed.bytes, observed.end), (5, End::Complete));
        assert!(observed.first_byte.is_some());
    }

    #[tokio::test]
    async fn failed_body_is_no_complete_one() {
        let frames = [Ok(Frame::data(Bytes::from("1"))), Err("cut off".into())];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut body = observed(body.boxed_unsync());
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.observation.observed.error_type(), Some("canceled"));
        body.frame().await.unwrap().unwrap_err();
        assert_eq!(body.observation.observed.error_type(), Some("body_error"));
        assert_eq!(body.observation.observed.bytes, 1);
    }
}
