//! Bodies with idle timeouts, and request bodies that are drained when dropped.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep, timeout},
};
use tower_model_routing::{BoxError, RoutedModel};
use tracing::Span;

/// A boxed body: of every response, and of requests of different types.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Wraps the body of a client's request.
pub(crate) fn from_client(
    body: Incoming,
    idle_timeout: Duration,
) -> impl HttpBody<Data = Bytes, Error = BoxError> + Send + 'static {
    IdleTimeoutBody::new(DrainOnDrop { body: Some(body) }, "client", idle_timeout)
}

/// Wraps the body of an upstream response. Errors are logged in `span`, because they cannot be
/// reported to the client any more.
pub(crate) fn from_upstream(
    body: Incoming,
    idle_timeout: Duration,
    routed: Option<RoutedModel>,
    span: Span,
) -> Body {
    IdleTimeoutBody::new(body, "upstream", idle_timeout)
        .map_err(move |error| {
            let _entered = span.enter();
            let cause = &*error as &(dyn Error + 'static);
            let model = routed.as_ref().map(RoutedModel::name);
            tracing::warn!(model, error = cause, "upstream response ended early");
            error
        })
        .boxed_unsync()
}

/// The error of a body whose peer sent nothing for too long.
#[derive(Debug)]
pub(crate) struct IdleTimeout {
    peer: &'static str,
    timeout: Duration,
}

impl fmt::Display for IdleTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} sent nothing for {:?}", self.peer, self.timeout)
    }
}

impl Error for IdleTimeout {}

/// A body that fails if it is polled and no frame comes in time.
///
/// Unlike `tower_http::timeout::TimeoutBody`, it keeps `size_hint` and
/// `is_end_stream`, and its timer costs little: a frame moves its deadline only.
struct IdleTimeoutBody<B> {
    body: B,
    peer: &'static str,
    timeout: Duration,
    /// Created when the body is pending for the first time.
    sleep: Option<Pin<Box<Sleep>>>,
    is_pending: bool,
}

impl<B> IdleTimeoutBody<B> {
    fn new(body: B, peer: &'static str, timeout: Duration) -> Self {
        Self {
            body,
            peer,
            timeout,
            sleep: None,
            is_pending: false,
        }
    }
}

impl<B> HttpBody for IdleTimeoutBody<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.is_pending = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let (peer, timeout) = (this.peer, this.timeout);
        let sleep = match &mut this.sleep {
            None => this.sleep.insert(Box::pin(sleep(timeout))),
            Some(sleep) => {
                if !this.is_pending {
                    sleep.as_mut().reset(Instant::now() + timeout);
                }
                sleep
            }
        };
        this.is_pending = true;
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(IdleTimeout { peer, timeout }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body whose rest is read and discarded when it is dropped.
///
/// A response may be complete before the request is. If the connection were closed
/// with unread bytes, TCP would reset it, and the client might not get the response.
struct DrainOnDrop {
    /// `None` after the end or an error.
    body: Option<Incoming>,
}

impl DrainOnDrop {
    const MAX_TIME: Duration = Duration::from_secs(5);
    const MAX_BYTES: usize = 64 * 1024 * 1024;

    async fn drain(mut body: Incoming) {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > Self::MAX_BYTES {
                return;
            }
        }
    }
}

impl HttpBody for DrainOnDrop {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ended = SizeHint::with_exact(0);
        self.body.as_ref().map_or(ended, HttpBody::size_hint)
    }
}

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(timeout(Self::MAX_TIME, Self::drain(body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;
    use tokio::time::sleep_until;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_time_between_frames_counts() {
        let start = Instant::now();
        // The frames come 9, 18, 20 and 31 seconds after the start.
        let frames = stream::iter([9, 18, 20, 31]).then(move |second| async move {
            sleep_until(start + Duration::from_secs(second)).await;
            Ok::<_, BoxError>(Frame::data(Bytes::new()))
        });
        let timeout = Duration::from_secs(10);
        let body = StreamBody::new(Box::pin(frames));
        let mut body = IdleTimeoutBody::new(body, "test", timeout);
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.is::<IdleTimeout>(), "{error}");
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_a_poll_does_not_count() {
        let timeout = Duration::from_secs(10);
        let frames = stream::once(Box::pin(async {
            sleep(Duration::from_secs(6)).await;
            Ok::<_, BoxError>(Frame::data(Bytes::new()))
        }));
        let mut body = IdleTimeoutBody::new(StreamBody::new(frames), "test", timeout);
        sleep(2 * timeout).await;
        body.frame().await.unwrap().unwrap();
    }
}
