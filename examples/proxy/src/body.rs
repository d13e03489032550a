//! Bodies that give up on a silent peer, and let a client finish its request.

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
    time::{self, Instant, Sleep, timeout},
};
use tower_model_routing::{BoxError, RoutedModel};
use tracing::Span;

/// A body of any kind: of each response within the proxy, and of requests whose
/// kind differs.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a client's request.
pub(crate) fn from_client(
    body: Incoming,
    patience: Duration,
) -> impl HttpBody<Data = Bytes, Error = BoxError> + Send + 'static {
    Timed::new(Lingering { body: Some(body) }, "client", patience)
}

/// The body of the upstream's answer. That it breaks off is logged: the client
/// cannot be told why.
pub(crate) fn from_upstream(
    body: Incoming,
    patience: Duration,
    routed: Option<RoutedModel>,
) -> Body {
    let span = Span::current();
    Timed::new(body, "upstream", patience)
        .map_err(move |error| {
            let _entered = span.enter();
            let cause = &*error as &(dyn Error + 'static);
            let model = routed.as_ref().map(RoutedModel::name);
            tracing::warn!(model, error = cause, "the upstream broke off its answer");
            error
        })
        .boxed_unsync()
}

/// A peer sent nothing for too long.
#[derive(Debug)]
pub(crate) struct Idle {
    peer: &'static str,
    patience: Duration,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} sent nothing for {:?}", self.peer, self.patience)
    }
}

impl Error for Idle {}

/// A body that fails when a frame of it takes too long.
///
/// Unlike `tower_http::timeout::TimeoutBody` it keeps the length and the end of
/// the body known, and only counts the time in which somebody wants a frame.
struct Timed<B> {
    body: B,
    peer: &'static str,
    patience: Duration,
    /// There once a frame has been waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl<B> Timed<B> {
    fn new(body: B, peer: &'static str, patience: Duration) -> Self {
        Self {
            body,
            peer,
            patience,
            sleep: None,
            is_waiting: false,
        }
    }
}

impl<B> HttpBody for Timed<B>
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
            this.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let (peer, patience) = (this.peer, this.patience);
        let sleep = match &mut this.sleep {
            None => this.sleep.insert(Box::pin(time::sleep(patience))),
            Some(sleep) => {
                // Later than before, which costs next to nothing.
                if !this.is_waiting {
                    sleep.as_mut().reset(Instant::now() + patience);
                }
                sleep
            }
        };
        this.is_waiting = true;
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(Idle { peer, patience }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body that is read on for a while after everybody has lost interest
/// in it.
///
/// A request may be answered before it has been received whole. Were the
/// connection closed at once, with bytes of the client unread, then TCP would
/// reset it, and the client might never read the answer.
struct Lingering {
    /// There until the body has ended or failed.
    body: Option<Incoming>,
}

impl Lingering {
    const MAX_TIME: Duration = Duration::from_secs(5);
    const MAX_BYTES: usize = 64 * 1024 * 1024;

    async fn discard(mut body: Incoming) {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > Self::MAX_BYTES {
                return;
            }
        }
    }
}

impl HttpBody for Lingering {
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

impl Drop for Lingering {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(timeout(Self::MAX_TIME, Self::discard(body)));
        }
    }
}
