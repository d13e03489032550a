//! Decides by the head of a request whether and how its body is inspected.

use http::{HeaderMap, Method, header::CONTENT_ENCODING, request::Parts};

use super::{EndpointTable, Target, content_type::ContentType};
use crate::response::Rejection;

/// The handling of a request, decided by its head.
#[derive(Debug)]
pub(crate) enum Inspection {
    /// Forwards it unchanged.
    Pass,
    /// Looks for the model in its body.
    Inspect(Target, BodyFormat),
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

pub(crate) fn inspect(head: &Parts, endpoints: &EndpointTable) -> Inspection {
    if head.method != Method::POST {
        return Inspection::Pass;
    }
    let target = endpoints.find(head.uri.path());
    let needs_model = target.endpoint.is_inference();
    let format = match ContentType::parse(&head.headers) {
        ContentType::Json => BodyFormat::Json,
        ContentType::Absent if needs_model => BodyFormat::Json,
        ContentType::Multipart(boundary) if target.accepts_multipart => match boundary {
            Ok(boundary) => BodyFormat::Multipart { boundary },
            Err(reason) => {
                return Inspection::Reject(target, Rejection::unusable_boundary(&reason));
            }
        },
        ContentType::Unsupported(reason) if needs_model => {
            return Inspection::Reject(target, Rejection::unsupported_media_type(&reason));
        }
        ContentType::Absent | ContentType::Multipart(_) | ContentType::Unsupported(_) => {
            return Inspection::Pass;
        }
    };
    match content_coding(&head.headers) {
        None => Inspection::Inspect(target, format),
        Some(coding) => {
            Inspection::Reject(target, Rejection::unsupported_content_encoding(&coding))
        }
    }
}

/// Returns the first content coding that is not `identity` (RFC 9110, 8.4).
fn content_coding(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        .map(|coding| String::from_utf8_lossy(coding).into_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    const CHAT: &str = "/v1/chat/completions?model=x";
    const OTHER: &str = "/v1/files";

    /// Returns the inspection in a word.
    fn inspection(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        word(inspect(&head, &EndpointTable::default()))
    }

    fn word(inspection: Inspection) -> String {
        match inspection {
            Inspection::Pass => "pass".into(),
            Inspection::Inspect(_, BodyFormat::Json) => "json".into(),
            Inspection::Inspect(_, BodyFormat::Multipart { boundary }) => {
                format!("multipart {}", String::from_utf8(boundary).unwrap())
            }
            Inspection::Reject(_, rejection) => rejection.code().as_str().into(),
        }
    }

    #[test]
    fn inspects_post_only() {
        let json = [("content-type", "application/json")];
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "post"] {
            assert_eq!(inspection(method, CHAT, &json), "pass", "{method}");
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
            let on_other = inspection("POST", OTHER, &headers);
            assert_eq!(on_other, elsewhere, "{content_type}");
        }
        let form = ("content-type", "multipart/form-data; boundary=b");
        let on_images = inspection("POST", "/v1/images/edits", &[form]);
        assert_eq!(on_images, "multipart b");
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
            assert_eq!(word(inspect(&head, &EndpointTable::default())), expected);
        }
        assert_eq!(inspection("POST", OTHER, &[]), "pass");
    }

    #[test]
    fn encoded_body_is_rejected_only_if_inspected() {
        let json = ("content-type", "application/json");
        for (coding, expected) in [
            ("gzip", "unsupported_content_encoding"),
            ("identity, br", "unsupported_content_encoding"),
            ("Identity", "json"),
            ("", "json"),
        ] {
            let headers = [json, ("content-encoding", coding)];
            assert_eq!(inspection("POST", OTHER, &headers), expected, "{coding}");
        }
        let gzip = [("content-encoding", "gzip")];
        assert_eq!(inspection("POST", OTHER, &gzip), "pass");
    }
}
