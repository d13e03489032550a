//! Connections whose clients have closed their side.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A client's stream that reports its end late while a request is in flight.
///
/// A client that has sent its request may close its side and still read the response. hyper would
/// cancel the request, as for a client that has disconnected. TCP shows the difference only after
/// the next write, which fails for the latter. So the end is reported once no request is in flight,
/// or nothing was written for [`GRACE_PERIOD`](Self::GRACE_PERIOD).
#[derive(Debug)]
pub(crate) struct HalfCloseStream<S> {
    stream: S,
    /// Its owner and each request in flight have a clone.
    in_flight: Weak<()>,
    /// Elapses when the end is to be reported; `None` before the end.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> HalfCloseStream<S> {
    const GRACE_PERIOD: Duration = Duration::from_secs(3);

    /// Wraps a stream. Each request in flight holds a clone of `in_flight`.
    pub(crate) fn new(stream: S, in_flight: &Arc<()>) -> Self {
        Self {
            stream,
            in_flight: Arc::downgrade(in_flight),
            end: None,
        }
    }

    fn written(&mut self) {
        if let Some(end) = &mut self.end {
            end.as_mut().reset(Instant::now() + Self::GRACE_PERIOD);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfCloseStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let end = match &mut this.end {
            Some(end) => end,
            None => {
                let remaining = buf.remaining();
                ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
                if buf.remaining() < remaining || remaining == 0 {
                    return Poll::Ready(Ok(()));
                }
                this.end.insert(Box::pin(sleep(Self::GRACE_PERIOD)))
            }
        };
        if this.in_flight.strong_count() > 1 {
            ready!(end.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HalfCloseStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.written();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.written();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::advance,
    };
    use tokio_test::task::spawn;

    use super::*;

    const GRACE_PERIOD: Duration = HalfCloseStream::<DuplexStream>::GRACE_PERIOD;

    /// Returns a stream whose client has sent `abc` and closed its side, with its requests.
    async fn half_closed() -> (HalfCloseStream<DuplexStream>, Arc<()>, DuplexStream) {
        let (stream, mut client) = duplex(64);
        client.write_all(b"abc").await.unwrap();
        client.shutdown().await.unwrap();
        let in_flight = Arc::new(());
        let mut stream = HalfCloseStream::new(stream, &in_flight);
        stream.read_exact(&mut [0; 3]).await.unwrap();
        (stream, in_flight, client)
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_reported_at_once_without_requests() {
        let (mut stream, _in_flight, _client) = half_closed().await;
        let start = Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_reported_when_the_last_request_ends() {
        let (mut stream, in_flight, _client) = half_closed().await;
        let request = Arc::clone(&in_flight);
        assert!(spawn(stream.read(&mut [0])).poll().is_pending());
        drop(request);
        assert!(spawn(stream.read(&mut [0])).poll().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_reported_when_nothing_was_written_for_the_grace_period() {
        let (mut stream, in_flight, _client) = half_closed().await;
        let _request = Arc::clone(&in_flight);
        assert!(spawn(stream.read(&mut [0])).poll().is_pending());
        advance(GRACE_PERIOD / 2).await;
        stream.write_all(b"event").await.unwrap();
        let written = Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(written.elapsed(), GRACE_PERIOD);
    }
}
