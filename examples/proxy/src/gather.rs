//! Writes that have come together leave together.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf},
    time::Instant,
};

/// A stream that gathers small writes.
///
/// hyper's client reads what has come in one go, but hands over one chunk of an
/// answer at a time: the next one follows once its task has had another turn. So
/// hyper's server has one chunk, writes it, and sleeps until the next: each
/// event of a burst is a write of its own, which is what most of the CPU's time
/// went to. Here a flush gives the other tasks a turn first, and another one for
/// each write that comes of it. It waits for no timer and no socket: once a turn
/// brings nothing more, or a millisecond has passed, all that is there leaves. So
/// does the end of an answer with what came before it.
#[derive(Debug)]
pub(crate) struct Gathered<S> {
    stream: BufWriter<S>,
    /// Whether something has been written since others had a turn.
    is_fresh: bool,
    /// When they had the first turn since the last flush, and how many since.
    since: Option<(Instant, u8)>,
}

impl<S: AsyncWrite> Gathered<S> {
    /// More leaves at once; a write is cheap next to so much.
    const CAPACITY: usize = 16 * 1024;
    /// How an answer in chunks ends (RFC 9112, 7.1): nothing more is to come.
    const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
    /// A turn is short, but not where a great many tasks have something to do.
    const MAX_TIME: Duration = Duration::from_millis(1);

    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream: BufWriter::with_capacity(Self::CAPACITY, stream),
            is_fresh: false,
            since: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_fresh = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_fresh = true;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let buffer = self.stream.buffer();
        let gathers = self.is_fresh && !buffer.is_empty() && !buffer.ends_with(Self::LAST_CHUNK);
        self.is_fresh = false;
        if gathers {
            let (since, turns) = self.since.get_or_insert_with(|| (Instant::now(), 0));
            *turns = turns.wrapping_add(1);
            // To look at the clock each time would cost as much as the rest.
            let is_over = *turns % 8 == 0 && since.elapsed() >= Self::MAX_TIME;
            if !is_over {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.since = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::advance,
    };
    use tokio_test::task::spawn;

    use super::*;

    /// What has come out at the other end.
    fn received(peer: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        // Pending: nothing.
        let _ = Pin::new(peer).poll_read(&mut cx, &mut buf);
        buf.filled().to_vec()
    }

    fn pair() -> (Gathered<DuplexStream>, DuplexStream) {
        let (stream, peer) = duplex(1 << 20);
        (Gathered::new(stream), peer)
    }

    #[test]
    fn what_comes_alone_leaves_once_others_had_one_turn() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(stream.write(b"alone")).poll().is_ready());
        let mut flush = spawn(stream.flush());
        assert!(flush.poll().is_pending());
        assert!(flush.is_woken(), "it is polled again, whatever happens");
        assert!(flush.poll().is_ready());
        assert_eq!(received(&mut peer), b"alone");
    }

    #[test]
    fn what_comes_in_the_turns_given_leaves_at_once() {
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
    fn the_end_of_an_answer_gives_no_turn() {
        let (mut stream, mut peer) = pair();
        for part in ["7\r\nwhat it ", "\r\n5\r\nsays.\r\n0\r\n\r\n"] {
            assert!(spawn(stream.write(part.as_bytes())).poll().is_ready());
        }
        assert!(spawn(stream.flush()).poll().is_ready());
        assert!(received(&mut peer).ends_with(b"says.\r\n0\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_for_an_endless_row_of_others() {
        let (mut stream, mut peer) = pair();
        let mut turns = 0;
        loop {
            assert!(spawn(stream.write(b"x")).poll().is_ready());
            if spawn(stream.flush()).poll().is_ready() {
                break;
            }
            turns += 1;
            advance(Duration::from_micros(100)).await;
        }
        assert_eq!(turns, 15);
        assert_eq!(received(&mut peer).len(), turns + 1);
    }

    #[test]
    fn a_flush_without_a_write_gives_no_turn() {
        let (mut stream, _peer) = pair();
        assert!(spawn(stream.flush()).poll().is_ready());
    }

    #[test]
    fn an_end_takes_along_what_is_left() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(stream.write(b"last")).poll().is_ready());
        assert!(spawn(stream.shutdown()).poll().is_ready());
        assert_eq!(received(&mut peer), b"last");
    }

    #[test]
    fn reading_is_not_concerned() {
        let (mut stream, mut peer) = pair();
        assert!(spawn(peer.write(b"in")).poll().is_ready());
        let mut bytes = [0; 2];
        assert!(spawn(stream.read_exact(&mut bytes)).poll().is_ready());
        assert_eq!(&bytes, b"in");
    }

    proptest! {
        /// However writes, their sizes and flushes come, the bytes do not change,
        /// and a completed flush leaves none behind.
        #[test]
        fn all_bytes_leave_in_order(
            acts in prop::collection::vec((0_usize..40_000, any::<bool>()), 1..12),
        ) {
            let (mut stream, mut peer) = pair();
            let (mut sent, mut came) = (Vec::new(), Vec::new());
            for (round, (len, flushes)) in acts.into_iter().enumerate() {
                let bytes = vec![round as u8; len];
                prop_assert!(spawn(stream.write_all(&bytes)).poll().is_ready());
                sent.extend_from_slice(&bytes);
                if flushes {
                    let mut flush = spawn(stream.flush());
                    while flush.poll().is_pending() {
                        prop_assert!(flush.is_woken());
                    }
                    drop(flush);
                    came.append(&mut received(&mut peer));
                    prop_assert_eq!(&came, &sent);
                }
            }
            prop_assert!(spawn(stream.shutdown()).poll().is_ready());
            came.append(&mut received(&mut peer));
            prop_assert_eq!(came, sent);
        }
    }
}
