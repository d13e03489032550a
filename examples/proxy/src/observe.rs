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

/// Observes the response to a request that came at `start`, in the current span, until the body
/// ends or is dropped.
///
/// `trace` is the request's span in its trace. `access_log` is whether a line is logged.
pub(crate) fn observe(
    mut response: Response<Body>,
    start: Instant,
    trace: Span,
    access_log: bool,
) -> Response<Body> {
    let routed = response.extensions().get::<RoutedModel>().cloned();
    if routed.is_none() && trace.is_disabled() && !access_log {
        return response;
    }
    if let Some(tunnel) = response.extensions_mut().get_mut::<Tunnel>() {
        tunnel.set_trace(trace.clone());
    }
    let (head, body) = response.into_parts();
    let body = ObservedBody {
        observed: Observed {
            start,
            status: head.status,
            routed,
            rejection: head.extensions.get().cloned(),
            first_byte: None,
            bytes: 0,
            end: match body.is_end_stream() {
                true => End::Complete,
                false => End::Canceled,
            },
        },
        body,
        span: Span::current(),
        trace,
        access_log,
    };
    Response::from_parts(head, body.boxed_unsync())
}

/// What was observed of a response.
#[derive(Debug)]
pub(crate) struct Observed {
    /// When the request came.
    pub(crate) start: Instant,
    pub(crate) status: StatusCode,
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
        if self.status.is_client_error() || self.status.is_server_error() {
            return Some(self.status.as_str());
        }
        match self.end {
            End::Complete => None,
            End::Failed => Some("body_error"),
            End::Canceled => Some("canceled"),
        }
    }
}

/// A body that reports its response when it is dropped.
struct ObservedBody {
    body: Body,
    observed: Observed,
    /// The request's span in the log.
    span: Span,
    /// The request's span in its trace.
    trace: Span,
    access_log: bool,
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
        let observed = &mut this.observed;
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

impl Drop for ObservedBody {
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

/// Records attributes of the HTTP and GenAI conventions.
fn record_trace(trace: &Span, observed: &Observed) {
    if trace.is_disabled() {
        return;
    }
    trace.record("http.response.status_code", observed.status.as_u16());
    // An error response comes from no model.
    if observed.status.is_success()
        && let Some(routed) = &observed.routed
    {
        trace.record("gen_ai.response.model", routed.name());
    }
    if let Some(error_type) = observed.error_type() {
        trace.record("error.type", error_type);
    }
    // The server's errors only, and not the client's, as the conventions say.
    if observed.status.is_server_error() || observed.end == End::Failed {
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
            observed: Observed {
                start: Instant::now(),
                status: StatusCode::OK,
                routed: None,
                rejection: None,
                first_byte: None,
                bytes: 0,
                end: End::Canceled,
            },
            span: Span::none(),
            trace: Span::none(),
            access_log: false,
        }
    }

    #[tokio::test]
    async fn bytes_are_counted_to_the_end() {
        let mut body = observed(boxed(Full::from("12345")));
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.unwrap().unwrap();
        assert_eq!((body.observed.bytes, body.observed.end), (5, End::Complete));
        assert!(body.observed.first_byte.is_some());
    }

    #[tokio::test]
    async fn failed_body_is_no_complete_one() {
        let frames = [Ok(Frame::data(Bytes::from("1"))), Err("cut off".into())];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut body = observed(body.boxed_unsync());
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.observed.error_type(), Some("canceled"));
        body.frame().await.unwrap().unwrap_err();
        assert_eq!(body.observed.error_type(), Some("body_error"));
        assert_eq!(body.observed.bytes, 1);
    }
}
