//! Reads the front of a body until its model is known.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::{
    BoxError, HeldBudget, RoutedBody,
    held::{HeldFrames, OverBudget},
    into_bytes,
};
use crate::{
    inspect::Format,
    rejection::Rejection,
    scan::{Field, Id, ModelScanner},
};

/// What the body turned out to ask for.
#[derive(Clone, Debug)]
pub(crate) enum Requested {
    /// A model; [`ModelReader::name`] has its name.
    Model {
        span: std::ops::Range<u64>,
        escaped: bool,
    },
    /// No model: none at all, `null` or a blank one.
    Nothing,
    /// A JSON value that cannot name a model, such as "a number".
    NotText { kind: &'static str },
    /// Nothing at all: there is no body, which is an error only where a model
    /// is needed.
    NoBody(Box<Rejection>),
    /// Unknown: the body failed before it said.
    Broken,
}

/// A body whose front is being read and held.
#[derive(Debug)]
pub(crate) struct ModelReader<B> {
    /// Boxed, because it is polled here and then moves into a [`RoutedBody`].
    reading: Pin<Box<Reading<B>>>,
}

pin_project! {
    /// A body and what has been read of it.
    #[derive(Debug)]
    pub(super) struct Reading<B> {
        // There until it has ended.
        #[pin]
        pub(super) body: Option<B>,
        pub(super) end: End,
        pub(super) scanner: ModelScanner,
        pub(super) held: HeldFrames,
        pub(super) received: u64,
        // The body's length, if it is known beforehand.
        pub(super) expected: Option<u64>,
        // Whether the inner service gets other bytes than the client sent.
        pub(super) has_changed: bool,
    }
}

/// The longest spelling of a name in a body, in bytes: a name outlives the held
/// body that it was in, so it needs a bound of its own.
const MAX_NAME_LEN: u64 = 2 << 20;

/// How the body has ended so far.
#[derive(Debug)]
pub(super) enum End {
    /// It has not; `is_last`: but the last frame has been seen.
    Open { is_last: bool },
    /// Nothing more will come, but for these trailers.
    Whole(Option<Frame<Bytes>>),
    /// It failed. Nothing more will come, but for this error.
    Broken(Option<BoxError>),
}

impl<B> ModelReader<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn new(
        body: B,
        format: Format,
        expected: Option<u64>,
        budget: Arc<HeldBudget>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            reading: Box::pin(Reading {
                expected: body.size_hint().exact().or(expected),
                body: Some(body),
                end: End::Open { is_last: false },
                scanner: ModelScanner::new(format)?,
                held: HeldFrames::new(budget),
                received: 0,
                has_changed: false,
            }),
        })
    }

    /// Reads on until the model is known, the body has ended or failed, or is
    /// to be refused.
    ///
    /// When it is ready, every byte that was received has been scanned, and a
    /// body that has been received whole has been found valid.
    pub(crate) fn poll_requested(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Requested, Rejection>> {
        loop {
            let mut this = self.reading.as_mut().project();
            let Some(mut body) = this.body.as_mut().as_pin_mut() else {
                unreachable!("nobody reads on after the end");
            };
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match into_bytes(frame).into_data() {
                    Ok(data) => {
                        this.scanner.feed(&data)?;
                        *this.received += data.len() as u64;
                        this.held.push(data);
                        if body.is_end_stream() {
                            *this.end = End::Whole(None);
                        } else if Some(*this.received) == *this.expected
                            && !this.scanner.is_complete()
                        {
                            // Its last byte is here: were it passed on, the
                            // inner service would have a whole body that is
                            // not valid.
                            this.scanner.finish()?;
                        }
                    }
                    Err(trailers) => *this.end = End::Whole(Some(trailers)),
                },
                Some(Err(error)) => {
                    *this.end = End::Broken(Some(error.into()));
                    return Poll::Ready(Ok(Requested::Broken));
                }
                None => *this.end = End::Whole(None),
            }
            let whole = matches!(this.end, End::Whole(_));
            let finished = if whole { this.scanner.finish() } else { Ok(()) };
            match finished {
                Err(rejection) if *this.received == 0 => {
                    let rejection = Box::new(rejection);
                    return Poll::Ready(Ok(Requested::NoBody(rejection)));
                }
                finished => finished?,
            }
            match this.scanner.field() {
                Field::Text { span, .. } if span.end - span.start > MAX_NAME_LEN => {
                    return Poll::Ready(Err(Rejection::model_too_long(MAX_NAME_LEN)));
                }
                Field::Text { span, escaped } => {
                    let spelling = this.held.get(span.clone());
                    let requested = if this.scanner.is_blank(&spelling, escaped)? {
                        Requested::Nothing
                    } else {
                        Requested::Model { span, escaped }
                    };
                    return Poll::Ready(Ok(requested));
                }
                Field::Null { .. } => return Poll::Ready(Ok(Requested::Nothing)),
                Field::NotText { kind } => return Poll::Ready(Ok(Requested::NotText { kind })),
                Field::Unseen | Field::Pending if whole => {
                    return Poll::Ready(Ok(Requested::Nothing));
                }
                Field::Unseen | Field::Pending => this.held.pay().map_err(|over| match over {
                    OverBudget::Request => Rejection::too_large(this.held.budget().per_request),
                    OverBudget::Total => Rejection::overloaded(),
                })?,
            }
        }
    }

    /// Pays for what has been read, because it is to be held on to for other
    /// reasons than that the model is not known.
    pub(crate) fn hold(&mut self) -> Result<(), Rejection> {
        let this = self.reading.as_mut().project();
        this.held.take_share().map_err(|_| Rejection::overloaded())
    }

    /// The name that [`Requested::Model`] points at.
    pub(crate) fn name(
        &self,
        span: &std::ops::Range<u64>,
        escaped: bool,
    ) -> Result<Cow<'_, str>, Rejection> {
        let Reading { held, scanner, .. } = &*self.reading;
        Ok(match held.get(span.clone()) {
            Cow::Borrowed(spelling) => scanner.decode(spelling, escaped)?,
            Cow::Owned(spelling) => Cow::Owned(scanner.decode(&spelling, escaped)?.into_owned()),
        })
    }

    /// Puts this ID in the model's place. The change in the body's
    /// length in bytes, or `None` when the body says the ID already.
    pub(crate) fn splice(&mut self, id: Id<'_>) -> Result<Option<i64>, Rejection> {
        let this = self.reading.as_mut().project();
        let before = this.held.len();
        for splice in this.scanner.splices(id)?.into_iter().flatten() {
            let len = splice.span.end - splice.span.start;
            let is_new = len != splice.with.len() as u64
                || *this.held.get(splice.span.clone()) != *splice.with;
            if is_new {
                this.held.splice(splice);
                *this.has_changed = true;
            }
        }
        Ok(this
            .has_changed
            .then(|| this.held.len() as i64 - before as i64))
    }

    /// The body for the inner service, and what tells if the rest of it turns
    /// out to be one that must be refused (absent when all has been checked).
    pub(crate) fn into_body(mut self) -> (RoutedBody<B>, Option<oneshot::Receiver<Rejection>>) {
        let (violation, refused) = match self.reading.end {
            End::Open { .. } => {
                let (violation, refused) = oneshot::channel();
                (Some(violation), Some(refused))
            }
            End::Whole(_) | End::Broken(_) => {
                self.reading.as_mut().project().body.set(None);
                (None, None)
            }
        };
        (RoutedBody::routed(self.reading, violation), refused)
    }
}
