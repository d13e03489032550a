//! Reads the front of a body until its model is known.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame};
use tokio::sync::oneshot;

use super::{
    BoxError, HeldBudget, RoutedBody,
    held::{HeldFrames, OverBudget},
    into_bytes,
    patience::Patience,
    routed::{Rest, TailCheck},
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
    body: Pin<Box<B>>,
    end: End,
    scanner: ModelScanner,
    held: HeldFrames,
    patience: Patience,
    received: u64,
    /// The body's length, if it is known beforehand.
    expected: Option<u64>,
    /// Whether the inner service gets other bytes than the client sent.
    has_changed: bool,
}

/// The longest spelling of a name in a body, in bytes: a name outlives the held
/// body that it was in, so it needs a bound of its own.
const MAX_NAME_LEN: u64 = 2 << 20;

/// How the body has ended so far.
#[derive(Debug)]
enum End {
    Open,
    /// Nothing more will come, but for these trailers.
    // Boxed, because there are hardly ever any.
    Whole(Option<Box<Frame<bytes::Bytes>>>),
    Broken(BoxError),
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
            expected,
            body: Box::pin(body),
            end: End::Open,
            scanner: ModelScanner::new(format)?,
            held: HeldFrames::new(budget),
            patience: Patience::default(),
            received: 0,
            has_changed: false,
        })
    }

    /// Reads on until the model is known, the body has ended or failed, or is
    /// to be refused, if only because it takes too long.
    ///
    /// When it is ready, every byte that was received has been scanned, and a
    /// body that has been received whole has been found valid.
    pub(crate) fn poll_requested(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Requested, Rejection>> {
        loop {
            let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
                return self.poll_timed_out(cx).map(Err);
            };
            match frame {
                Some(Ok(frame)) => match into_bytes(frame).into_data() {
                    Ok(data) => {
                        self.scanner.feed(&data)?;
                        self.received += data.len() as u64;
                        self.held.push(data);
                        if self.body.is_end_stream() {
                            self.end = End::Whole(None);
                        } else if self.received > 0
                            && Some(self.received) == self.expected
                            && !self.scanner.is_complete()
                        {
                            // Its last byte is here: were it passed on, the
                            // inner service would have a whole body that is
                            // not valid.
                            self.scanner.finish()?;
                        }
                    }
                    Err(trailers) => self.end = End::Whole(Some(Box::new(trailers))),
                },
                Some(Err(error)) => {
                    self.end = End::Broken(error.into());
                    return Poll::Ready(Ok(Requested::Broken));
                }
                None => self.end = End::Whole(None),
            }
            let whole = matches!(self.end, End::Whole(_));
            let finished = if whole { self.scanner.finish() } else { Ok(()) };
            match finished {
                Err(rejection) if self.received == 0 => {
                    let rejection = Box::new(rejection);
                    return Poll::Ready(Ok(Requested::NoBody(rejection)));
                }
                finished => finished?,
            }
            match self.scanner.field() {
                Field::Text { span, .. } if span.end - span.start > MAX_NAME_LEN => {
                    return Poll::Ready(Err(Rejection::model_too_long(MAX_NAME_LEN)));
                }
                Field::Text { span, escaped } => {
                    let spelling = self.held.get(span.clone());
                    let requested = if self.scanner.is_blank(&spelling, escaped)? {
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
                Field::Unseen | Field::Pending => self.held.pay().map_err(|over| match over {
                    OverBudget::Request => Rejection::too_large(self.held.bound()),
                    OverBudget::Total => Rejection::overloaded(),
                })?,
            }
        }
    }

    /// Completes when the body has been waited for long enough.
    fn poll_timed_out(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let Some(timeout) = self.held.timeout() else {
            return Poll::Pending;
        };
        ready!(self.patience.poll_ended(timeout, self.received, cx));
        Poll::Ready(Rejection::held_too_long(timeout))
    }

    /// Pays for what has been read, because it is to be held on to for other
    /// reasons than that the model is not known.
    pub(crate) fn hold(&mut self) -> Result<(), Rejection> {
        self.held.take_share().map_err(|_| Rejection::overloaded())
    }

    /// The name that [`Requested::Model`] points at.
    pub(crate) fn name(
        &self,
        span: &std::ops::Range<u64>,
        escaped: bool,
    ) -> Result<Cow<'_, str>, Rejection> {
        Ok(match self.held.get(span.clone()) {
            Cow::Borrowed(spelling) => self.scanner.decode(spelling, escaped)?,
            Cow::Owned(spelling) => {
                Cow::Owned(self.scanner.decode(&spelling, escaped)?.into_owned())
            }
        })
    }

    /// Puts this ID in the model's place. The change in the body's
    /// length in bytes, or `None` when the body says the ID already.
    pub(crate) fn splice(&mut self, id: Id<'_>) -> Result<Option<i64>, Rejection> {
        let before = self.held.len();
        for splice in self.scanner.splices(id)?.into_iter().flatten() {
            if *self.held.get(splice.span.clone()) != *splice.with {
                self.held.splice(splice);
                self.has_changed = true;
            }
        }
        Ok(self
            .has_changed
            .then(|| self.held.len() as i64 - before as i64))
    }

    /// The body for the inner service, and what tells if the rest of it turns
    /// out to be one that must be refused (absent when all has been checked).
    pub(crate) fn into_body(self) -> (RoutedBody<B>, Option<oneshot::Receiver<Rejection>>) {
        let Self {
            body,
            end,
            scanner,
            held,
            received,
            expected,
            has_changed,
            ..
        } = self;
        let (rest, refused) = match end {
            End::Whole(trailers) => {
                let is_exact = expected.is_some();
                (Rest::Ended { trailers, is_exact }, None)
            }
            End::Broken(error) => (Rest::Broken { error: Some(error) }, None),
            End::Open => {
                let (violation, refused) = oneshot::channel();
                let tail = TailCheck::new(scanner, received, expected, violation);
                let tail = Box::new(tail);
                (Rest::Checked { body, tail }, Some(refused))
            }
        };
        (RoutedBody::new(held, rest, has_changed), refused)
    }
}
