//! A body that is decoded if it is encoded.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{DecodeError, Decoder};
use crate::body::{BoxError, into_bytes};

pin_project! {
    /// A body in `Bytes`, and decoded if it has a decoder.
    ///
    /// Each frame is at most 32 KiB of decoded data, so that limits act before memory grows. It is
    /// all that a frame of the encoded body decodes to: nothing waits for the next frame.
    #[derive(Debug)]
    pub(crate) struct DecodedBody<B> {
        #[pin]
        body: B,
        // Boxed, because few bodies are encoded.
        decoding: Option<Box<Decoding>>,
    }
}

#[derive(Debug)]
struct Decoding {
    /// `None` once the body has ended or failed, which frees the decoder's memory.
    decoder: Option<Decoder>,
    /// The rest of the encoded body's last frame.
    input: Bytes,
    received: u64,
}

/// The reason why a body has no next frame.
#[derive(Debug)]
pub(crate) enum BodyError {
    Body(BoxError),
    Decode(DecodeError),
}

impl From<BodyError> for BoxError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Body(error) => error,
            BodyError::Decode(error) => error.into(),
        }
    }
}

impl<B> DecodedBody<B> {
    /// Decodes a body, or passes it on as it is if there is no decoder.
    pub(crate) fn new(body: B, decoder: Option<Decoder>) -> Self {
        let decoding = decoder.map(|decoder| {
            Box::new(Decoding {
                decoder: Some(decoder),
                input: Bytes::new(),
                received: 0,
            })
        });
        Self { body, decoding }
    }

    pub(crate) fn is_encoded(&self) -> bool {
        self.decoding.is_some()
    }

    /// Returns how many bytes of an encoded body were received, or `None` if it is not encoded.
    pub(crate) fn encoded_received(&self) -> Option<u64> {
        self.decoding.as_ref().map(|decoding| decoding.received)
    }
}

impl<B> Body for DecodedBody<B>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        let mut poll_body = || {
            let frame = ready!(this.body.as_mut().poll_frame(cx));
            Poll::Ready(frame.map(|frame| {
                let frame = frame.map(into_bytes);
                frame.map_err(|error| BodyError::Body(error.into()))
            }))
        };
        let Some(decoding) = this.decoding else {
            return poll_body();
        };
        loop {
            let Some(decoder) = &mut decoding.decoder else {
                return Poll::Ready(None);
            };
            let last = match decoder.decode(&mut decoding.input) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => match ready!(poll_body()) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            decoding.received += data.len() as u64;
                            decoding.input = data;
                            continue;
                        }
                        Err(trailers) => decoder.finish().map(|()| Some(trailers)),
                    },
                    Some(Err(error)) => {
                        decoding.decoder = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => decoder.finish().map(|()| None),
                },
                Err(error) => Err(error),
            };
            decoding.decoder = None;
            decoding.input = Bytes::new();
            return Poll::Ready(last.map_err(BodyError::Decode).transpose());
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.decoding {
            None => self.body.is_end_stream(),
            Some(decoding) => decoding.decoder.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.decoding {
            None => self.body.size_hint(),
            Some(_) if self.is_end_stream() => SizeHint::with_exact(0),
            Some(_) => SizeHint::default(),
        }
    }
}
