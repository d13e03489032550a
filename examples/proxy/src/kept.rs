//! The connections to the upstream that the next requests may take.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use tokio::time::interval;

#[derive(Debug)]
pub(crate) enum Connection<B> {
    /// For one request at a time.
    Http1(http1::SendRequest<B>),
    /// For all requests.
    Http2(http2::SendRequest<B>),
}

impl<B> Connection<B> {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// The one used last is at the end. The upstream may have closed any of them
/// meanwhile.
#[derive(Debug)]
pub(crate) struct Kept<B>(Mutex<Vec<Idle<B>>>);

#[derive(Debug)]
struct Idle<B> {
    connection: Connection<B>,
    /// Whether it was here already when all were looked through last.
    is_old: bool,
}

impl<B> Kept<B> {
    /// Twice this is how long a connection is kept at most without being used.
    const LOOK_INTERVAL: Duration = Duration::from_secs(30);

    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The one to use for a request; one of HTTP/2 stays here as well.
    pub(crate) fn take(&self) -> Option<Connection<B>> {
        let mut kept = self.lock();
        while let Some(Idle { connection, .. }) = kept.pop() {
            if connection.is_closed() {
                continue;
            }
            if let Connection::Http2(sender) = &connection {
                kept.push(Idle::new(Connection::Http2(sender.clone())));
            }
            return Some(connection);
        }
        None
    }

    /// Keeps a connection that is ready for a request.
    pub(crate) fn put(&self, connection: Connection<B>) {
        self.lock().push(Idle::new(connection));
    }

    /// Keeps a connection of HTTP/2, unless there is one already: requests that come
    /// together when there is none make one each. The one to use.
    pub(crate) fn share(&self, made: http2::SendRequest<B>) -> http2::SendRequest<B> {
        let mut kept = self.lock();
        let shared = kept.iter().find_map(|idle| match &idle.connection {
            Connection::Http2(sender) if !sender.is_closed() => Some(sender.clone()),
            _ => None,
        });
        shared.unwrap_or_else(|| {
            kept.push(Idle::new(Connection::Http2(made.clone())));
            made
        })
    }

    /// Closes what nobody has taken for a while.
    pub(crate) async fn age(kept: Weak<Self>) {
        let mut look = interval(Self::LOOK_INTERVAL);
        loop {
            look.tick().await;
            let Some(kept) = kept.upgrade() else { return };
            kept.lock()
                .retain_mut(|idle| !mem::replace(&mut idle.is_old, true));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Idle<B> {
    fn new(connection: Connection<B>) -> Self {
        Self {
            connection,
            is_old: false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{convert::Infallible, future::pending, pin::pin, sync::Arc};

    use bytes::Bytes;
    use futures_util::stream::once;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{Empty, StreamBody};
    use hyper::{body::Incoming, server, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        sync::oneshot,
        task::yield_now,
        time::{Instant, sleep, sleep_until, timeout},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection of HTTP/1, and its other end.
    async fn connection() -> (Connection<Empty<Bytes>>, DuplexStream) {
        let (stream, peer) = duplex(1024);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.ready().await.unwrap();
        (Connection::Http1(sender), peer)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_for_a_minute_is_closed() {
        let kept = Arc::new(Kept::new());
        tokio::spawn(Kept::age(Arc::downgrade(&kept)));
        let start = Instant::now();
        for (put_at, look_at, is_there) in [(1, 59, true), (62, 121, false), (122, 179, true)] {
            sleep_until(start + put_at * SECOND).await;
            let (connection, mut peer) = connection().await;
            kept.put(connection);
            sleep_until(start + (look_at * SECOND) + SECOND / 2).await;
            assert_eq!(kept.take().is_some(), is_there, "{put_at} to {look_at}");
            if !is_there {
                assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn what_the_upstream_has_closed_is_not_taken() {
        let kept = Kept::new();
        let (open, _peer) = connection().await;
        kept.put(open);
        let (closed, peer) = connection().await;
        drop(peer);
        while !closed.is_closed() {
            yield_now().await;
        }
        kept.put(closed);
        assert!(kept.take().is_some(), "the open one");
        assert!(kept.take().is_none());
    }

    /// A connection of HTTP/2, and what tells its other end to take no more
    /// requests. That end never answers requests for `/held`, and takes ten minutes
    /// for the bodies of the other answers.
    pub(crate) async fn http2_peer() -> (http2::SendRequest<Empty<Bytes>>, oneshot::Sender<()>) {
        let (stream, peer) = duplex(1024);
        let (stop, stopped) = oneshot::channel();
        let service = service_fn(|request: Request<Incoming>| async move {
            if request.uri().path() == "/held" {
                pending::<()>().await;
            }
            let body = once(Box::pin(async {
                sleep(600 * SECOND).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"late")))
            }));
            Ok::<_, Infallible>(Response::new(StreamBody::new(body)))
        });
        tokio::spawn(async move {
            let server = server::conn::http2::Builder::new(TokioExecutor::new());
            let mut serving = pin!(server.serve_connection(TokioIo::new(peer), service));
            tokio::select! {
                _ = serving.as_mut() => return,
                _ = stopped => serving.as_mut().graceful_shutdown(),
            }
            let _ = serving.await;
        });
        let stream = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        (sender, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn of_connections_of_http2_made_together_one_stays() {
        let kept = Kept::new();
        let (first, stop) = http2_peer().await;
        drop(kept.share(first));
        let (second, mut second_ended) = http2_peer().await;
        drop(kept.share(second));
        // Its end has nobody any more who could tell it to stop.
        timeout(SECOND, second_ended.closed()).await.unwrap();
        assert!(kept.take().is_some());
        assert!(kept.take().is_some(), "it is for all requests");

        stop.send(()).unwrap();
        while !kept.lock().iter().all(|idle| idle.connection.is_closed()) {
            yield_now().await;
        }
        let (third, _stop) = http2_peer().await;
        drop(kept.share(third));
        assert!(kept.take().is_some());
    }
}
