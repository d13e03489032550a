//! Frames that wait for the model.

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
use smallvec::SmallVec;

use crate::scan::Splice;

/// How many bytes may be held, by one request and by all together, and for how
/// long.
#[derive(Debug)]
pub(crate) struct BufferBudget {
    pub(crate) per_request: usize,
    pub(crate) total: usize,
    pub(crate) timeout: Option<Duration>,
    held: AtomicUsize,
}

impl BufferBudget {
    pub(crate) fn new(per_request: usize, total: usize, timeout: Option<Duration>) -> Self {
        Self {
            per_request,
            total,
            timeout,
            held: AtomicUsize::new(0),
        }
    }

    /// How many bytes all requests together hold now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        // Relaxed: the counter guards no other memory.
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|&held| held <= self.total)
            })
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The reservation of the budget that one request has; given back when dropped.
#[derive(Debug)]
struct Reservation {
    budget: Arc<BufferBudget>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

/// Which bound holding more would cross.
#[derive(Debug, PartialEq)]
pub(crate) enum OverBudget {
    Request,
    Total,
}

/// The front of a body, in the order in which it came.
#[derive(Debug)]
pub(crate) struct PrefixBuffer {
    /// The usual three, the model between what comes before and after it, have
    /// room in here.
    frames: SmallVec<[Bytes; 3]>,
    /// How many of them have next_frame.
    next_frame: usize,
    len: u64,
    /// How many frames at the front are kept as they are.
    coalesced: usize,
    /// How many small_frames ones there have been.
    small_frames: usize,
    /// Whether the last frame is a block of our own.
    tail_is_owned: bool,
    reservation: Reservation,
}

impl PrefixBuffer {
    pub(crate) fn new(budget: Arc<BufferBudget>) -> Self {
        Self {
            frames: SmallVec::new(),
            next_frame: 0,
            len: 0,
            coalesced: 0,
            small_frames: 0,
            tail_is_owned: false,
            reservation: Reservation { budget, bytes: 0 },
        }
    }

    /// How many bytes one request may hold.
    pub(crate) fn bound(&self) -> usize {
        self.reservation.budget.per_request
    }

    /// How long they may be held.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.reservation.budget.timeout
    }

    /// How many bytes are next_frame in it.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next_frame == self.frames.len()
    }

    pub(crate) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.len += frame.len() as u64;
            self.frames.push(frame);
        }
    }

    /// Pays for everything that is in it, because it is to be held on to.
    pub(crate) fn reserve(&mut self) -> Result<(), OverBudget> {
        let budget = &self.reservation.budget;
        let len = usize::try_from(self.len).map_err(|_| OverBudget::Request)?;
        if len > budget.per_request {
            return Err(OverBudget::Request);
        }
        self.reserve_shared()
    }

    /// Pays as [`reserve`](Self::reserve) does, but knows no bound for one request.
    pub(crate) fn reserve_shared(&mut self) -> Result<(), OverBudget> {
        let len = usize::try_from(self.len).map_err(|_| OverBudget::Total)?;
        if !self
            .reservation
            .budget
            .try_reserve(len.saturating_sub(self.reservation.bytes))
        {
            return Err(OverBudget::Total);
        }
        self.reservation.bytes = len;
        self.coalesce();
        Ok(())
    }

    /// Copies the latest frame into a block of our own if it is one of many small_frames
    /// ones. A frame keeps the whole buffer alive into which the server has read
    /// it (of 8 KiB or more in hyper): a client that sends a packet of 1,400 bytes
    /// at a time would have four times as much held as it pays for. Each byte is
    /// copied a few times at most, as blocks double while they grow.
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
        let is_one_of_many = is_small && self.small_frames > MANY;
        let tail_is_owned = mem::replace(&mut self.tail_is_owned, is_one_of_many);
        let last = self.frames.last_mut();
        match last.filter(|last| tail_is_owned && last.len() + frame.len() <= BLOCK) {
            _ if !is_one_of_many => self.frames.push(frame),
            Some(last) => {
                // Nobody else has it, so that this copies nothing.
                let mut block = BytesMut::from(mem::take(last));
                block.extend_from_slice(&frame);
                *last = block.freeze();
            }
            None => self.frames.push(Bytes::copy_from_slice(&frame)),
        }
        self.coalesced = self.frames.len();
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let Some(frame) = self.frames.get_mut(self.next_frame) else {
            // The handles of a large front need not live as long as its rest.
            self.frames = SmallVec::new();
            self.next_frame = 0;
            return None;
        };
        let frame = mem::take(frame);
        self.next_frame += 1;
        self.len -= frame.len() as u64;
        // A splice may have made the front shorter than what was paid for.
        let paid = match self.is_empty() {
            true => self.reservation.bytes,
            false => self.reservation.bytes.min(frame.len()),
        };
        if paid > 0 {
            self.reservation.bytes -= paid;
            self.reservation.budget.release(paid);
        }
        Some(frame)
    }

    /// The bytes at these offsets; borrowed when they lie in one frame.
    pub(crate) fn get(&self, span: Range<u64>) -> Cow<'_, [u8]> {
        let mut start = 0;
        for frame in &self.frames[self.next_frame..] {
            let end = start + frame.len() as u64;
            if span.start >= start && span.end <= end {
                let piece = (span.start - start) as usize..(span.end - start) as usize;
                return Cow::Borrowed(&frame[piece]);
            }
            start = end;
        }
        pieces(&self.frames[self.next_frame..], span)
            .flat_map(|(frame, piece)| &frame[piece])
            .copied()
            .collect()
    }

    /// Replaces the bytes at the splice's offsets. Copies none.
    pub(crate) fn splice(&mut self, Splice { span, with }: Splice) {
        let at = self.cut(span.start);
        let mut old = (span.end - span.start) as usize;
        self.len = self.len - old as u64 + with.len() as u64;
        while old > 0
            && let Some(frame) = self.frames.get_mut(at)
        {
            let part = old.min(frame.len());
            frame.advance(part);
            old -= part;
            if frame.is_empty() {
                self.frames.remove(at);
            }
        }
        if !with.is_empty() {
            self.frames.insert(at, with);
        }
    }

    /// Makes a frame begin at this offset, and returns its index.
    fn cut(&mut self, offset: u64) -> usize {
        let mut start = 0;
        for index in self.next_frame..self.frames.len() {
            if start >= offset {
                return index;
            }
            let frame = &mut self.frames[index];
            let end = start + frame.len() as u64;
            if offset < end {
                let rest = frame.split_off((offset - start) as usize);
                self.frames.insert(index + 1, rest);
                return index + 1;
            }
            start = end;
        }
        self.frames.len()
    }
}

/// The parts of the frames that make up these offsets; none is empty.
fn pieces(frames: &[Bytes], span: Range<u64>) -> impl Iterator<Item = (&Bytes, Range<usize>)> {
    let mut start = 0_u64;
    frames.iter().filter_map(move |frame| {
        let within = |offset: u64| {
            usize::try_from(offset.saturating_sub(start))
                .map_or(frame.len(), |at| at.min(frame.len()))
        };
        let piece = within(span.start)..within(span.end);
        start += frame.len() as u64;
        (!piece.is_empty()).then_some((frame, piece))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(frames: &[Vec<u8>], budget: &Arc<BufferBudget>) -> PrefixBuffer {
        let mut held = PrefixBuffer::new(Arc::clone(budget));
        for frame in frames {
            held.push(Bytes::from(frame.clone()));
        }
        held
    }

    fn drain(held: &mut PrefixBuffer) -> Vec<u8> {
        std::iter::from_fn(|| held.pop()).flatten().collect()
    }

    proptest! {
        #[test]
        fn a_splice_over_frames_is_a_splice_over_the_whole(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..8),
            cut in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            with in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut whole = frames.concat();
            let (a, b) = (cut.0.index(whole.len() + 1), cut.1.index(whole.len() + 1));
            let span = a.min(b)..a.max(b);
            let mut held = held(&frames, &Arc::new(BufferBudget::new(100, 100, None)));
            let offsets = span.start as u64..span.end as u64;
            prop_assert_eq!(&*held.get(offsets.clone()), &whole[span.clone()]);
            held.splice(Splice { span: offsets, with: with.clone().into() });
            whole.splice(span, with);
            prop_assert!(held.frames.iter().all(|frame| !frame.is_empty()));
            prop_assert_eq!(held.len(), whole.len() as u64);
            prop_assert_eq!(drain(&mut held), whole);
            prop_assert!(held.is_empty());
            prop_assert_eq!(held.len(), 0);
        }
    }

    #[test]
    fn what_is_read_from_one_frame_is_not_copied() {
        let held = held(
            &[b"ab".to_vec(), b"cdef".to_vec()],
            &Arc::new(BufferBudget::new(9, 9, None)),
        );
        assert!(matches!(held.get(3..5), Cow::Borrowed(b"de")));
    }

    /// A byte that a server has read into a buffer of 8 KiB.
    struct Buffer {
        byte: u8,
        _alive: Arc<()>,
    }

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            std::slice::from_ref(&self.byte)
        }
    }

    #[test]
    fn what_is_paid_for_is_about_what_is_held() {
        let budget = Arc::new(BufferBudget::new(1 << 20, 1 << 20, None));
        let mut held = PrefixBuffer::new(Arc::clone(&budget));
        let (mut whole, alive) = (Vec::new(), Arc::new(()));
        for index in 0..50_000_usize {
            let frame = if index % 10_000 == 9_999 {
                Bytes::from(vec![index as u8; 100_000])
            } else {
                Bytes::from_owner(Buffer {
                    byte: index as u8,
                    _alive: Arc::clone(&alive),
                })
            };
            whole.extend_from_slice(&frame);
            held.push(frame);
            held.reserve().unwrap();
            held.push(Bytes::new());
            held.reserve().unwrap();
            assert!(Arc::strong_count(&alive) <= 5, "buffers are kept");
        }
        // The first small_frames ones, five large ones, and a block before each of those.
        assert_eq!(held.frames.len(), 14);
        assert_eq!(held.len(), whole.len() as u64);
        assert_eq!(drain(&mut held), whole);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn large_frames_and_the_first_small_ones_are_kept_as_they_are() {
        let frames = ["a", "b", &"l".repeat(8 * 1024), "c", "d", "e", "f"]
            .map(|frame| Bytes::copy_from_slice(frame.as_bytes()));
        let mut held = PrefixBuffer::new(Arc::new(BufferBudget::new(1 << 20, 1 << 20, None)));
        for frame in &frames {
            held.push(frame.clone());
            held.reserve().unwrap();
        }
        for frame in &frames[..5] {
            assert_eq!(held.pop().unwrap().as_ptr(), frame.as_ptr());
        }
        assert_eq!(held.pop().unwrap(), "ef");
        assert!(held.is_empty());
    }

    #[test]
    fn small_frames_are_gathered_into_blocks_of_16_kib() {
        let mut held = PrefixBuffer::new(Arc::new(BufferBudget::new(1 << 20, 1 << 20, None)));
        for len in [1_000; 4]
            .into_iter()
            .chain([8 * 1024 - 1; 4])
            .chain([2, 1])
        {
            held.push(Bytes::from(vec![0; len]));
            held.reserve().unwrap();
        }
        let lens: Vec<_> = held.frames.iter().map(Bytes::len).collect();
        // A block is filled to the last byte if a frame fits.
        let full = 16 * 1024;
        assert_eq!(lens, [1_000, 1_000, 1_000, 1_000, full - 2, full, 1]);
    }

    #[test]
    fn each_request_and_all_together_are_bounded_and_what_leaves_is_given_back() {
        let budget = Arc::new(BufferBudget::new(6, 10, None));
        let mut first = held(&[vec![0; 4], vec![0; 2]], &budget);
        assert_eq!(first.reserve(), Ok(()));
        assert_eq!(
            first.reserve(),
            Ok(()),
            "what is paid for is not paid for again"
        );
        assert_eq!(budget.held(), 6);
        let mut second = held(&[vec![0; 5]], &budget);
        assert_eq!(second.reserve(), Err(OverBudget::Total));
        assert_eq!(budget.held(), 6, "nothing is taken by a refusal");
        assert_eq!(
            held(&[vec![0; 7]], &budget).reserve(),
            Err(OverBudget::Request)
        );

        first.pop();
        assert_eq!(budget.held(), 2);
        assert_eq!(second.reserve(), Ok(()));
        assert_eq!(budget.held(), 7);
        drop(first);
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_spliced_front_gives_back_no_more_than_it_paid() {
        let budget = Arc::new(BufferBudget::new(10, 10, None));
        let mut held = held(&[vec![0; 4]], &budget);
        held.reserve().unwrap();
        held.splice(Splice {
            span: 1..2,
            with: vec![1; 100].into(),
        });
        assert_eq!(drain(&mut held).len(), 103);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_front_that_was_spliced_shorter_gives_back_all_with_its_last_frame() {
        let budget = Arc::new(BufferBudget::new(100, 100, None));
        let mut held = held(&[vec![0; 60], vec![0; 40]], &budget);
        held.reserve().unwrap();
        held.splice(Splice {
            span: 10..90,
            with: vec![1].into(),
        });
        for next_frame in [90, 89, 0] {
            assert!(held.pop().is_some());
            assert_eq!(budget.held(), next_frame);
        }
    }
}
