//! Parses the `Content-Type` of a request, as strictly as all servers read it alike.

use http::{HeaderMap, header::CONTENT_TYPE};

use crate::{headers::is_json, text::sanitize_for_log};

/// The body format that the `Content-Type` declares.
#[derive(Debug, PartialEq)]
pub(super) enum ContentType {
    Absent,
    Json,
    /// `multipart/form-data` with this boundary, or why it is unusable.
    Multipart(Result<Vec<u8>, String>),
    /// Any other media type, or a malformed one, described for a message.
    Unsupported(String),
}

const FORM: &str = "multipart/form-data";

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
        let bytes = value.as_bytes().trim_ascii();
        if bytes.is_empty() {
            return Self::Absent;
        }
        let is_form = bytes
            .get(..FORM.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(FORM.as_bytes()));
        let Ok(value) = value.to_str().map(str::trim) else {
            let reason = "its Content-Type is not ASCII".to_owned();
            return match is_form {
                true => Self::Multipart(Err(reason)),
                false => Self::Unsupported(reason),
            };
        };
        if is_form {
            return Self::Multipart(boundary(value));
        }
        let (essence, parameter) = split(value);
        let has_token = |(_, subtype): (&str, &str)| is_token(subtype);
        if !is_json(essence) || !essence.split_once('/').is_some_and(has_token) {
            let value = sanitize_for_log(&value.to_ascii_lowercase());
            return Self::Unsupported(format!("its Content-Type is {value:?}"));
        }
        match parameter {
            Some(parameter) if !is_utf8(parameter) => Self::Unsupported(format!(
                "its Content-Type has the parameter {:?}, but may have only charset=utf-8",
                sanitize_for_log(parameter)
            )),
            _ => Self::Json,
        }
    }
}

/// Splits the value at its first `;`, and the space that may follow.
fn split(value: &str) -> (&str, Option<&str>) {
    match value.split_once(';') {
        Some((essence, rest)) => (essence, Some(rest.strip_prefix(' ').unwrap_or(rest))),
        None => (value, None),
    }
}

/// Returns whether the parameter is a charset of UTF-8, or of its subset ASCII.
///
/// aiohttp and Django REST framework decode by `charset*` and `charset*0` (RFC 2231), too.
fn is_utf8(parameter: &str) -> bool {
    const SUPPORTED: [&str; 4] = ["utf-8", "utf8", "us-ascii", "ascii"];

    parameter.split_once('=').is_some_and(|(name, value)| {
        let charset = unquote(value).unwrap_or(value);
        name.eq_ignore_ascii_case("charset")
            && SUPPORTED.iter().any(|s| charset.eq_ignore_ascii_case(s))
    })
}

/// Returns the boundary of a form. Its characters are checked by the scanner.
///
/// Stricter than RFC 9110, because servers differ:
///
/// - bottle and Ruby's CGI read a form as `application/x-www-form-urlencoded` if its type is in
///   upper case, and some servers do not read `BOUNDARY=`.
/// - formidable takes the first `boundary=`, even inside another parameter, and PHP takes one after
///   a comma.
/// - Of a boundary that is no token and not quoted Werkzeug, busboy and multipart for Python read
///   nothing, and Sanic reads the front.
fn boundary(value: &str) -> Result<Vec<u8>, String> {
    let (essence, parameter) = split(value);
    if essence != FORM {
        let essence = sanitize_for_log(essence);
        return Err(format!(
            "its Content-Type is {essence:?}, not {FORM:?} in lower case"
        ));
    }
    let Some(boundary) = parameter.and_then(|parameter| parameter.strip_prefix("boundary=")) else {
        return Err("its Content-Type has a parameter other than boundary, or none".into());
    };
    match unquote(boundary) {
        Some(boundary) => Ok(boundary.into()),
        None if is_token(boundary) => Ok(boundary.into()),
        None => Err(format!(
            "its Content-Type has more than a boundary, or one that must be in double quotes: {:?}",
            sanitize_for_log(boundary)
        )),
    }
}

fn unquote(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Returns whether the text is empty or a `token` (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(value: &str) -> ContentType {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        ContentType::parse(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
    }

    #[test]
    fn json_may_have_a_charset_of_utf_8() {
        for value in [
            "application/json",
            "Application/JSON",
            " application/json ",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json; charset=\"utf-8\"",
            "application/json; Charset=utf8",
            "application/json; charset=us-ascii",
            "application/json; charset=ASCII",
            "application/vnd.api+json",
            "application/problem+JSON; charset=utf-8",
        ] {
            assert_eq!(parse(value), ContentType::Json, "{value}");
        }
    }

    #[test]
    fn json_with_anything_else_is_unsupported() {
        for parameters in [
            ";",
            "; ",
            ";;charset=utf-8",
            ";  charset=utf-8",
            ";\tcharset=utf-8",
            " ; charset=utf-8",
            "; charset=utf-8;",
            "; charset",
            "; charset=",
            "; charset=\"\"",
            "; charset=utf-16",
            "; charset=utf-7",
            "; charset=latin1",
            "; charset = utf-8",
            "; charset='utf-8'",
            "; charset=\"utf-8",
            "; charset=\"utf\\-8\"",
            "; charset*=utf-7",
            "; charset*=utf-8''utf-8",
            "; charset*=utf-8''utf-7",
            "; charset*0=utf-7",
            "; charset=utf-8; charset=utf-7",
            "; charset=utf-8; charset*=utf-7",
            "; profile=\"x\"",
            "; odata.metadata=minimal; charset=utf-8",
            ", application/json",
            ", text/plain; charset=utf-8",
        ] {
            let value = format!("application/json{parameters}");
            let parsed = parse(&value);
            assert!(matches!(parsed, ContentType::Unsupported(_)), "{value}");
        }
    }

    #[test]
    fn other_media_types_are_unsupported() {
        for value in [
            "text/json",
            "application/jsonx",
            "application/x, y+json",
            "application/+json/x",
            "application/a/b+json",
            "application/x;a=+json",
            "json",
            ";",
            "; charset=utf-8",
            "\u{e9}",
            "application/x-www-form-urlencoded",
            "multipart/mixed; boundary=xyz",
            "x multipart/form-data; boundary=xyz",
        ] {
            let parsed = parse(value);
            assert!(matches!(parsed, ContentType::Unsupported(_)), "{value}");
        }
    }

    #[test]
    fn empty_value_is_absent() {
        assert_eq!(parse(""), ContentType::Absent);
        assert_eq!(parse(" "), ContentType::Absent);
    }

    #[test]
    fn form_has_one_boundary_quoted_or_a_token() {
        for (parameter, boundary) in [
            ("; boundary=xyz", "xyz"),
            (";boundary=xyz", "xyz"),
            ("; boundary=\"xyz\"", "xyz"),
            ("; boundary=----Web+Kit_Form.0", "----Web+Kit_Form.0"),
            ("; boundary=\"_(a/b:c?d)\"", "_(a/b:c?d)"),
        ] {
            let parsed = parse(&format!("multipart/form-data{parameter}"));
            let expected = ContentType::Multipart(Ok(boundary.into()));
            assert_eq!(parsed, expected, "{parameter}");
        }
    }

    #[test]
    fn any_other_form_is_unusable() {
        for value in [
            "multipart/form-data",
            "multipart/form-data;",
            "multipart/form-data; ",
            "multipart/form-data; charset=utf-8",
            "Multipart/Form-Data; boundary=xyz",
            "multipart/form-Data; boundary=xyz",
            "multipart/form-data, x; boundary=xyz",
            "multipart/form-data2; boundary=xyz",
            "multipart/form-data ; boundary=xyz",
            "multipart/form-data;  boundary=xyz",
            "multipart/form-data;\tboundary=xyz",
            "multipart/form-data;; boundary=xyz",
            "multipart/form-data; boundary=xyz;",
            "multipart/form-data; boundary=xyz; charset=utf-8",
            "multipart/form-data; charset=utf-8; boundary=xyz",
            "multipart/form-data; boundary=xyz; boundary=xyz",
            "multipart/form-data; boundary=\"xyz\"; x=\"y\"",
            "multipart/form-data; xboundary=xyz",
            "multipart/form-data; BOUNDARY=xyz",
            "multipart/form-data; boundary =xyz",
            "multipart/form-data; boundary= xyz",
            "multipart/form-data; boundary*=utf-8''xyz",
            "multipart/form-data; boundary*0=xyz",
            "multipart/form-data; boundary=x,yz",
            "multipart/form-data; boundary=x yz",
            "multipart/form-data; boundary=x/yz",
            "multipart/form-data; boundary=\"BOUNDARY=xyz\"",
            "multipart/form-data; boundary=\"xyz",
            "multipart/form-data; boundary=xyz\"",
            "multipart/form-data; boundary=\"",
            "multipart/form-data; boundary=\"x\"yz",
            "multipart/form-data; boundary=\"\u{e9}\"",
            "multipart/form-data; boundary=\u{e9}",
        ] {
            let parsed = parse(value);
            // The rest of what a boundary may not be is the scanner's.
            let is_refused = match &parsed {
                ContentType::Multipart(Ok(boundary)) => {
                    model_scan::ModelScanner::multipart(boundary).is_err()
                }
                ContentType::Multipart(Err(_)) => true,
                _ => false,
            };
            assert!(is_refused, "{value}: {parsed:?}");
        }
    }

    #[test]
    fn value_that_is_not_ascii_is_of_its_type() {
        for (value, is_form) in [
            (b"multipart/form-data; boundary=\xff".as_slice(), true),
            (b"application/json; charset=\xff", false),
        ] {
            let value = HeaderValue::from_bytes(value).unwrap();
            let parsed = ContentType::parse(&HeaderMap::from_iter([(CONTENT_TYPE, value)]));
            match parsed {
                ContentType::Multipart(Err(_)) => assert!(is_form),
                ContentType::Unsupported(_) => assert!(!is_form),
                _ => panic!("{parsed:?}"),
            }
        }
    }
}
