//! Any encoded body at all, and what the inner service receives of it.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use bytes::Bytes;
use flate2::{
    Compression,
    read::{MultiGzDecoder, ZlibDecoder},
    write::{GzEncoder, ZlibEncoder},
};
use http::{Request, header::CONTENT_ENCODING};
use tokio::runtime::Runtime;

use crate::{
    gateway::{CHAT, Gateway, Hint, MODELS, Received, Script, Seen, Source, Step, paused_runtime},
    input::{Lengths, cut},
};

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// The limit on held bytes, and the longest body that is decoded in one go.
const LIMIT: usize = 1 << 20;

/// Sends an encoded body, and asserts that it has the effect of what another decoder makes of it in
/// one go, or is rejected if that fails.
///
/// The input: a byte that selects the coding, and whether the rest is encoded first; the length of
/// its members; how many bytes are cut off; lengths of frames; and the rest.
pub(crate) fn check(input: &[u8]) {
    thread_local!(static HARNESS: Harness = Harness::new());

    let Some((&[options, len, cut_off], input)) = input.split_first_chunk() else {
        return;
    };
    let Some((lengths, rest)) = input.split_first_chunk() else {
        return;
    };
    let coding = CODINGS[usize::from(options % 4)];
    let mut body = match options & 4 {
        0 => rest.to_vec(),
        _ => encode(coding, rest, usize::from(len)).expect("memory does not fail"),
    };
    body.truncate(body.len().saturating_sub(cut_off.into()));
    HARNESS.with(|harness| harness.check(coding, &body, lengths));
}

struct Harness {
    runtime: Runtime,
    gateway: Gateway,
}

impl Harness {
    fn new() -> Self {
        let runtime = paused_runtime();
        let gateway = Gateway::new(Source::new(MODELS, ""), |config| {
            config.max_held_bytes(LIMIT).held_timeout(None)
        });
        let refreshed = runtime.block_on(gateway.layer.registry().refresh());
        refreshed.expect("the source has a catalog");
        Self { runtime, gateway }
    }

    fn check(&self, coding: &str, body: &[u8], lengths: &Lengths) {
        let (received, seen) = self.send(Some(coding), body, lengths);
        let plain = match decode(coding, body) {
            // Too long to be compared.
            Ok(plain) if plain.len() > LIMIT / 2 => return,
            Ok(plain) => plain,
            Err(error) => {
                assert_ne!(received.code(), "ok", "{error}");
                assert!(seen.is_none_or(|seen| seen.body.is_err()), "{error}");
                return;
            }
        };
        if received.code() == "unsupported_content_encoding" {
            assert!(
                seen.is_none() && coding == "br",
                "the window is not too large"
            );
            return;
        }
        let (expected, seen_plain) = self.send(None, &plain, &[0; 4]);
        // Which of two errors is found depends on the frames.
        let (code, expected) = (received.code(), expected.code());
        assert_eq!(code == "ok", expected == "ok", "{code}, not {expected}");
        if let (Some(seen), Some(Ok(plain))) = (&seen, seen_plain.map(|seen| seen.body)) {
            assert_eq!(seen.body, Ok(plain));
            assert!(!seen.head.headers.contains_key(CONTENT_ENCODING));
        }
    }

    fn send(
        &self,
        coding: Option<&str>,
        body: &[u8],
        lengths: &Lengths,
    ) -> (Received, Option<Seen>) {
        let frames = cut(body, lengths).into_iter();
        let frames = frames.map(|frame| Step::Data(Bytes::copy_from_slice(frame)));
        let mut request = Request::post(CHAT);
        if let Some(coding) = coding {
            request = request.header(CONTENT_ENCODING, coding);
        }
        let request = request.body(Script {
            steps: frames.collect(),
            hint: Hint::Unknown,
            knows_its_end: false,
        });
        let sent = self.gateway.send(request.expect("a request"));
        let limit = Duration::from_secs(3_600);
        let sent = async { tokio::time::timeout(limit, sent).await };
        let sent = self.runtime.block_on(sent).expect("no request hangs");
        assert_eq!(self.gateway.layer.held_bytes(), 0);
        sent
    }
}

/// Encodes as members of this length, if the coding has members.
fn encode(coding: &str, plain: &[u8], len: usize) -> io::Result<Vec<u8>> {
    let members = match coding {
        "gzip" | "zstd" if len > 0 => plain.chunks(len).collect(),
        _ => vec![plain],
    };
    let mut encoded = Vec::new();
    for member in members {
        match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(&mut encoded, Compression::fast());
                encoder.write_all(member)?;
                encoder.finish()?;
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(&mut encoded, Compression::fast());
                encoder.write_all(member)?;
                encoder.finish()?;
            }
            "br" => {
                brotli::CompressorWriter::new(&mut encoded, 4096, 3, 18).write_all(member)?;
            }
            _ => encoded.extend_from_slice(&zstd::bulk::compress(member, 1)?),
        }
    }
    Ok(encoded)
}

/// Decodes in one go, up to the limit.
fn decode(coding: &str, mut encoded: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    if encoded.is_empty() {
        return Ok(plain);
    }
    let mut read = |decoder: &mut dyn Read| decoder.take(LIMIT as u64).read_to_end(&mut plain);
    match coding {
        "gzip" => read(&mut MultiGzDecoder::new(encoded))?,
        "deflate" => {
            let mut decoder = ZlibDecoder::new(encoded);
            let len = read(&mut decoder)?;
            if len < LIMIT && decoder.total_in() < encoded.len() as u64 {
                return Err(io::Error::other("data after the end"));
            }
            len
        }
        "br" => {
            let len = read(&mut brotli::Decompressor::new(&mut encoded, 1))?;
            if len < LIMIT && !encoded.is_empty() {
                return Err(io::Error::other("data after the end"));
            }
            len
        }
        _ => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(encoded)?;
            // RFC 9659.
            decoder.window_log_max(23)?;
            read(&mut decoder)?
        }
    };
    Ok(plain)
}
