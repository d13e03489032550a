//! Parses the `Content-Type` of a request.

use http::{HeaderMap, header::CONTENT_TYPE};
use mediatype::{MediaType, ReadParams, names};

use crate::{headers::is_json, text::sanitize_for_log};

/// The body format that the `Content-Type` declares.
#[derive(Debug, PartialEq)]
pub(super) enum ContentType {
    Absent,
    Json,
    /// `multipart/form-data` with this boundary, or why the boundary is unusable.
    Multipart(Result<Vec<u8>, String>),
    /// Any other media type, or a malformed one, described for a message.
    Unsupported(String),
}

impl ContentType {
    pub(super) fn parse(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let Some(value) = values.next() else {
            return Self::Absent;
        };
        if values.next().is_some() {
            // Two parsers may each read another one.
            return Self::Unsupported("it has more than one Content-Type".into());
        }
        if value == "application/json" {
            // The common case.
            return Self::Json;
        }
        let Ok(value) = value.to_str() else {
            return Self::Unsupported("its Content-Type is not ASCII".into());
        };
        let value = value.trim();
        let essence = value.split(';').next().unwrap_or_default().trim_end();
        if essence.is_empty() {
            return Self::Absent;
        }
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            return Self::Multipart(parse_strictly(value).and_then(|parsed| boundary(&parsed)));
        }
        if !is_json(essence) {
            let essence = sanitize_for_log(&essence.to_ascii_lowercase());
            return Self::Unsupported(format!("its Content-Type is {essence:?}"));
        }
        match parse_strictly(value).and_then(|parsed| check_charset(&parsed)) {
            Ok(()) => Self::Json,
            Err(reason) => Self::Unsupported(reason),
        }
    }
}

/// Rejects malformed parameters, which parsers read differently.
fn parse_strictly(value: &str) -> Result<MediaType<'_>, String> {
    MediaType::parse(value)
        .ok()
        // The parser accepts a missing value.
        .filter(|parsed| parsed.params().all(|(_, value)| !value.as_str().is_empty()))
        .ok_or_else(|| {
            let value = sanitize_for_log(value);
            format!("the parameters of its Content-Type {value:?} are malformed")
        })
}

fn boundary(media_type: &MediaType<'_>) -> Result<Vec<u8>, String> {
    // Servers decode the names and values of parts by the charset.
    check_charset(media_type)?;
    let mut params = media_type
        .params()
        .filter(|(name, _)| *name != names::CHARSET);
    match (params.next(), params.next()) {
        (Some((name, value)), None) if name == names::BOUNDARY => {
            Ok(value.unquoted_str().into_owned().into_bytes())
        }
        (None, _) => Err("its Content-Type has no boundary".into()),
        // formidable takes the first `boundary=`, even inside another parameter.
        _ => Err("its Content-Type has parameters besides one boundary".into()),
    }
}

/// Accepts UTF-8 and its subset ASCII.
fn check_charset(media_type: &MediaType<'_>) -> Result<(), String> {
    const SUPPORTED: [&str; 4] = ["utf-8", "utf8", "us-ascii", "ascii"];

    // All of them: parsers differ about which of two holds.
    for (name, value) in media_type.params() {
        let charset = value.unquoted_str();
        let is_supported = || SUPPORTED.iter().any(|s| charset.eq_ignore_ascii_case(s));
        if name == names::CHARSET && !is_supported() {
            return Err(format!("its charset is {:?}", sanitize_for_log(&charset)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundary_error_names_the_cause() {
        for (parameters, reason) in [
            ("", "its Content-Type has no boundary"),
            ("; charset=utf-8", "its Content-Type has no boundary"),
            (
                "; x=y",
                "its Content-Type has parameters besides one boundary",
            ),
            (
                "; boundary=a;x=y",
                "its Content-Type has parameters besides one boundary",
            ),
            ("; charset=utf-7; boundary=a", "its charset is \"utf-7\""),
        ] {
            let value = format!("multipart/form-data{parameters}");
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            let expected = ContentType::Multipart(Err(reason.into()));
            assert_eq!(ContentType::parse(&headers), expected, "{parameters}");
        }
    }
}
