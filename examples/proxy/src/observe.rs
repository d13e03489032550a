//! The access log: a line for each response.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tower_model_routing::{BoxError, Rejection, RoutedModel};
use tracing::Span;

use crate::body::Body;

/// The longest name of a client in a line.
const MAX_NAME_CHARS: usize = 128;

/// Logs the response to a request that came at `start`, in the current span, once the body ends or
/// is dropped.
pub(crate) fn log(response: Response<Body>, start: Instant) -> Response<Body> {
    let (head, body) = response.into_parts();
    let routed = head.extensions.get::<RoutedModel>();
    let requested = routed.and_then(RoutedModel::requested);
    let rejection = head.extensions.get::<Rejection>();
    let body = LoggedBody {
        span: Span::current(),
        status: head.status.as_u16(),
        requested: requested.map(|name| name.chars().take(MAX_NAME_CHARS).collect()),
        served: routed.map(|routed| routed.name().to_owned()),
        rejection: rejection.map(ToString::to_string),
        start,
        first_byte_seconds: None,
        bytes: 0,
        is_complete: body.is_end_stream(),
        body,
    };
    Response::from_parts(head, body.boxed_unsync())
}

/// A body that logs its response when it is dropped.
struct LoggedBody {
    body: Body,
    span: Span,
    status: u16,
    requested: Option<String>,
    served: Option<String>,
    rejection: Option<String>,
    start: Instant,
    first_byte_seconds: Option<f64>,
    bytes: u64,
    is_complete: bool,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let seconds = || this.start.elapsed().as_secs_f64();
                    this.first_byte_seconds.get_or_insert_with(seconds);
                    this.bytes += data.len() as u64;
                }
                this.is_complete = this.body.is_end_stream() || frame.is_trailers();
            }
            Some(Err(_)) => {}
            None => this.is_complete = true,
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

impl Drop for LoggedBody {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        tracing::info!(
            model = self.requested,
            served = self.served,
            status = self.status,
            bytes = self.bytes,
            first_byte_seconds = self.first_byte_seconds,
            seconds = self.start.elapsed().as_secs_f64(),
            complete = self.is_complete,
            rejection = self.rejection,
            "access"
        );
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::response::boxed;

    fn logged(body: Body) -> LoggedBody {
        LoggedBody {
            body,
            span: Span::none(),
            status: 200,
            requested: None,
            served: None,
            rejection: None,
            start: Instant::now(),
            first_byte_seconds: None,
            bytes: 0,
            is_complete: false,
        }
    }

    #[tokio::test]
    async fn bytes_are_counted_to_the_end() {
        let mut body = logged(boxed(Full::from("12345")));
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.unwrap().unwrap();
        assert_eq!((body.bytes, body.is_complete), (5, true));
        assert!(body.first_byte_seconds.is_some());
    }

    #[tokio::test]
    async fn failed_body_is_incomplete() {
        let frames = [Ok(Frame::data(Bytes::from("1"))), Err("cut off".into())];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut body = logged(body.boxed_unsync());
        body.frame().await.unwrap().unwrap();
        body.frame().await.unwrap().unwrap_err();
        assert_eq!((body.bytes, body.is_complete), (1, false));
    }
}
