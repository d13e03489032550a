//! Reads the front of a body until its model is known.

use std::{
    borrow::Cow,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::{
    BodyFormat, BufferBudget,
    prefix_buffer::{OverBudget, PrefixBuffer},
    progress_timeout::ProgressTimeout,
};
use crate::{
    body::{BoxError, into_bytes},
    response::Rejection,
    scan::{Field, Id, ModelScanner},
};

/// What the body turned out to ask for.
#[derive(Clone, Debug)]
pub(crate) enum Requested {
    /// A model; [`ModelReader::name`] has its name.
    Model { span: Range<u64>, escaped: bool },
    /// No model: none at all, `null` or a blank one.
    Absent,
    /// A JSON value that cannot name a model, such as "a number".
    NotString { kind: &'static str },
    /// Nothing at all: there is no body, which is an error only where a model
    /// is needed.
    EmptyBody(Box<Rejection>),
    /// Unknown: the body failed before it said.
    BodyFailed,
}

pin_project! {
    /// A body whose front is read and prefix until its model is known, and which
    /// then passes to the inner service in a [`RoutedBody`](super::RoutedBody).
    ///
    /// It lives in a box, so that it is moved for the price of a pointer.
    pub(crate) struct ModelReader<B> {
        #[pin]
        pub(super) remainder: Remainder<B>,
        scanner: ModelScanner,
        pub(super) prefix: PrefixBuffer,
        progress: ProgressTimeout,
        received: u64,
        // The body's length, if it is known beforehand.
        pub(super) expected: Option<u64>,
        // Whether the inner service gets other bytes than the client sent.
        pub(super) has_changed: bool,
        pub(super) late_rejection_tx: Option<oneshot::Sender<Rejection>>,
    }
}

pin_project! {
    /// What comes after the prefix front.
    #[project = RemainderProj]
    pub(super) enum Remainder<B> {
        /// The remainder is still to come.
        Streaming { #[pin] body: B },
        /// Nothing more will come, but for these trailers.
        // Boxed, because there are hardly ever any.
        Ended { trailers: Option<Box<Frame<Bytes>>> },
        /// The body failed.
        Failed { error: Option<BoxError> },
    }
}

/// Why there is no next frame.
pub(super) enum Failure {
    /// The body failed.
    Body(BoxError),
    /// The body must not be served.
    Refused(Rejection),
}

/// The longest spelling of a name in a body, in bytes: a name outlives the prefix
/// body that it was in, so it needs a bound of its own.
const MAX_NAME_LEN: u64 = 2 << 20;

impl<B> ModelReader<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn new(
        body: B,
        format: BodyFormat,
        expected: Option<u64>,
        budget: Arc<BufferBudget>,
    ) -> Result<Pin<Box<Self>>, Rejection> {
        Ok(Box::pin(Self {
            remainder: Remainder::Streaming { body },
            scanner: ModelScanner::new(format)?,
            prefix: PrefixBuffer::new(budget),
            progress: ProgressTimeout::default(),
            received: 0,
            expected,
            has_changed: false,
            late_rejection_tx: None,
        }))
    }

    /// Reads on until the model is known, the body has ended or failed, or is
    /// to be refused, if only because it takes too long.
    ///
    /// When it is ready, every byte that was received has been scanned, and a
    /// body that has been received whole has been found valid.
    pub(crate) fn poll_requested(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Requested, Rejection>> {
        loop {
            let Poll::Ready(frame) = self.as_mut().poll_scanned(cx) else {
                return self.poll_timed_out(cx).map(Err);
            };
            let mut this = self.as_mut().project();
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Ok(Some(Ok(data))) => this.prefix.push(data),
                Ok(Some(Err(trailers))) => this.remainder.set(Remainder::Ended {
                    trailers: Some(Box::new(trailers)),
                }),
                Ok(None) => {}
                Err(Failure::Body(error)) => {
                    this.remainder.set(Remainder::Failed { error: Some(error) });
                    return Poll::Ready(Ok(Requested::BodyFailed));
                }
                Err(Failure::Refused(rejection)) => return Poll::Ready(Err(rejection)),
            }
            let is_open = matches!(*this.remainder, Remainder::Streaming { .. });
            if !is_open
                && *this.received == 0
                && let Err(rejection) = this.scanner.finish()
            {
                return Poll::Ready(Ok(Requested::EmptyBody(Box::new(rejection))));
            }
            match this.scanner.field() {
                Field::Text { span, .. } if span.end - span.start > MAX_NAME_LEN => {
                    return Poll::Ready(Err(Rejection::model_too_long(MAX_NAME_LEN)));
                }
                Field::Text { span, escaped } => {
                    let spelling = this.prefix.get(span.clone());
                    let requested = if this.scanner.is_blank(&spelling, escaped)? {
                        Requested::Absent
                    } else {
                        Requested::Model { span, escaped }
                    };
                    return Poll::Ready(Ok(requested));
                }
                Field::Null { .. } => return Poll::Ready(Ok(Requested::Absent)),
                Field::NotText { kind } => return Poll::Ready(Ok(Requested::NotString { kind })),
                Field::Unseen | Field::Pending if is_open => {
                    this.prefix.reserve().map_err(|over| match over {
                        OverBudget::Request => Rejection::too_large(this.prefix.bound()),
                        OverBudget::Total => Rejection::overloaded(),
                    })?;
                }
                Field::Unseen | Field::Pending => return Poll::Ready(Ok(Requested::Absent)),
            }
        }
    }

    /// The next frame of what is not prefix, which has been scanned; none once it
    /// has ended. That there must be anything at all is not checked.
    pub(super) fn poll_scanned(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Failure>> {
        let mut this = self.project();
        let RemainderProj::Streaming { mut body } = this.remainder.as_mut().project() else {
            return Poll::Ready(Ok(None));
        };
        let frame = match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => Some(into_bytes(frame)),
            Some(Err(error)) => return Poll::Ready(Err(Failure::Body(error.into()))),
            None => None,
        };
        let data = frame.as_ref().and_then(Frame::data_ref);
        if let Some(data) = data {
            *this.received += data.len() as u64;
            this.scanner.feed(data).map_err(Failure::Refused)?;
        }
        let is_last = data.is_none() || body.is_end_stream();
        // A body that is not valid must be refused before its last byte, or else
        // the inner service would have all of it.
        let is_last_byte = Some(*this.received) == *this.expected && !this.scanner.is_complete();
        if (is_last || is_last_byte) && *this.received > 0 {
            this.scanner.finish().map_err(Failure::Refused)?;
        }
        if is_last {
            this.remainder.set(Remainder::Ended { trailers: None });
        }
        Poll::Ready(Ok(frame))
    }

    /// Completes when the body has been waited for long enough.
    fn poll_timed_out(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Rejection> {
        let this = self.project();
        let Some(timeout) = this.prefix.timeout() else {
            return Poll::Pending;
        };
        ready!(this.progress.poll_elapsed(timeout, *this.received, cx));
        Poll::Ready(Rejection::held_too_long(timeout))
    }

    /// Pays for what has been read, because it is to be prefix on to for other
    /// reasons than that the model is not known.
    pub(crate) fn hold(self: Pin<&mut Self>) -> Result<(), Rejection> {
        let prefix = self.project().prefix;
        prefix.reserve_shared().map_err(|_| Rejection::overloaded())
    }

    /// The name that [`Requested::Model`] points at.
    pub(crate) fn name(&self, span: &Range<u64>, escaped: bool) -> Result<Cow<'_, str>, Rejection> {
        Ok(match self.prefix.get(span.clone()) {
            Cow::Borrowed(spelling) => self.scanner.decode(spelling, escaped)?,
            Cow::Owned(spelling) => {
                Cow::Owned(self.scanner.decode(&spelling, escaped)?.into_owned())
            }
        })
    }

    /// Puts this ID in the model's place. The change in the body's
    /// length in bytes, or `None` when the body says the ID already.
    pub(crate) fn splice(self: Pin<&mut Self>, id: Id<'_>) -> Result<Option<i64>, Rejection> {
        let this = self.project();
        let before = this.prefix.len();
        for splice in this.scanner.splices(id)?.into_iter().flatten() {
            if *this.prefix.get(splice.span.clone()) != *splice.with {
                this.prefix.splice(splice);
                *this.has_changed = true;
            }
        }
        Ok(this
            .has_changed
            .then(|| this.prefix.len() as i64 - before as i64))
    }

    /// Ends the wait for the model. What tells if the remainder of the body turns out
    /// to be one that must be refused; absent when all has been scanned.
    pub(crate) fn late_rejection(self: Pin<&mut Self>) -> Option<oneshot::Receiver<Rejection>> {
        let this = self.project();
        // The wait is over, but the box lives on: its timer need not.
        *this.progress = ProgressTimeout::default();
        if !matches!(*this.remainder, Remainder::Streaming { .. }) {
            return None;
        }
        let (late_rejection_tx, refused) = oneshot::channel();
        *this.late_rejection_tx = Some(late_rejection_tx);
        Some(refused)
    }
}
