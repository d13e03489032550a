//! Decides by the head of a request whether and how its body is inspected.

use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;

use super::{EndpointTable, Target, content_type::ContentType};
use crate::{
    coding::{Coding, ContentCoding},
    endpoint::OtherPaths,
    response::Rejection,
};

/// The handling of a request, decided by its head.
#[derive(Debug)]
pub(crate) enum Inspection {
    /// Forwards it unchanged.
    Pass,
    /// Looks for the model in its body, decoded from this content coding.
    Inspect(Target, BodyFormat, Option<Coding>),
    /// Rejects it, because its model cannot be found.
    Reject(Target, Rejection),
}

/// The format of a request body that is inspected.
#[derive(Debug, PartialEq)]
pub(crate) enum BodyFormat {
    Json,
    /// `multipart/form-data` with this boundary.
    Multipart {
        boundary: Vec<u8>,
    },
}

pub(crate) fn inspect(
    head: &Parts,
    endpoints: &EndpointTable,
    other_paths: OtherPaths,
) -> Inspection {
    if names_no_model(&head.method) {
        return Inspection::Pass;
    }
    let target = endpoints.find(head.uri.path());
    if head.method != Method::POST && !target.endpoint.is_inference() {
        return Inspection::Pass;
    }
    if target.is_strict {
        return match strict_format(head) {
            Ok((format, coding)) => Inspection::Inspect(target, format, coding),
            Err(rejection) => Inspection::Reject(target, rejection),
        };
    }
    let is_read = other_paths == OtherPaths::Inspect
        && ContentType::parse(&head.headers) == ContentType::Json
        // An encoded body could not go on unchanged.
        && ContentCoding::of(&head.headers) == ContentCoding::Identity;
    if is_read {
        Inspection::Inspect(target, BodyFormat::Json, None)
    } else {
        Inspection::Pass
    }
}

/// Returns `true` if no request of this method asks for inference by its body.
fn names_no_model(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::OPTIONS
            | Method::DELETE
            | Method::TRACE
            | Method::CONNECT
    )
}

/// Returns the format and the coding of a body that must be valid, or rejects a request that
/// servers may read differently.
fn strict_format(head: &Parts) -> Result<(BodyFormat, Option<Coding>), Rejection> {
    let method = &head.method;
    if method != Method::POST && method.as_str().eq_ignore_ascii_case("POST") {
        return Err(Rejection::ambiguous_method(method.as_str()));
    }
    if head.uri.query().is_some_and(names_model) {
        return Err(Rejection::model_in_query());
    }
    let format = match ContentType::parse(&head.headers) {
        ContentType::Json | ContentType::Absent => BodyFormat::Json,
        ContentType::Multipart(Ok(boundary)) => BodyFormat::Multipart { boundary },
        ContentType::Multipart(Err(reason)) => return Err(Rejection::unusable_boundary(&reason)),
        ContentType::Unsupported(reason) => return Err(Rejection::unsupported_media_type(&reason)),
    };
    match ContentCoding::of(&head.headers) {
        ContentCoding::Identity => Ok((format, None)),
        ContentCoding::Supported(coding) => Ok((format, Some(coding))),
        ContentCoding::Unsupported(coding) => Err(Rejection::unsupported_content_encoding(&coding)),
    }
}

/// Returns `true` if some server reads a `model` from this query, which it may prefer to the
/// body's.
fn names_model(query: &str) -> bool {
    query.split(['&', ';']).any(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        // PHP ends the name at a NUL; it, Rails and qs take `model[x]` for an object `model`, and
        // qs takes `[model]` for `model`.
        let root = name
            .split(['[', ']', '\0'])
            .map(|part| part.trim_matches(|c: char| c == '+' || c.is_whitespace()))
            .find(|part| !part.is_empty());
        // ASP.NET ignores case.
        root.is_some_and(|root| root.eq_ignore_ascii_case("model"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    const CHAT: &str = "/v1/chat/completions";
    const IMAGES: &str = "/v1/images/edits";
    const OTHER: &str = "/v1/files?model=x";
    const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

    /// Returns the inspection in a word.
    fn inspection(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        word(inspect(
            &head,
            &EndpointTable::default(),
            OtherPaths::Inspect,
        ))
    }

    fn word(inspection: Inspection) -> String {
        match inspection {
            Inspection::Pass => "pass".into(),
            Inspection::Inspect(_, _, Some(_)) => "decoded".into(),
            Inspection::Inspect(_, BodyFormat::Json, None) => "json".into(),
            Inspection::Inspect(_, BodyFormat::Multipart { boundary }, None) => {
                format!("multipart {}", String::from_utf8(boundary).unwrap())
            }
            Inspection::Reject(_, rejection) => rejection.code().as_str().into(),
        }
    }

    #[test]
    fn method_decides() {
        for (method, on_inference, elsewhere) in [
            ("POST", "json", "json"),
            ("PUT", "json", "pass"),
            ("PATCH", "json", "pass"),
            ("QUERY", "json", "pass"),
            // Some servers take it for POST.
            ("post", "ambiguous_model", "pass"),
            ("GET", "pass", "pass"),
            ("HEAD", "pass", "pass"),
            ("OPTIONS", "pass", "pass"),
            ("DELETE", "pass", "pass"),
            ("TRACE", "pass", "pass"),
            ("CONNECT", "pass", "pass"),
        ] {
            assert_eq!(inspection(method, CHAT, &JSON), on_inference, "{method}");
            for path in [OTHER, IMAGES] {
                assert_eq!(
                    inspection(method, path, &JSON),
                    elsewhere,
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn model_in_the_query_is_ambiguous() {
        for query in [
            "model=x",
            "model",
            "a=b&model=x",
            "a=b;model=x",
            "MODEL=x",
            "mod%65l=x",
            "+model=x",
            "%20model%20=x",
            "model%00y=x",
            "model[]=x",
            "model%5Bname%5D=x",
            "[model]=x",
        ] {
            let code = inspection("POST", &format!("{CHAT}?{query}"), &JSON);
            assert_eq!(code, "ambiguous_model", "{query}");
            let get = inspection("GET", &format!("{CHAT}?{query}"), &[]);
            assert_eq!(get, "pass", "{query}");
        }
        for query in [
            "",
            "api-version=2024-10-21",
            "models=x",
            "a=model",
            "a[model]=x",
            "x-model=y",
            "m%6=x",
        ] {
            let found = inspection("POST", &format!("{CHAT}?{query}"), &JSON);
            assert_eq!(found, "json", "{query}");
        }
    }

    #[test]
    fn other_paths_can_pass_unread() {
        for (path, expected) in [(OTHER, "pass"), (IMAGES, "json"), (CHAT, "json")] {
            let request = Request::post(path).header("content-type", "application/json");
            let (head, ()) = request.body(()).unwrap().into_parts();
            let found = inspect(&head, &EndpointTable::default(), OtherPaths::Pass);
            assert_eq!(word(found), expected, "{path}");
        }
    }

    #[test]
    fn content_type_decides() {
        const UNSUPPORTED: &str = "unsupported_media_type";
        const BAD_FORM: &str = "invalid_multipart";

        for (content_type, on_inference, elsewhere) in [
            ("application/json", "json", "json"),
            ("Application/JSON; charset=utf-8", "json", "json"),
            ("", "json", "pass"),
            ("multipart/form-data; boundary=xyz", "multipart xyz", "pass"),
            ("multipart/form-data", BAD_FORM, "pass"),
            ("application/json; charset=utf-16", UNSUPPORTED, "pass"),
            ("text/json", UNSUPPORTED, "pass"),
        ] {
            let headers = [("content-type", content_type)];
            let on_chat = inspection("POST", CHAT, &headers);
            assert_eq!(on_chat, on_inference, "{content_type}");
            let on_images = inspection("POST", IMAGES, &headers);
            assert_eq!(on_images, on_inference, "{content_type}");
            let on_other = inspection("POST", OTHER, &headers);
            assert_eq!(on_other, elsewhere, "{content_type}");
        }
    }

    #[test]
    fn content_type_must_be_one_ascii_value_or_absent() {
        const NAME: HeaderName = http::header::CONTENT_TYPE;

        let json = || HeaderValue::from_static("application/json");
        for (values, expected) in [
            (vec![], "json"),
            (vec![json(), json()], "unsupported_media_type"),
            (
                vec![HeaderValue::from_bytes(b"application/json\xff").unwrap()],
                "unsupported_media_type",
            ),
        ] {
            let mut request = Request::post("/v1/embeddings").body(()).unwrap();
            for value in values {
                request.headers_mut().append(NAME, value);
            }
            let (head, ()) = request.into_parts();
            assert_eq!(
                word(inspect(
                    &head,
                    &EndpointTable::default(),
                    OtherPaths::Inspect
                )),
                expected
            );
        }
        assert_eq!(inspection("POST", OTHER, &[]), "pass");
    }

    #[test]
    fn encoded_body_is_decoded_or_rejected_only_where_it_must_be_valid() {
        const UNSUPPORTED: &str = "unsupported_content_encoding";
        const SUPPORTED: &str = if cfg!(feature = "decompression") {
            "decoded"
        } else {
            UNSUPPORTED
        };

        for (coding, strict, elsewhere) in [
            ("gzip", SUPPORTED, "pass"),
            ("compress", UNSUPPORTED, "pass"),
            ("identity, br", UNSUPPORTED, "pass"),
            ("Identity", "json", "json"),
            ("", "json", "json"),
        ] {
            let headers = [JSON[0], ("content-encoding", coding)];
            for (path, expected) in [(CHAT, strict), (IMAGES, strict), (OTHER, elsewhere)] {
                assert_eq!(inspection("POST", path, &headers), expected, "{coding}");
            }
        }
    }
}
