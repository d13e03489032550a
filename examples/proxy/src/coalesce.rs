//! Coalesces small writes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf},
    time::Instant,
};

/// A stream that coalesces small writes.
///
/// hyper's client reads all available bytes at once, but passes on one chunk of a
/// response at a time, each time its task is polled. hyper's server writes that chunk
/// and flushes it. So every event of a burst would be a system call of its own, which
/// takes most of the CPU time. Here, a flush first yields to the other tasks, and again
/// after each further write. It waits for no timer and no socket: the bytes are written
/// once a yield brings no more of them, after a millisecond, or at the end of a chunked
/// response.
#[derive(Debug)]
pub(crate) struct CoalescingWriter<S: AsyncWrite + Unpin> {
    stream: BufWriter<S>,
    /// Whether there was a write since the last yield.
    dirty: bool,
    /// When the pending flush first yielded, and how many times.
    yields: Option<(Instant, u8)>,
}

impl<S: AsyncWrite + Unpin> CoalescingWriter<S> {
    /// Larger writes are not buffered: next to so many bytes a system call is cheap.
    const CAPACITY: usize = 16 * 1024;
    /// The end of a chunked body (RFC 9112, 7.1).
    const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
    /// Yields are short, unless very many tasks are ready.
    const MAX_TIME: Duration = Duration::from_millis(1);

    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream: BufWriter::with_capacity(Self::CAPACITY, stream),
            dirty: false,
            yields: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CoalescingWriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CoalescingWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.dirty = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.dirty = true;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let buffer = self.stream.buffer();
        let coalesces = self.dirty && !buffer.is_empty() && !buffer.ends_with(Self::LAST_CHUNK);
        self.dirty = false;
        if coalesces {
            let (start, yields) = self.yields.get_or_insert_with(|| (Instant::now(), 0));
            *yields = yields.wrapping_add(1);
            // Reading the clock each time would cost as much as the rest.
            let is_over = *yields % 8 == 0 && start.elapsed() >= Self::MAX_TIME;
            if !is_over {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.yields = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Writes what is buffered, such as the head, as far as the stream takes it: if a response body
/// fails, hyper drops the connection without a flush.
impl<S: AsyncWrite + Unpin> Drop for CoalescingWriter<S> {
    fn drop(&mut self) {
        let _ = Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(Waker::noop()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::advance,
    };
    use tokio_test::task::spawn;

    use super::*;

    /// Returns what has been written.
    fn received(peer: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        // Pending if nothing has.
        let _ = Pin::new(peer).poll_read(&mut cx, &mut buf);
        buf.filled().to_vec()
    }

    fn pair() -> (CoalescingWriter<DuplexStream>, DuplexStream) {
        let (stream, peer) = duplex(1 << 20);
        (CoalescingWriter::new(stream), peer)
    }

    #[test]
    fn a_flush_yields_once_after_a_write() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(stream.write(b"single")).poll().is_ready());
        let mut flush = spawn(stream.flush());
        assert!(flush.poll().is_pending());
        assert!(flush.is_woken(), "a flush wakes itself");
        assert!(flush.poll().is_ready());
        assert_eq!(received(&mut peer), b"single");
    }

    #[test]
    fn writes_during_yields_are_coalesced() {
        let (mut stream, mut peer) = pair();
        for event in ["1", "2", "3"] {
            assert!(spawn(stream.write(event.as_bytes())).poll().is_ready());
            assert!(spawn(stream.flush()).poll().is_pending());
            assert_eq!(received(&mut peer), b"");
        }
        assert!(spawn(stream.flush()).poll().is_ready());
        assert_eq!(received(&mut peer), b"123");
    }

    #[test]
    fn the_end_of_a_chunked_body_is_flushed_at_once() {
        let (mut stream, mut peer) = pair();
        for part in ["6\r\nfirst \r\n", "5\r\nlast.\r\n0\r\n\r\n"] {
            assert!(spawn(stream.write(part.as_bytes())).poll().is_ready());
        }
        assert!(spawn(stream.flush()).poll().is_ready());
        assert!(received(&mut peer).ends_with(b"last.\r\n0\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn yields_are_bounded_by_time() {
        let (mut stream, mut peer) = pair();
        let mut yields = 0;
        loop {
            assert!(spawn(stream.write(b"x")).poll().is_ready());
            if spawn(stream.flush()).poll().is_ready() {
                break;
            }
            yields += 1;
            advance(Duration::from_micros(100)).await;
        }
        assert_eq!(yields, 15);
        assert_eq!(received(&mut peer).len(), yields + 1);
    }

    #[test]
    fn a_flush_without_a_write_does_not_yield() {
        let (mut stream, _peer) = pair();
        assert!(spawn(stream.flush()).poll().is_ready());
    }

    #[test]
    fn drop_writes_what_was_buffered() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(stream.write(b"head")).poll().is_ready());
        assert!(spawn(stream.flush()).poll().is_pending());
        drop(stream);
        assert_eq!(received(&mut peer), b"head");
    }

    #[test]
    fn shutdown_flushes() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(stream.write(b"last")).poll().is_ready());
        assert!(spawn(stream.shutdown()).poll().is_ready());
        assert_eq!(received(&mut peer), b"last");
    }

    #[test]
    fn reads_pass_through() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(peer.write(b"in")).poll().is_ready());
        let mut bytes = [0; 2];
        assert!(spawn(stream.read_exact(&mut bytes)).poll().is_ready());
        assert_eq!(&bytes, b"in");
    }

    proptest! {
        /// Any sequence of writes and flushes keeps the bytes, and a completed flush
        /// leaves none in the buffer.
        #[test]
        fn bytes_are_kept_in_order(
            operations in prop::collection::vec((0_usize..40_000, any::<bool>()), 1..12),
        ) {
            let (mut stream, mut peer) = pair();
            let (mut sent, mut received_bytes) = (Vec::new(), Vec::new());
            for (round, (len, flushes)) in operations.into_iter().enumerate() {
                let bytes = vec![round as u8; len];
                prop_assert!(spawn(stream.write_all(&bytes)).poll().is_ready());
                sent.extend_from_slice(&bytes);
                if flushes {
                    let mut flush = spawn(stream.flush());
                    while flush.poll().is_pending() {
                        prop_assert!(flush.is_woken());
                    }
                    drop(flush);
                    received_bytes.append(&mut received(&mut peer));
                    prop_assert_eq!(&received_bytes, &sent);
                }
            }
            prop_assert!(spawn(stream.shutdown()).poll().is_ready());
            received_bytes.append(&mut received(&mut peer));
            prop_assert_eq!(received_bytes, sent);
        }
    }
}
