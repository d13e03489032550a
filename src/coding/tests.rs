use std::{convert::Infallible, pin::pin, sync::Arc, task::Waker};

use bytes::{Bytes, BytesMut};
use compression_codecs::{
    BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder,
    brotli::params::EncoderParams,
    core::{
        Level,
        util::{PartialBuffer, WriteBuffer},
    },
    flate::params::FlateEncoderParams,
    zstd::params::CParameter,
};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;

use super::*;
use crate::{
    body::BoxError,
    request::{BufferBudget, Reservation},
};

const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

fn encoder(coding: Coding) -> Box<dyn EncodeV2> {
    let level = FlateEncoderParams::from(Level::Default);
    match coding {
        Coding::Gzip => Box::new(GzipEncoder::new(level)),
        Coding::Deflate => Box::new(ZlibEncoder::new(level)),
        Coding::Brotli => Box::new(BrotliEncoder::new(
            EncoderParams::default().quality(Level::Precise(5)),
        )),
        Coding::Zstd => Box::new(ZstdEncoder::new(3)),
    }
}

/// Encodes one member, flushed after each part.
fn encode_parts(coding: Coding, parts: &[&[u8]]) -> Vec<Bytes> {
    let mut encoder = encoder(coding);
    let mut buffer = vec![0; 1 << 16];
    let mut frames = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let mut encoded = BytesMut::new();
        let mut input = PartialBuffer::new(*part);
        while !input.unwritten().is_empty() {
            let mut output = WriteBuffer::new_initialized(&mut buffer);
            encoder.encode(&mut input, &mut output).unwrap();
            encoded.extend_from_slice(output.written());
        }
        let is_last = index + 1 == parts.len();
        let mut is_done = false;
        while !is_done {
            let mut output = WriteBuffer::new_initialized(&mut buffer);
            is_done = match is_last {
                true => encoder.finish(&mut output),
                false => encoder.flush(&mut output),
            }
            .unwrap();
            encoded.extend_from_slice(output.written());
        }
        frames.push(encoded.freeze());
    }
    frames
}

fn encode(coding: Coding, plain: &[u8]) -> Bytes {
    encode_parts(coding, &[plain]).remove(0)
}

/// Encodes a zstd frame with a window of this size.
fn zstd_with_window(log: u32, plain: &[u8]) -> Bytes {
    let mut encoder = ZstdEncoder::new_with_params(1, &[CParameter::window_log(log)]);
    let mut buffer = vec![0; 1 << 16];
    let mut input = PartialBuffer::new(plain);
    let mut output = WriteBuffer::new_initialized(&mut buffer);
    encoder.encode(&mut input, &mut output).unwrap();
    assert!(encoder.finish(&mut output).unwrap());
    Bytes::copy_from_slice(output.written())
}

fn body(frames: impl IntoIterator<Item = Bytes>) -> impl Body<Data = Bytes, Error = Infallible> {
    let frames: Vec<_> = frames
        .into_iter()
        .map(|data| Ok(Frame::data(data)))
        .collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

/// Decodes to the end. No frame is larger than 32 KiB, and none is empty.
fn decode(coding: Coding, frames: impl IntoIterator<Item = Bytes>) -> Result<Bytes, BodyError> {
    let body = DecodedBody::new(body(frames), Some(Decoder::new(coding, None)));
    let mut body = pin!(body);
    let mut cx = std::task::Context::from_waker(Waker::noop());
    let mut decoded = BytesMut::new();
    loop {
        let std::task::Poll::Ready(frame) = body.as_mut().poll_frame(&mut cx) else {
            panic!("the test's bodies are always ready")
        };
        let Some(frame) = frame else {
            assert!(body.is_end_stream());
            return Ok(decoded.freeze());
        };
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap(),
            Err(error) => {
                assert!(body.is_end_stream(), "nothing may follow an error");
                return Err(error);
            }
        };
        assert!((1..=32 * 1024).contains(&data.len()));
        decoded.extend_from_slice(&data);
    }
}

fn decode_error(coding: Coding, encoded: Bytes) -> DecodeError {
    match decode(coding, [encoded]) {
        Err(BodyError::Decode(error)) => error,
        other => panic!("{coding:?}: {other:?}"),
    }
}

/// Splits at each of these places.
fn split(mut data: Bytes, cuts: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    for cut in cuts {
        frames.push(data.split_to(cut.index(data.len() + 1)));
    }
    frames.push(data);
    frames
}

fn coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(&CODINGS[..])
}

/// Text that compresses, and bytes that do not.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        "[ab]{0,3000}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn decodes_what_was_encoded_however_it_is_split(
        coding in coding(),
        members in prop::collection::vec(plain(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let members = &members[..if coding.has_members() { members.len() } else { 1 }];
        let encoded: Vec<_> = members.iter().map(|plain| encode(coding, plain)).collect();
        let decoded = decode(coding, split(encoded.concat().into(), &cuts)).unwrap();
        prop_assert!(decoded == members.concat());
    }

    #[test]
    fn truncated_data_is_an_error(
        coding in coding(),
        plain in plain(),
        cut in any::<prop::sample::Index>(),
    ) {
        let encoded = encode(coding, &plain);
        let cut = encoded.slice(..cut.index(encoded.len()));
        prop_assume!(!cut.is_empty());
        prop_assert_eq!(decode_error(coding, cut), DecodeError::Truncated);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        coding in coding(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut encoded = BytesMut::from(&encode(coding, b"{\"model\":\"x\",\"model\":\"y\"}")[..]);
        for (index, byte) in flips {
            let at = index.index(encoded.len());
            encoded[at] = byte;
        }
        encoded.extend_from_slice(&tail);
        let encoded = encoded.freeze();
        let whole = decode(coding, [encoded.clone()]).ok();
        prop_assert_eq!(decode(coding, split(encoded, &cuts)).ok(), whole);
    }
}

#[test]
fn one_byte_at_a_time() {
    let plain = b"{\"model\":\"venice-uncensored\"}".repeat(50);
    for coding in CODINGS {
        let encoded = encode(coding, &plain);
        let bytes = (0..encoded.len()).map(|at| encoded.slice(at..=at));
        assert_eq!(decode(coding, bytes).unwrap(), plain, "{coding:?}");
    }
}

#[test]
fn flushed_data_is_decoded_without_the_next_frame() {
    let events = [&b"data: one\n\n"[..], b"data: two\n\n", b"data: three\n\n"];
    for coding in CODINGS {
        let mut decoder = Decoder::new(coding, None);
        for (event, mut frame) in events.iter().zip(encode_parts(coding, &events)) {
            let mut decoded = BytesMut::new();
            while let Some(data) = decoder.decode(&mut frame).unwrap() {
                decoded.extend_from_slice(&data);
            }
            assert_eq!(decoded, event, "{coding:?}");
        }
        decoder.finish().unwrap();
    }
}

#[test]
fn bomb_is_decoded_in_steps() {
    let bomb = vec![b' '; 8 << 20];
    for coding in CODINGS {
        let encoded = encode(coding, &bomb);
        assert!(encoded.len() < 10_000, "{coding:?}");
        let mut input = encoded;
        let mut decoder = Decoder::new(coding, None);
        let first = decoder.decode(&mut input).unwrap().unwrap();
        assert!(first.len() <= 32 * 1024, "{coding:?}");
        assert_eq!(decode(coding, [encode(coding, &bomb)]).unwrap(), bomb);
    }
}

#[test]
fn no_data_at_all_is_an_empty_body() {
    for coding in CODINGS {
        assert_eq!(decode(coding, []).unwrap(), "");
        assert_eq!(decode(coding, [Bytes::new()]).unwrap(), "");
        assert_eq!(decode(coding, [encode(coding, b"")]).unwrap(), "");
    }
}

#[test]
fn data_after_the_end_is_an_error() {
    for coding in CODINGS {
        for tail in [
            &b"x"[..],
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            let encoded = [&encode(coding, b"{}")[..], tail].concat();
            decode_error(coding, encoded.into());
        }
    }
    for coding in [Coding::Deflate, Coding::Brotli] {
        let twice = encode(coding, b"{}").repeat(2);
        let error = decode_error(coding, twice.into());
        assert!(error.to_string().contains("after its end"), "{error}");
    }
}

#[test]
fn checksums_are_verified() {
    for coding in [Coding::Gzip, Coding::Deflate] {
        let mut encoded = encode(coding, b"{}").to_vec();
        // The last byte of gzip's CRC, and of zlib's Adler-32.
        let at = encoded.len() - if coding == Coding::Gzip { 5 } else { 1 };
        encoded[at] ^= 1;
        assert!(matches!(
            decode_error(coding, encoded.into()),
            DecodeError::Corrupt(_)
        ));
    }
}

#[test]
fn raw_deflate_is_no_content_coding() {
    // RFC 9110, 8.4.1.2: the coding is the zlib format.
    let raw = Bytes::from_static(b"\xab\xae\x05\x00");
    assert!(matches!(
        decode_error(Coding::Deflate, raw),
        DecodeError::Corrupt(_)
    ));
}

#[test]
fn skippable_frames_are_skipped() {
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let encoded = [skippable, &encode(Coding::Zstd, b"{}")[..], skippable].concat();
    assert_eq!(decode(Coding::Zstd, [encoded.into()]).unwrap(), "{}");
}

#[test]
fn trailers_follow_the_data() {
    let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
    let frames = [
        Frame::data(encode(Coding::Gzip, b"{}")),
        Frame::trailers(trailers.clone()),
    ];
    let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    let decoder = Decoder::new(Coding::Gzip, None);
    let decoded = DecodedBody::new(StreamBody::new(frames), Some(decoder));
    let collected = futures_util::FutureExt::now_or_never(decoded.collect());
    let collected = collected.unwrap().unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "{}");
}

#[test]
fn body_error_is_forwarded() {
    let frames = [
        Ok(Frame::data(encode(Coding::Gzip, b"{}").slice(..10))),
        Err(BoxError::from("gone")),
    ];
    let decoder = Decoder::new(Coding::Gzip, None);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let decoded = DecodedBody::new(body, Some(decoder));
    let collected = futures_util::FutureExt::now_or_never(decoded.collect());
    let error = BoxError::from(collected.unwrap().unwrap_err());
    assert_eq!(error.to_string(), "gone");
}

#[test]
fn windows_over_the_limit_are_rejected() {
    let at_the_limit = zstd_with_window(23, b"{}");
    assert_eq!(decode(Coding::Zstd, [at_the_limit.clone()]).unwrap(), "{}");
    let large = zstd_with_window(24, b"{}");
    let second = [&at_the_limit[..], &large].concat();
    let large_brotli = Bytes::from_static(&[0x11, 30, 0, 0]);
    for (coding, encoded) in [
        (Coding::Zstd, large),
        (Coding::Zstd, second.into()),
        (Coding::Brotli, large_brotli),
    ] {
        let error = decode_error(coding, encoded);
        assert!(matches!(error, DecodeError::WindowTooLarge(..)), "{error}");
    }
}

#[test]
fn memory_is_reserved_before_it_is_allocated_and_released_at_the_end() {
    for (coding, encoded, window) in [
        (Coding::Gzip, encode(Coding::Gzip, b"{}"), 32 << 10),
        (Coding::Deflate, encode(Coding::Deflate, b"{}"), 32 << 10),
        // An empty last metablock, after WBITS 24 and metadata of no bytes.
        (
            Coding::Brotli,
            Bytes::from_static(&[0x6f, 0, 0x03]),
            16 << 20,
        ),
        (Coding::Zstd, zstd_with_window(23, b"{}"), 8 << 20),
    ] {
        let budget = Arc::new(BufferBudget::new(0, 20 << 20, None));
        let decoder = || {
            Some(Decoder::new(
                coding,
                Some(Reservation::new(Arc::clone(&budget))),
            ))
        };

        let mut held = decoder().unwrap();
        let mut input = encoded.slice(..encoded.len() - 1);
        while held.decode(&mut input).unwrap().is_some() {}
        let reserved = budget.reserved();
        assert!(
            reserved > window && reserved < window + (4 << 20),
            "{coding:?}: {reserved}"
        );
        drop(held);
        assert_eq!(budget.reserved(), 0);

        let decoded = DecodedBody::new(body([encoded.clone()]), decoder());
        let mut decoded = pin!(decoded);
        while let Some(frame) = {
            let frame = futures_util::FutureExt::now_or_never(decoded.frame());
            frame.unwrap()
        } {
            frame.unwrap();
        }
        assert_eq!(
            budget.reserved(),
            0,
            "{coding:?}: released before the body is dropped"
        );

        let small = Arc::new(BufferBudget::new(0, window, None));
        let mut refused = Decoder::new(coding, Some(Reservation::new(Arc::clone(&small))));
        let error = refused.decode(&mut encoded.clone()).unwrap_err();
        assert_eq!(error, DecodeError::Overloaded);
        assert_eq!(small.reserved(), 0);
    }
}
