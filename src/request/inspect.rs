//! Which requests are inspected, and how: head → decision. Pure.

use http::{
    HeaderMap, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};

use super::{EndpointTable, Target};
use crate::{headers::is_json, response::Rejection, text::sanitize_for_log};

/// What the head of a request asks of us.
#[derive(Debug)]
pub(crate) enum Inspection {
    /// Not ours: pass it on untouched.
    Pass,
    /// Find the model in the body.
    Inspect(Target, BodyFormat),
    /// Refuse it: its model cannot be found.
    Refuse(Target, Rejection),
}

/// How the body spells its model.
#[derive(Debug, PartialEq)]
pub(crate) enum BodyFormat {
    Json,
    /// `multipart/form-data` with this boundary.
    Multipart {
        boundary: Vec<u8>,
    },
}

pub(crate) fn inspect(head: &Parts, endpoints: &EndpointTable) -> Inspection {
    if head.method != Method::POST {
        return Inspection::Pass;
    }
    let target = endpoints.find(head.uri.path());
    let needs_model = target.endpoint.is_inference();
    let format = match media(&head.headers) {
        ContentType::Json => BodyFormat::Json,
        ContentType::Absent if needs_model => BodyFormat::Json,
        ContentType::Multipart(boundary) if target.accepts_multipart => match boundary {
            Ok(boundary) => BodyFormat::Multipart { boundary },
            Err(why) => return Inspection::Refuse(target, Rejection::bad_form_type(&why)),
        },
        ContentType::Unusable(why) if needs_model => {
            return Inspection::Refuse(target, Rejection::unsupported_media_type(why));
        }
        ContentType::Absent | ContentType::Multipart(_) | ContentType::Unusable(_) => {
            return Inspection::Pass;
        }
    };
    match coding(&head.headers) {
        None => Inspection::Inspect(target, format),
        Some(coding) => {
            Inspection::Refuse(target, Rejection::unsupported_content_encoding(&coding))
        }
    }
}

/// What the `Content-Type` says of the body.
#[derive(Debug, PartialEq)]
enum ContentType {
    Absent,
    Json,
    /// A form with this boundary, or why it has none.
    Multipart(Result<Vec<u8>, String>),
    /// A type in which no model can be found, and why.
    Unusable(String),
}

fn media(headers: &HeaderMap) -> ContentType {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return ContentType::Absent;
    };
    if values.next().is_some() {
        // Two parsers could believe one each.
        return ContentType::Unusable("the request has more than one Content-Type".into());
    }
    if value == "application/json" {
        // The usual case.
        return ContentType::Json;
    }
    let Ok(value) = value.to_str() else {
        return ContentType::Unusable("the Content-Type is not ASCII".into());
    };
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let essence = essence.trim();
    if essence.is_empty() {
        return ContentType::Absent;
    }
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return ContentType::Multipart(boundary(parameters));
    }
    if !is_json(essence) {
        let essence = essence.to_ascii_lowercase();
        return ContentType::Unusable(format!(
            "the Content-Type is {:?}",
            sanitize_for_log(&essence)
        ));
    }
    match parse_parameters(parameters).and_then(|parameters| check_charset(&parameters)) {
        Ok(()) => ContentType::Json,
        Err(why) => ContentType::Unusable(why),
    }
}

/// The boundary of a form, from the parameters of its Content-Type.
fn boundary(parameters: &str) -> Result<Vec<u8>, String> {
    let mut parameters = parse_parameters(parameters)?;
    // Servers decode the names and values of parts by it.
    check_charset(&parameters)?;
    parameters.retain(|(name, _)| name != "charset");
    match (parameters.pop(), parameters.is_empty()) {
        (Some((name, boundary)), true) if name == "boundary" => Ok(boundary),
        (None, _) => Err("there is no boundary parameter".into()),
        // formidable takes whatever looks like `boundary=` first, be it in
        // another parameter.
        _ => Err("there are parameters other than one boundary".into()),
    }
}

fn check_charset(parameters: &[(String, Vec<u8>)]) -> Result<(), String> {
    // UTF-8, or a part of it.
    let known = ["utf-8", "utf8", "us-ascii", "ascii"];
    for (name, charset) in parameters {
        if name == "charset"
            && !known
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known.as_bytes()))
        {
            return Err(format!(
                "the charset is {:?}",
                sanitize_for_log(&String::from_utf8_lossy(charset))
            ));
        }
    }
    Ok(())
}

/// The first content coding that is not `identity` (RFC 9110, 8.4).
fn coding(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        .map(|coding| String::from_utf8_lossy(coding).into_owned())
}

/// Every parameter's name, in lower case, and unquoted value (RFC 9110,
/// 5.6.6). Malformed ones are an error: parsers read them differently.
fn parse_parameters(text: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut parameters = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Ok(parameters);
        }
        let Some((name, value, after)) = parameter(rest) else {
            return Err(format!(
                "the parameters {:?} are malformed",
                sanitize_for_log(text)
            ));
        };
        parameters.push((name.to_ascii_lowercase(), value));
        rest = after;
    }
}

/// The name and value of the parameter at the beginning, and what follows it.
fn parameter(text: &str) -> Option<(&str, Vec<u8>, &str)> {
    let (name, rest) = text.split_once('=')?;
    let (value, rest) = parameter_value(rest)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let ends = rest.is_empty() || rest.starts_with(';');
    (is_token(name) && ends).then_some((name, value, rest))
}

/// The token or quoted-string at the beginning, and what follows it.
fn parameter_value(text: &str) -> Option<(Vec<u8>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return is_token(token).then(|| (token.into(), rest));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.bytes().enumerate();
    loop {
        match bytes.next()? {
            (at, b'"') => return Some((value, &quoted[at + 1..])),
            (_, b'\\') => value.push(bytes.next()?.1),
            (_, byte) => value.push(byte),
        }
    }
}

fn is_token(text: &str) -> bool {
    let is_token_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token_char)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// The decision in a word.
    fn decide(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        match inspect(&head, &EndpointTable::default()) {
            Inspection::Pass => "pass".into(),
            Inspection::Inspect(_, BodyFormat::Json) => "json".into(),
            Inspection::Inspect(_, BodyFormat::Multipart { boundary }) => {
                format!("multipart {}", String::from_utf8(boundary).unwrap())
            }
            Inspection::Refuse(_, rejection) => rejection.code().as_str().into(),
        }
    }

    #[test]
    fn only_post_is_inspected() {
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "post"] {
            let json = ("content-type", "application/json");
            assert_eq!(
                decide(method, "/v1/chat/completions", &[json]),
                "pass",
                "{method}"
            );
        }
    }

    #[test]
    fn the_content_type_decides() {
        let unsupported = "unsupported_media_type";
        for (content_type, on_inference, elsewhere) in [
            ("application/json", "json", "json"),
            ("Application/JSON; charset=utf-8", "json", "json"),
            ("application/json;charset=\"UTF-8\"", "json", "json"),
            ("application/json; charset=us-ascii", "json", "json"),
            (
                "application/json; a=\"x;charset=utf-16\"; charset=utf-8",
                "json",
                "json",
            ),
            ("application/vnd.api+json", "json", "json"),
            ("application/problem+JSON;v=1", "json", "json"),
            ("", "json", "pass"),
            ("multipart/form-data; boundary=xyz", "multipart xyz", "pass"),
            (
                "Multipart/Form-Data; Boundary=\"a b\\\\\\\"c;\"; charset=utf-8",
                "multipart a b\\\"c;",
                "pass",
            ),
            ("multipart/form-data", "invalid_multipart", "pass"),
            (
                "multipart/form-data; boundary=a; boundary=b",
                "invalid_multipart",
                "pass",
            ),
            (
                "multipart/form-data; boundary=a; charset=utf-7",
                "invalid_multipart",
                "pass",
            ),
            (
                "multipart/form-data; xboundary=b; boundary=a",
                "invalid_multipart",
                "pass",
            ),
            (
                "multipart/form-data; boundary=\"a\"b",
                "invalid_multipart",
                "pass",
            ),
            ("application/json; charset=utf-16", unsupported, "pass"),
            ("application/json; charset", unsupported, "pass"),
            ("application/json; charset=\"utf-8", unsupported, "pass"),
            ("application/json; charset = utf-8", unsupported, "pass"),
            ("application/json; a[=b", unsupported, "pass"),
            ("application/json; a=b[", unsupported, "pass"),
            ("application/json; =b", unsupported, "pass"),
            ("application/json; a=", unsupported, "pass"),
            ("application/json; a=\"b\"c=d", unsupported, "pass"),
            (
                "application/json; charset=utf-8; charset=latin1",
                unsupported,
                "pass",
            ),
            ("text/json", unsupported, "pass"),
            ("text/plain", unsupported, "pass"),
            ("application/jsonx", unsupported, "pass"),
            ("json", unsupported, "pass"),
            ("application/x-www-form-urlencoded", unsupported, "pass"),
        ] {
            let headers = [("content-type", content_type)];
            let decision = decide("POST", "/v1/chat/completions?model=x", &headers);
            assert_eq!(decision, on_inference, "{content_type}");
            assert_eq!(
                decide("POST", "/v1/files", &headers),
                elsewhere,
                "{content_type}"
            );
        }
        let form = ("content-type", "multipart/form-data; boundary=b");
        assert_eq!(decide("POST", "/v1/images/edits", &[form]), "multipart b");
        assert_eq!(decide("POST", "/v1/embeddings", &[]), "json");
        assert_eq!(decide("POST", "/v1/files", &[]), "pass");
    }

    #[test]
    fn a_form_without_a_boundary_is_told_from_one_with_more() {
        for (parameters, why) in [
            ("", "there is no boundary parameter"),
            ("charset=utf-8", "there is no boundary parameter"),
            ("x=y", "there are parameters other than one boundary"),
            (
                "boundary=a;x=y",
                "there are parameters other than one boundary",
            ),
        ] {
            assert_eq!(boundary(parameters), Err(why.into()), "{parameters}");
        }
    }

    #[test]
    fn two_content_types_are_refused_where_a_model_is_needed() {
        let headers = [
            ("content-type", "text/plain"),
            ("content-type", "application/json"),
        ];
        assert_eq!(
            decide("POST", "/v1/embeddings", &headers),
            "unsupported_media_type"
        );
    }

    #[test]
    fn an_encoded_body_is_refused_only_where_it_would_be_inspected() {
        let json = ("content-type", "application/json");
        for (coding, expected) in [
            ("gzip", "unsupported_content_encoding"),
            ("identity, br", "unsupported_content_encoding"),
            ("Identity", "json"),
            ("", "json"),
        ] {
            let headers = [json, ("content-encoding", coding)];
            assert_eq!(decide("POST", "/v1/files", &headers), expected, "{coding}");
        }
        assert_eq!(
            decide("POST", "/v1/files", &[("content-encoding", "gzip")]),
            "pass"
        );
    }
}
