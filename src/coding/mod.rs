//! Content codings: which one a head declares, and bodies decoded from it.

mod body;
#[cfg(feature = "decompression")]
mod decoder;
#[cfg(feature = "decompression")]
mod memory;
#[cfg(all(test, feature = "decompression"))]
mod tests;
#[cfg(not(feature = "decompression"))]
mod unsupported;

use http::{HeaderMap, header::CONTENT_ENCODING};

pub(crate) use self::body::{BodyError, DecodedBody};
#[cfg(feature = "decompression")]
pub(crate) use self::decoder::{Coding, DecodeError, Decoder};
#[cfg(not(feature = "decompression"))]
pub(crate) use self::unsupported::{Coding, DecodeError, Decoder};

/// The content coding that a head declares (RFC 9110, 8.4).
#[derive(Debug, PartialEq)]
pub(crate) enum ContentCoding {
    /// None, or `identity`.
    Identity,
    Supported(Coding),
    /// Any other coding, or more than one.
    Unsupported(String),
}

impl ContentCoding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(CONTENT_ENCODING).iter().peekable();
        if values.peek().is_none() {
            return Self::Identity;
        }
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let is_identity = |coding: &str| {
            let coding = coding.trim();
            coding.is_empty() || coding.eq_ignore_ascii_case("identity")
        };
        if values.iter().all(|value| value.split(',').all(is_identity)) {
            return Self::Identity;
        }
        // Codings within one another multiply the expansion of a bomb.
        let declared = values.join(", ");
        match Coding::parse(declared.trim()) {
            Some(coding) => Self::Supported(coding),
            None => Self::Unsupported(declared),
        }
    }
}

#[cfg(test)]
mod header_tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> ContentCoding {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        ContentCoding::of(&values.map(|value| (CONTENT_ENCODING, value)).collect())
    }

    #[test]
    fn identity_is_no_coding() {
        for values in [&[][..], &[""], &["Identity"], &["identity, identity", ""]] {
            assert_eq!(of(values), ContentCoding::Identity, "{values:?}");
        }
    }

    #[test]
    fn more_than_one_coding_is_unsupported() {
        for (values, shown) in [
            (&["compress"][..], "compress"),
            (&["gzip, gzip"], "gzip, gzip"),
            (&["identity, br"], "identity, br"),
            (&["gzip", "identity"], "gzip, identity"),
            (&["gzip,"], "gzip,"),
        ] {
            let unsupported = ContentCoding::Unsupported(shown.into());
            assert_eq!(of(values), unsupported, "{values:?}");
        }
    }

    #[test]
    fn supported_codings_need_the_feature() {
        for value in ["gzip", "x-gzip", "GZip", " deflate ", "br", "zstd"] {
            let is_supported = matches!(of(&[value]), ContentCoding::Supported(_));
            assert_eq!(is_supported, cfg!(feature = "decompression"), "{value}");
        }
    }
}
