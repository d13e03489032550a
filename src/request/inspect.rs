//! Decides by the head of a request whether and how its body is inspected.

use http::{Method, Uri, request::Parts};
use percent_encoding::percent_decode_str;

use super::{
    EndpointTable, Target, UriModel, UriTemplates,
    content_type::ContentType,
    uri_template::{UriMatch, UriTemplate, parameters},
};
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
    /// Resolves the model that its URI or its body names.
    Inspect(Inspected),
    /// Rejects it, because its model cannot be found.
    Reject(Target, Rejection),
}

/// The places of the model in a request that is inspected.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) target: Target,
    /// The model in the URI, which one in the body must agree with.
    pub(crate) uri_model: Option<UriModel>,
    pub(crate) format: BodyFormat,
    /// The content coding that the body is decoded from.
    pub(crate) coding: Option<Coding>,
}

/// The format of a request body.
#[derive(Debug, PartialEq)]
pub(crate) enum BodyFormat {
    /// Any: the body is not read, because the URI names the model.
    Unread,
    Json,
    /// `multipart/form-data` with this boundary.
    Multipart {
        boundary: Vec<u8>,
    },
}

pub(crate) fn inspect(
    head: &Parts,
    endpoints: &EndpointTable,
    templates: &UriTemplates,
    other_paths: OtherPaths,
) -> Inspection {
    let has_body = !names_no_model(&head.method);
    if !has_body && head.method != Method::GET {
        return Inspection::Pass;
    }
    if let Some((template, found)) = templates.find(&head.uri, has_body)
        && let Some(inspection) = inspect_named(head, endpoints, template, found)
    {
        return inspection;
    }
    if !has_body {
        return Inspection::Pass;
    }
    let target = endpoints.find(head.uri.path());
    if head.method != Method::POST && !target.endpoint.is_inference() {
        return Inspection::Pass;
    }
    if target.is_strict {
        return inspect_as(head, target, None, strict_format);
    }
    let is_read = other_paths == OtherPaths::Inspect
        && ContentType::parse(&head.headers) == ContentType::Json
        // An encoded body could not go on unchanged.
        && ContentCoding::of(&head.headers) == ContentCoding::Identity;
    if is_read {
        Inspection::Inspect(Inspected {
            target,
            uri_model: None,
            format: BodyFormat::Json,
            coding: None,
        })
    } else {
        Inspection::Pass
    }
}

/// Decides for a request whose URI fits a template: the template says which model and endpoint it
/// asks for, and the table whether its body is read. Returns `None` where a hidden model does no
/// harm.
fn inspect_named(
    head: &Parts,
    endpoints: &EndpointTable,
    template: &UriTemplate,
    found: UriMatch,
) -> Option<Inspection> {
    let row = endpoints.find(head.uri.path());
    let target = template.target.unwrap_or(row);
    let target = Target {
        is_strict: row.is_strict || target.is_strict,
        event_model_parent: row.event_model_parent,
        dialect: row.dialect,
        ..target
    };
    let model = match found {
        UriMatch::Model(model) => model,
        UriMatch::Repeated => {
            return Some(Inspection::Reject(target, Rejection::repeated_parameter()));
        }
        UriMatch::Hidden => {
            let rejection = || Inspection::Reject(target, Rejection::model_hidden_in_path());
            return target.is_strict.then(rejection);
        }
    };
    // Of a path that is in no row JSON names the model too, as that of Azure's images.
    let is_read = row.is_strict
        || template.target.is_none() && ContentType::parse(&head.headers) == ContentType::Json;
    if !is_read || names_no_model(&head.method) {
        let unread = |_: &Parts| Ok((BodyFormat::Unread, None));
        return Some(inspect_as(head, target, Some(model), unread));
    }
    let target = Target {
        is_strict: true,
        ..target
    };
    Some(inspect_as(head, target, Some(model), strict_format))
}

/// Decides for a request that is rejected if servers may read it differently.
fn inspect_as(
    head: &Parts,
    target: Target,
    uri_model: Option<UriModel>,
    format: impl FnOnce(&Parts) -> Result<(BodyFormat, Option<Coding>), Rejection>,
) -> Inspection {
    let checked = check_request_line(head, uri_model.as_ref());
    match checked.and_then(|()| format(head)) {
        Ok((format, coding)) => Inspection::Inspect(Inspected {
            target,
            uri_model,
            format,
            coding,
        }),
        Err(rejection) => Inspection::Reject(target, rejection),
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

/// Rejects a method, and a query beside the body or this model, that servers may read differently.
fn check_request_line(head: &Parts, uri_model: Option<&UriModel>) -> Result<(), Rejection> {
    let method = &head.method;
    if method != Method::POST && method.as_str().eq_ignore_ascii_case("POST") {
        return Err(Rejection::ambiguous_method(method.as_str()));
    }
    if names_other_model(&head.uri, uri_model) {
        return Err(Rejection::model_in_query());
    }
    Ok(())
}

/// Returns the format and the coding of a body that must be valid, or rejects one that servers may
/// read differently.
fn strict_format(head: &Parts) -> Result<(BodyFormat, Option<Coding>), Rejection> {
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

/// Returns `true` if some server reads a `model` from the query, which it may prefer to the body's
/// or to this one.
fn names_other_model(uri: &Uri, uri_model: Option<&UriModel>) -> bool {
    let mut parameters = uri.query().into_iter().flat_map(parameters);
    // The query follows a `?`.
    let offset = uri.path().len() + 1;
    parameters.any(|(name, value)| {
        if uri_model.is_some_and(|model| model.is_at(value.start + offset)) {
            return false;
        }
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
    use crate::endpoint::Endpoint;

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
            &UriTemplates::default(),
            OtherPaths::Inspect,
        ))
    }

    fn word(inspection: Inspection) -> String {
        match inspection {
            Inspection::Pass => "pass".into(),
            Inspection::Reject(_, rejection) => rejection.code().as_str().into(),
            Inspection::Inspect(Inspected {
                coding: Some(_), ..
            }) => "decoded".into(),
            Inspection::Inspect(Inspected { format, .. }) => match format {
                BodyFormat::Unread => "unread".into(),
                BodyFormat::Json => "json".into(),
                BodyFormat::Multipart { boundary } => {
                    format!("multipart {}", String::from_utf8(boundary).unwrap())
                }
            },
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
            let found = inspect(
                &head,
                &EndpointTable::default(),
                &UriTemplates::default(),
                OtherPaths::Pass,
            );
            assert_eq!(word(found), expected, "{path}");
        }
    }

    #[test]
    fn model_in_the_uri_decides_by_template_and_row() {
        const IN_BODY_TOO: [&str; 5] = [
            "/openai/deployments/m/chat/completions?api-version=1",
            "/api/openai/deployments/m/embeddings",
            "/openai/deployments/m/audio/transcriptions",
            "/openai/deployments/m/images/edits",
            "/v1/engines/m/completions",
        ];
        const UNREAD: [&str; 11] = [
            "/openai/deployments/m/images/generations",
            "/v1/engines/m/search",
            "/v1beta/models/m:generateContent",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            "/v1beta/models/m:countTokens",
            "/v1beta/models/m:embedContent",
            "/v1beta/models/m:batchEmbedContents",
            "/v1/projects/p/locations/l/publishers/google/models/m:predict",
            "/v1/models/m:rawPredict",
            "/v1/models/m:streamRawPredict",
            "/v1/realtime?model=m",
        ];
        for path in IN_BODY_TOO {
            for method in ["POST", "PUT"] {
                assert_eq!(inspection(method, path, &JSON), "json", "{path}");
            }
            assert_eq!(inspection("GET", path, &JSON), "pass", "{path}");
        }
        for path in UNREAD {
            for method in ["POST", "PUT"] {
                assert_eq!(inspection(method, path, &[]), "unread", "{path}");
            }
            let is_realtime = path.contains("realtime");
            let get = if is_realtime { "unread" } else { "pass" };
            assert_eq!(inspection("GET", path, &[]), get, "{path}");
            assert_eq!(inspection("HEAD", path, &[]), "pass", "{path}");
        }
        // Azure's images name the model in the body, too.
        let images = "/openai/deployments/m/images/generations";
        assert_eq!(inspection("POST", images, &JSON), "json");
        for (method, path) in [
            ("POST", "/openai/deployments/m/chat/completions?model=m"),
            ("post", "/openai/deployments/m/chat/completions"),
            ("POST", "/v1beta/models/m:generateContent?model=n"),
            ("post", "/v1beta/models/m:generateContent"),
            ("GET", "/v1/realtime?model=m&model=n"),
            ("GET", "/v1/realtime?model=m&Model=n"),
            // Some servers read the model before or after the `%2F`.
            ("POST", "/v1/engines/;p%2Fm/completions"),
            ("POST", "/v1/models/m:generateContent;p%2Fq"),
        ] {
            let code = inspection(method, path, &JSON);
            assert_eq!(code, "ambiguous_model", "{method} {path}");
        }
        // Elsewhere that does no harm.
        for (method, path, expected) in [
            ("POST", "/files/engines%2Fm/x", "json"),
            ("PUT", "/files/engines%2Fm/x", "pass"),
            ("GET", "/realtime;p%2Fx?model=m", "pass"),
        ] {
            assert_eq!(inspection(method, path, &JSON), expected, "{path}");
        }
    }

    #[test]
    fn template_sets_the_endpoint_or_leaves_it_to_the_table() {
        for (path, endpoint, operation) in [
            (
                "/openai/deployments/m/chat/completions",
                Endpoint::Llm,
                "chat",
            ),
            (
                "/openai/deployments/m/embeddings",
                Endpoint::Embedding,
                "embeddings",
            ),
            (
                "/openai/deployments/m/images/generations",
                Endpoint::Other,
                "other",
            ),
            ("/engines/m/completions", Endpoint::Llm, "text_completion"),
            (
                "/models/m:generateContent",
                Endpoint::Llm,
                "generate_content",
            ),
            (
                "/models/m:streamGenerateContent",
                Endpoint::Llm,
                "generate_content",
            ),
            ("/models/m:countTokens", Endpoint::Llm, "count_tokens"),
            ("/models/m:embedContent", Endpoint::Embedding, "embeddings"),
            (
                "/models/m:batchEmbedContents",
                Endpoint::Embedding,
                "embeddings",
            ),
            ("/models/m:predict", Endpoint::Other, "other"),
            ("/models/m:rawPredict", Endpoint::Other, "other"),
            ("/models/m:streamRawPredict", Endpoint::Other, "other"),
            ("/realtime?model=m", Endpoint::Other, "other"),
        ] {
            let (head, ()) = Request::post(path).body(()).unwrap().into_parts();
            let (endpoints, templates) = (EndpointTable::default(), UriTemplates::default());
            let Inspection::Inspect(inspected) =
                inspect(&head, &endpoints, &templates, OtherPaths::Inspect)
            else {
                panic!("{path}")
            };
            assert_eq!(inspected.target.endpoint, endpoint, "{path}");
            assert_eq!(inspected.target.operation, operation, "{path}");
            assert_eq!(
                inspected.target.is_strict,
                endpoint.is_inference(),
                "{path}"
            );
            assert_eq!(inspected.uri_model.unwrap().name, "m", "{path}");
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
                    &UriTemplates::default(),
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
