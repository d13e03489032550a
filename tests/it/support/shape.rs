//! The shapes in which a body can arrive, and a reader that checks size hints and ends.

use std::fmt::Display;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;

use super::body::{Hint, ScriptedBody, Step, data, trailers};

/// The way in which a body arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The body is cut after this many bytes; past the end, every byte is a frame.
    pub(crate) cut: usize,
    pub(crate) empty_frames: bool,
    pub(crate) pendings: bool,
    pub(crate) trailers: bool,
    pub(crate) content_length: bool,
    pub(crate) hint: Hint,
    pub(crate) reports_end: bool,
    /// Whether the body fails at the cut.
    pub(crate) fails: bool,
}

impl Shape {
    /// Returns every shape of a body of this length.
    pub(crate) fn all(len: usize) -> impl Iterator<Item = Self> {
        (0..=len + 1).flat_map(move |cut| {
            (0_usize..64).map(move |bits| {
                let bit = |index: usize| bits >> index & 1 == 1;
                let fails = bit(5) && cut < len;
                Self {
                    cut,
                    empty_frames: bit(0),
                    pendings: bit(1),
                    trailers: bit(2) && !fails,
                    content_length: bit(3),
                    hint: match (bits + cut) % 3 {
                        0 if !fails => Hint::Exact,
                        1 if !fails => Hint::Bounds,
                        _ => Hint::Unknown,
                    },
                    reports_end: bit(4),
                    fails,
                }
            })
        })
    }

    /// Returns a body of this text in this shape. An error is `gone`.
    pub(crate) fn body(self, text: &str) -> ScriptedBody {
        let bytes = text.as_bytes();
        let frames: Vec<&[u8]> = match bytes.split_at_checked(self.cut) {
            Some((first, _)) if self.fails => vec![first],
            Some((first, rest)) => vec![first, rest],
            None => bytes.chunks(1).collect(),
        };
        let mut steps = Vec::new();
        for frame in frames {
            steps.extend(self.pendings.then_some(Step::Pending));
            steps.extend(self.empty_frames.then(|| data("")));
            steps.push(data(frame));
        }
        steps.extend(self.empty_frames.then(|| data("")));
        steps.extend(self.pendings.then_some(Step::Pending));
        steps.extend(self.fails.then_some(Step::Error("gone")));
        steps.extend(self.trailers.then(|| Step::Trailers(trailers())));
        ScriptedBody::new(steps)
            .hint(self.hint)
            .reports_end(self.reports_end)
    }

    /// Reads a body of this shape, of which `expected` should arrive. At each step, its size hint
    /// and `is_end_stream` must hold, and the size must be exact where `is_exact` says so.
    pub(crate) async fn read<B>(self, body: B, expected: &[u8], is_exact: bool) -> Vec<u8>
    where
        B: Body<Data = Bytes, Error: Display>,
    {
        let mut body = std::pin::pin!(body);
        let mut bytes = Vec::new();
        let mut found_trailers: Option<HeaderMap> = None;
        let mut error = None;
        loop {
            let hint = body.size_hint();
            if self.fails {
                assert!(error.is_some() || hint.exact().is_none(), "{self:?}");
            } else {
                let remaining = (expected.len() - bytes.len()) as u64;
                assert!(hint.lower() <= remaining, "{self:?} {hint:?}");
                assert!(
                    hint.upper().is_none_or(|upper| remaining <= upper),
                    "{self:?} {hint:?}"
                );
                if is_exact && self.hint == Hint::Exact {
                    assert_eq!(hint.exact(), Some(remaining), "{self:?}");
                }
                // With a known length, hyper's HTTP/1 client sends no trailers.
                let is_open = self.hint == Hint::Unknown && !self.content_length;
                if is_open && self.trailers && found_trailers.is_none() {
                    assert_eq!(hint.exact(), None, "{self:?}");
                }
            }
            let reported_end = body.is_end_stream();
            let Some(frame) = body.frame().await else {
                break;
            };
            assert!(!reported_end, "{self:?}");
            assert!(error.is_none() && found_trailers.is_none(), "{self:?}");
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                Ok(Err(frame)) => found_trailers = frame.into_trailers().ok(),
                Err(found) => error = Some(found.to_string()),
            }
        }
        assert!(body.frame().await.is_none(), "{self:?}");
        assert_eq!(found_trailers, self.trailers.then(trailers), "{self:?}");
        assert_eq!(error, self.fails.then(|| "gone".into()), "{self:?}");
        if self.reports_end || self.fails && is_exact {
            assert!(body.is_end_stream(), "{self:?}");
        }
        if self.fails && is_exact {
            assert_eq!(body.size_hint().exact(), Some(0), "{self:?}");
        }
        if self.fails {
            assert!(bytes.len() < expected.len(), "{self:?}");
        } else {
            assert_eq!(bytes, expected, "{self:?}");
        }
        bytes
    }
}
