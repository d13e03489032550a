//! Reads the prefix of a body until its model is known, strictly or with best effort.

use std::{
    borrow::Cow,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use model_scan::{ModelField, ModelScanner, Replacement, ScanError};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::{
    BodyFormat, BufferBudget,
    prefix_buffer::{OverBudget, PrefixBuffer},
    progress_timeout::ProgressTimeout,
};
use crate::{
    body::BoxError,
    coding::{BodyError, DecodeError, DecodedBody},
    response::{Rejection, RejectionCode},
};

/// The model that the body asks for.
#[derive(Clone, Debug)]
pub(crate) enum Requested {
    /// A name, which [`ModelReader::name`] decodes.
    Model { span: Range<u64>, escaped: bool },
    /// No model, or one that is `null` or blank.
    Absent,
    /// A JSON value that cannot name a model, such as "a number".
    NotString { kind: &'static str },
    /// No body at all. The rejection applies only where a model is required.
    EmptyBody(Box<Rejection>),
    /// Unknown: the body failed first.
    BodyFailed,
}

pin_project! {
    /// A body whose prefix is buffered until its model is known, and which the inner service then
    /// reads as a [`RoutedBody`](super::RoutedBody).
    ///
    /// It is boxed, so that a move costs one pointer.
    pub(crate) struct ModelReader<B> {
        #[pin]
        pub(super) remainder: Remainder<B>,
        scanner: ModelScanner,
        // The code of a body that is not what its format says.
        invalid: RejectionCode,
        pub(super) prefix: PrefixBuffer,
        progress: ProgressTimeout,
        received: u64,
        // The body's length, if the request declares it.
        pub(super) expected: Option<u64>,
        // Whether the body must be valid; otherwise it may be forwarded unscanned.
        is_strict: bool,
        pub(super) is_scanned: bool,
        // Whether the URI names the model, so that a body without one is not held by any limit.
        is_model_optional: bool,
        // The limit after which the body is forwarded without a model, and may have none.
        late_model: Option<Rejection>,
        // The error after the model, of a body that need not be valid if the model is unknown.
        error_after_model: Option<ScanError>,
        // Whether the inner service reads other bytes than the client sent.
        pub(super) has_changed: bool,
        pub(super) late_rejection_tx: Option<oneshot::Sender<Rejection>>,
    }
}

pin_project! {
    /// The part of the body after the prefix.
    #[project = RemainderProj]
    pub(super) enum Remainder<B> {
        Streaming { #[pin] body: DecodedBody<B> },
        // Boxed, because trailers are rare.
        Ended { trailers: Option<Box<Frame<Bytes>>> },
        Failed { error: Option<BoxError> },
    }
}

/// A frame after the prefix, and whether the body is valid so far.
pub(super) struct Scanned {
    /// `None` once the body has ended.
    pub(super) frame: Option<Frame<Bytes>>,
    pub(super) result: Result<(), ScanError>,
}

/// The maximum length of a name as the body spells it, in bytes. A name outlives the buffered
/// prefix, so it has a limit of its own.
const MAX_NAME_LEN: u64 = 2 << 20;

/// How much of a body is read with best effort, in bytes.
const BEST_EFFORT_LEN: u64 = 64 << 10;
/// How long a request waits for its body and the catalog with best effort.
const BEST_EFFORT_TIMEOUT: Duration = Duration::from_secs(1);

impl<B> ModelReader<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    pub(crate) fn new(
        body: DecodedBody<B>,
        format: BodyFormat,
        expected: Option<u64>,
        is_strict: bool,
        is_model_optional: bool,
        budget: Arc<BufferBudget>,
    ) -> Result<Pin<Box<Self>>, Rejection> {
        let is_scanned = format != BodyFormat::Unread;
        let (scanner, invalid) = match format {
            BodyFormat::Json | BodyFormat::Unread => {
                (ModelScanner::json(), RejectionCode::InvalidJson)
            }
            BodyFormat::Multipart { boundary } => {
                let scanner =
                    ModelScanner::multipart(&boundary).map_err(Rejection::invalid_body)?;
                (scanner, RejectionCode::InvalidMultipart)
            }
        };
        Ok(Box::pin(Self {
            has_changed: body.is_encoded(),
            remainder: Remainder::Streaming { body },
            scanner,
            invalid,
            prefix: PrefixBuffer::new(budget),
            progress: ProgressTimeout::default(),
            received: 0,
            expected,
            is_strict,
            is_scanned,
            is_model_optional,
            late_model: None,
            error_after_model: None,
            late_rejection_tx: None,
        }))
    }

    /// Reads until the model is known or the body has ended, failed, timed out or turned out to be
    /// invalid.
    ///
    /// Once this is ready, every received byte has been scanned. If the body has ended, and must be
    /// valid, it is. With best effort the rejection says only why the model cannot be replaced:
    /// every received byte is in the prefix, and the body can be forwarded.
    pub(crate) fn poll_requested(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Requested, Rejection>> {
        if !self.is_scanned {
            return Poll::Ready(Ok(Requested::Absent));
        }
        loop {
            let Poll::Ready(scanned) = self.as_mut().poll_scanned(cx) else {
                let rejection = ready!(self.as_mut().poll_timed_out(cx));
                return Poll::Ready(self.over_limit(rejection));
            };
            let mut this = self.as_mut().project();
            let Scanned { frame, result } = match scanned {
                Ok(scanned) => scanned,
                Err(BodyError::Body(error)) => {
                    this.remainder.set(Remainder::Failed { error: Some(error) });
                    return Poll::Ready(Ok(Requested::BodyFailed));
                }
                Err(BodyError::Decode(error)) => return Poll::Ready(Err(self.undecodable(&error))),
            };
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => this.prefix.push(data),
                Some(Err(trailers)) => this.remainder.set(Remainder::Ended {
                    trailers: Some(Box::new(trailers)),
                }),
                None => {}
            }
            let model = this.scanner.model();
            if let Err(error) = result {
                if *this.is_strict || !matches!(model, ModelField::String { .. }) {
                    return Poll::Ready(Err(Rejection::invalid_body(error)));
                }
                *this.error_after_model = Some(error);
            }
            let is_streaming = matches!(*this.remainder, Remainder::Streaming { .. });
            if !is_streaming
                && *this.received == 0
                && let Err(error) = this.scanner.finish()
            {
                return Poll::Ready(Ok(Requested::EmptyBody(Box::new(Rejection::invalid_body(
                    error,
                )))));
            }
            let read = match &model {
                ModelField::String { span, .. } => span.end,
                _ => this.prefix.len(),
            };
            if !*this.is_strict && read > BEST_EFFORT_LEN {
                return Poll::Ready(Err(Rejection::too_large(BEST_EFFORT_LEN as usize)));
            }
            match model {
                ModelField::String { span, .. } if span.end - span.start > MAX_NAME_LEN => {
                    return Poll::Ready(Err(Rejection::model_too_long(MAX_NAME_LEN)));
                }
                ModelField::String { span, escaped } => {
                    let spelling = this.prefix.get(span.clone());
                    let is_blank = this.scanner.is_blank(&spelling, escaped);
                    let requested = if is_blank.map_err(Rejection::invalid_body)? {
                        Requested::Absent
                    } else {
                        Requested::Model { span, escaped }
                    };
                    return Poll::Ready(Ok(requested));
                }
                ModelField::Null { .. } => return Poll::Ready(Ok(Requested::Absent)),
                ModelField::NotString { kind } => {
                    let kind = kind.as_str();
                    return Poll::Ready(Ok(Requested::NotString { kind }));
                }
                ModelField::Unseen | ModelField::Pending if is_streaming => {
                    if let Err(over) = this.prefix.reserve() {
                        let rejection = match over {
                            OverBudget::Request => Rejection::too_large(this.prefix.limit()),
                            OverBudget::Total => Rejection::overloaded(),
                        };
                        return Poll::Ready(self.over_limit(rejection));
                    }
                }
                ModelField::Unseen | ModelField::Pending => {
                    return Poll::Ready(Ok(Requested::Absent));
                }
            }
        }
    }

    /// Returns the rejection of a body whose model does not come within the limits. Where the URI
    /// names the model, the body goes on without one, and is rejected only if one comes after all.
    fn over_limit(self: Pin<&mut Self>, rejection: Rejection) -> Result<Requested, Rejection> {
        let this = self.project();
        if !*this.is_model_optional {
            return Err(rejection);
        }
        *this.late_model = Some(rejection);
        Ok(Requested::Absent)
    }

    /// Returns the rejection of a model that came after the body was forwarded without one.
    pub(super) fn late_model(&self) -> Option<Rejection> {
        let is_named = matches!(
            self.scanner.model(),
            ModelField::String { .. } | ModelField::NotString { .. }
        );
        self.late_model.clone().filter(|_| is_named)
    }

    /// Reads, decodes and scans the next frame after the prefix, or returns the body's error.
    ///
    /// An empty body is valid here.
    pub(super) fn poll_scanned(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Scanned, BodyError>> {
        let mut this = self.project();
        let RemainderProj::Streaming { mut body } = this.remainder.as_mut().project() else {
            return Poll::Ready(Ok(Scanned {
                frame: None,
                result: Ok(()),
            }));
        };
        let frame = ready!(body.as_mut().poll_frame(cx)).transpose()?;
        let data = frame.as_ref().and_then(Frame::data_ref);
        let is_last = data.is_none() || body.is_end_stream();
        if is_last {
            this.remainder.set(Remainder::Ended { trailers: None });
        }
        let mut result = Ok(());
        if *this.is_scanned {
            if let Some(data) = data {
                *this.received += data.len() as u64;
                result = this.scanner.feed(data);
            }
            // An invalid body must be rejected before its last byte is forwarded: the inner
            // service must never see a complete one.
            let is_last_byte =
                Some(*this.received) == *this.expected && !this.scanner.is_complete();
            if result.is_ok() && (is_last || is_last_byte) && *this.received > 0 {
                result = this.scanner.finish();
            }
        }
        Poll::Ready(Ok(Scanned { frame, result }))
    }

    /// Completes when the body makes too little progress, or, with best effort, after a second.
    pub(crate) fn poll_timed_out(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Rejection> {
        let this = self.project();
        let (timeout, received) = match this.prefix.timeout() {
            timeout if !*this.is_strict => {
                let timeout = timeout.unwrap_or(BEST_EFFORT_TIMEOUT);
                // Progress does not extend the timeout.
                (timeout.min(BEST_EFFORT_TIMEOUT), 0)
            }
            Some(timeout) => {
                // Not what was decoded: a few bytes of a bomb would count as progress.
                let encoded = match this.remainder.project() {
                    RemainderProj::Streaming { body } => body.encoded_received(),
                    _ => None,
                };
                (timeout, encoded.unwrap_or(*this.received))
            }
            None => return Poll::Pending,
        };
        ready!(this.progress.poll_elapsed(timeout, received, cx));
        Poll::Ready(Rejection::timed_out(timeout))
    }

    /// Returns the rejection of a body that cannot be decoded.
    pub(super) fn undecodable(&self, error: &DecodeError) -> Rejection {
        error.rejection(self.invalid)
    }

    /// Ends the scan of a body that is to be forwarded unchanged, valid or not.
    pub(crate) fn stop_scanning(self: Pin<&mut Self>) {
        *self.project().is_scanned = false;
    }

    /// Reserves budget for the prefix while the request waits for the catalog or the inner service.
    pub(crate) fn reserve_shared(self: Pin<&mut Self>) -> Result<(), Rejection> {
        let prefix = self.project().prefix;
        prefix.reserve_shared().map_err(|_| Rejection::overloaded())
    }

    /// Decodes the name of [`Requested::Model`].
    pub(crate) fn name(&self, span: &Range<u64>, escaped: bool) -> Result<Cow<'_, str>, Rejection> {
        let name = match self.prefix.get(span.clone()) {
            Cow::Borrowed(spelling) => self.scanner.decode(spelling, escaped),
            Cow::Owned(spelling) => self
                .scanner
                .decode(&spelling, escaped)
                .map(|name| Cow::Owned(name.into_owned())),
        };
        name.map_err(Rejection::invalid_body)
    }

    /// Puts the ID in the model's place, from where on the body must be valid. Returns by how many
    /// bytes the body's length changes, or `None` if the body names the ID already.
    pub(crate) fn splice(
        self: Pin<&mut Self>,
        id: Replacement<'_>,
    ) -> Result<Option<i64>, Rejection> {
        let this = self.project();
        if let Some(error) = *this.error_after_model {
            return Err(Rejection::invalid_body(error));
        }
        let before = this.prefix.len();
        let edits = this.scanner.edits(id).map_err(Rejection::invalid_body)?;
        for edit in edits {
            if *this.prefix.get(edit.span.clone()) != *edit.bytes {
                this.prefix.splice(edit);
                *this.has_changed = true;
            }
        }
        Ok(this
            .has_changed
            .then(|| this.prefix.len() as i64 - before as i64))
    }

    /// Ends the wait for the model. Returns a receiver of the rejection of an invalid remainder,
    /// or `None` if nothing is left to scan.
    pub(crate) fn late_rejection(self: Pin<&mut Self>) -> Option<oneshot::Receiver<Rejection>> {
        let this = self.project();
        // Frees the timer: this box lives as long as the body.
        *this.progress = ProgressTimeout::default();
        if !*this.is_scanned || !matches!(*this.remainder, Remainder::Streaming { .. }) {
            return None;
        }
        let (late_rejection_tx, late_rejection_rx) = oneshot::channel();
        *this.late_rejection_tx = Some(late_rejection_tx);
        Some(late_rejection_rx)
    }
}
