//! Buffers the prefix of a body until its model is known.

use std::{
    borrow::Cow,
    mem,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use model_scan::Edit;
use smallvec::SmallVec;

/// The limits on buffered bytes, for one request and for all, and on the time they are buffered.
#[derive(Debug)]
pub(crate) struct BufferBudget {
    per_request: usize,
    total: usize,
    timeout: Option<Duration>,
    reserved: AtomicUsize,
}

impl BufferBudget {
    pub(crate) fn new(per_request: usize, total: usize, timeout: Option<Duration>) -> Self {
        Self {
            per_request,
            total,
            timeout,
            reserved: AtomicUsize::new(0),
        }
    }

    /// Returns how many bytes all requests together have reserved.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        // Relaxed: the counter guards no other memory.
        self.reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                let reserved = reserved.checked_add(bytes)?;
                (reserved <= self.total).then_some(reserved)
            })
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The part of the budget that one request has reserved; released when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<BufferBudget>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(budget: Arc<BufferBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Reserves this many bytes in all, if it has not reserved more. Returns `false`, and reserves
    /// nothing, if that exceeds the budget of all requests.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let is_reserved = self.budget.try_reserve(more);
        if is_reserved {
            self.bytes += more;
        }
        is_reserved
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

/// The limit that buffering more would exceed.
#[derive(Debug, PartialEq)]
pub(super) enum OverBudget {
    Request,
    Total,
}

/// The buffered prefix of a body, frame by frame.
#[derive(Debug)]
pub(super) struct PrefixBuffer {
    /// Has room inline for the common three: the ID, and what comes before and after it.
    frames: SmallVec<[Bytes; 3]>,
    /// The index of the frame that [`pop`](Self::pop) returns next.
    next_frame: usize,
    len: u64,
    /// How many frames [`coalesce`](Self::coalesce) has seen.
    coalesced: usize,
    /// How many of them were small.
    small_frames: usize,
    /// Whether the last frame is a block that this buffer allocated.
    tail_is_owned: bool,
    reservation: Reservation,
}

impl PrefixBuffer {
    pub(super) fn new(budget: Arc<BufferBudget>) -> Self {
        Self {
            frames: SmallVec::new(),
            next_frame: 0,
            len: 0,
            coalesced: 0,
            small_frames: 0,
            tail_is_owned: false,
            reservation: Reservation::new(budget),
        }
    }

    /// Returns the limit of one request in bytes.
    pub(super) fn limit(&self) -> usize {
        self.reservation.budget.per_request
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.reservation.budget.timeout
    }

    /// Returns the number of bytes not popped yet.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next_frame == self.frames.len()
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.len += frame.len() as u64;
            self.frames.push(frame);
        }
    }

    /// Reserves budget for all bytes in the buffer, because it is about to wait for more.
    pub(super) fn reserve(&mut self) -> Result<(), OverBudget> {
        let budget = &self.reservation.budget;
        let len = usize::try_from(self.len).map_err(|_| OverBudget::Request)?;
        if len > budget.per_request {
            return Err(OverBudget::Request);
        }
        self.reserve_shared()
    }

    /// Reserves budget like [`reserve`](Self::reserve), but ignores the limit of one request.
    pub(super) fn reserve_shared(&mut self) -> Result<(), OverBudget> {
        let len = usize::try_from(self.len).map_err(|_| OverBudget::Total)?;
        if !self.reservation.grow_to(len) {
            return Err(OverBudget::Total);
        }
        self.coalesce();
        Ok(())
    }

    /// Copies the last frame into a block of its own if it is one of many small ones.
    ///
    /// A frame keeps the server's whole read buffer alive (8 KiB or more in hyper). A client that
    /// sends packets of 1,400 bytes would keep four times as much memory as it has reserved. Blocks
    /// double while they grow, so each byte is copied only a few times.
    fn coalesce(&mut self) {
        const MANY: usize = 4;
        const SMALL: usize = 8 * 1024;
        const BLOCK: usize = 16 * 1024;

        if self.frames.len() == self.coalesced {
            return;
        }
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let is_small = frame.len() < SMALL;
        self.small_frames += usize::from(is_small);
        let must_copy = is_small && self.small_frames > MANY;
        let tail_is_owned = mem::replace(&mut self.tail_is_owned, must_copy);
        let tail = self.frames.last_mut();
        match tail.filter(|tail| tail_is_owned && tail.len() + frame.len() <= BLOCK) {
            _ if !must_copy => self.frames.push(frame),
            Some(tail) => {
                // The only handle to the block, so this conversion copies nothing.
                let mut block = BytesMut::from(mem::take(tail));
                block.extend_from_slice(&frame);
                *tail = block.freeze();
            }
            None => self.frames.push(Bytes::copy_from_slice(&frame)),
        }
        self.coalesced = self.frames.len();
    }

    /// Removes the first frame and releases its part of the reservation.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let Some(frame) = self.frames.get_mut(self.next_frame) else {
            // Frees the handles of a long prefix before the remainder streams.
            self.frames = SmallVec::new();
            self.next_frame = 0;
            return None;
        };
        let frame = mem::take(frame);
        self.next_frame += 1;
        self.len -= frame.len() as u64;
        // A splice may have made the prefix longer or shorter than the reservation.
        let bytes = match self.is_empty() {
            true => self.reservation.bytes,
            false => self.reservation.bytes.min(frame.len()),
        };
        if bytes > 0 {
            self.reservation.bytes -= bytes;
            self.reservation.budget.release(bytes);
        }
        Some(frame)
    }

    /// Returns the bytes at these offsets, borrowed if they lie in one frame.
    pub(super) fn get(&self, span: Range<u64>) -> Cow<'_, [u8]> {
        let frames = &self.frames[self.next_frame..];
        let mut start = 0;
        for frame in frames {
            let end = start + frame.len() as u64;
            if span.start >= start && span.end <= end {
                let piece = (span.start - start) as usize..(span.end - start) as usize;
                return Cow::Borrowed(&frame[piece]);
            }
            start = end;
        }
        pieces(frames, span).flatten().copied().collect()
    }

    /// Replaces the bytes at the edit's offsets, without a copy.
    pub(super) fn splice(&mut self, Edit { span, bytes: with }: Edit) {
        let at = self.split_at(span.start);
        let mut removed = (span.end - span.start) as usize;
        self.len = self.len - removed as u64 + with.len() as u64;
        while removed > 0
            && let Some(frame) = self.frames.get_mut(at)
        {
            let part = removed.min(frame.len());
            frame.advance(part);
            removed -= part;
            if frame.is_empty() {
                self.frames.remove(at);
            }
        }
        if !with.is_empty() {
            self.frames.insert(at, with);
        }
    }

    /// Splits the frame at this offset, and returns the index of the frame that starts there.
    fn split_at(&mut self, offset: u64) -> usize {
        let mut start = 0;
        for index in self.next_frame..self.frames.len() {
            if start >= offset {
                return index;
            }
            let frame = &mut self.frames[index];
            let end = start + frame.len() as u64;
            if offset < end {
                let second = frame.split_off((offset - start) as usize);
                self.frames.insert(index + 1, second);
                return index + 1;
            }
            start = end;
        }
        self.frames.len()
    }
}

/// Returns the parts of the frames at these offsets.
fn pieces(frames: &[Bytes], span: Range<u64>) -> impl Iterator<Item = &[u8]> {
    let mut start = 0_u64;
    frames.iter().map(move |frame| {
        let within = |offset: u64| {
            usize::try_from(offset.saturating_sub(start))
                .map_or(frame.len(), |at| at.min(frame.len()))
        };
        let piece = within(span.start)..within(span.end);
        start += frame.len() as u64;
        &frame[piece]
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(per_request: usize, total: usize) -> Arc<BufferBudget> {
        Arc::new(BufferBudget::new(per_request, total, None))
    }

    fn buffer(frames: &[Vec<u8>], budget: &Arc<BufferBudget>) -> PrefixBuffer {
        let mut buffer = PrefixBuffer::new(Arc::clone(budget));
        for frame in frames {
            buffer.push(Bytes::from(frame.clone()));
        }
        buffer
    }

    fn drain(buffer: &mut PrefixBuffer) -> Vec<u8> {
        std::iter::from_fn(|| buffer.pop()).flatten().collect()
    }

    proptest! {
        #[test]
        fn splices_across_frames(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..8),
            cut in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            with in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut body = frames.concat();
            let (a, b) = (cut.0.index(body.len() + 1), cut.1.index(body.len() + 1));
            let span = a.min(b)..a.max(b);
            let mut buffer = buffer(&frames, &budget(100, 100));
            let offsets = span.start as u64..span.end as u64;
            prop_assert_eq!(&*buffer.get(offsets.clone()), &body[span.clone()]);
            buffer.splice(Edit { span: offsets, bytes: with.clone().into() });
            body.splice(span, with);
            prop_assert!(buffer.frames.iter().all(|frame| !frame.is_empty()));
            prop_assert_eq!(buffer.len(), body.len() as u64);
            prop_assert_eq!(drain(&mut buffer), body);
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(buffer.len(), 0);
        }
    }

    #[test]
    fn get_borrows_from_one_frame() {
        let buffer = buffer(&[b"ab".to_vec(), b"cdef".to_vec()], &budget(9, 9));
        assert!(matches!(buffer.get(3..5), Cow::Borrowed(b"de")));
    }

    /// One byte, in a read buffer of which the test counts the handles.
    struct ReadBuffer {
        byte: u8,
        _handle: Arc<()>,
    }

    impl AsRef<[u8]> for ReadBuffer {
        fn as_ref(&self) -> &[u8] {
            std::slice::from_ref(&self.byte)
        }
    }

    #[test]
    fn memory_matches_the_reservation() {
        let budget = budget(1 << 20, 1 << 20);
        let mut buffer = PrefixBuffer::new(Arc::clone(&budget));
        let (mut body, handles) = (Vec::new(), Arc::new(()));
        for index in 0..50_000_usize {
            let frame = if index % 10_000 == 9_999 {
                Bytes::from(vec![index as u8; 100_000])
            } else {
                Bytes::from_owner(ReadBuffer {
                    byte: index as u8,
                    _handle: Arc::clone(&handles),
                })
            };
            body.extend_from_slice(&frame);
            for frame in [frame, Bytes::new()] {
                buffer.push(frame);
                buffer.reserve().unwrap();
            }
            assert!(Arc::strong_count(&handles) <= 5, "read buffers stay alive");
        }
        // The first four small ones, five large ones, and a block before each of those.
        assert_eq!(buffer.frames.len(), 14);
        assert_eq!(buffer.len(), body.len() as u64);
        assert_eq!(drain(&mut buffer), body);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn keeps_large_frames_and_the_first_small_ones() {
        let frames = ["a", "b", &"l".repeat(8 * 1024), "c", "d", "e", "f"]
            .map(|frame| Bytes::copy_from_slice(frame.as_bytes()));
        let mut buffer = PrefixBuffer::new(budget(1 << 20, 1 << 20));
        for frame in &frames {
            buffer.push(frame.clone());
            buffer.reserve().unwrap();
        }
        for frame in &frames[..5] {
            assert_eq!(buffer.pop().unwrap().as_ptr(), frame.as_ptr());
        }
        assert_eq!(buffer.pop().unwrap(), "ef");
        assert!(buffer.is_empty());
    }

    #[test]
    fn fills_blocks_of_16_kib() {
        const FULL: usize = 16 * 1024;

        let mut buffer = PrefixBuffer::new(budget(1 << 20, 1 << 20));
        let small = [1_000; 4].into_iter().chain([FULL / 2 - 1; 4]);
        for len in small.chain([2, 1]) {
            buffer.push(Bytes::from(vec![0; len]));
            buffer.reserve().unwrap();
        }
        let lens: Vec<_> = buffer.frames.iter().map(Bytes::len).collect();
        assert_eq!(lens, [1_000, 1_000, 1_000, 1_000, FULL - 2, FULL, 1]);
    }

    #[test]
    fn limits_one_request_and_all() {
        let budget = budget(6, 10);
        let mut first = buffer(&[vec![0; 4], vec![0; 2]], &budget);
        for _ in 0..2 {
            assert_eq!(first.reserve(), Ok(()));
            assert_eq!(budget.reserved(), 6, "the same bytes are reserved once");
        }
        let mut second = buffer(&[vec![0; 5]], &budget);
        assert_eq!(second.reserve(), Err(OverBudget::Total));
        assert_eq!(budget.reserved(), 6, "a failure reserves nothing");
        let mut large = buffer(&[vec![0; 7]], &budget);
        assert_eq!(large.reserve(), Err(OverBudget::Request));

        first.pop();
        assert_eq!(budget.reserved(), 2);
        assert_eq!(second.reserve(), Ok(()));
        assert_eq!(budget.reserved(), 7);
        drop(first);
        drop(second);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn splice_keeps_the_reservation_balanced() {
        for (span, with, reserved) in [
            (1..2, vec![1; 100], vec![99, 0, 0, 0]),
            (10..90, vec![1], vec![90, 89, 0]),
        ] {
            let budget = budget(100, 100);
            let mut buffer = buffer(&[vec![0; 60], vec![0; 40]], &budget);
            buffer.reserve().unwrap();
            let with = with.into();
            buffer.splice(Edit { span, bytes: with });
            for reserved in reserved {
                assert!(buffer.pop().is_some());
                assert_eq!(budget.reserved(), reserved);
            }
            assert!(buffer.is_empty());
        }
    }
}
