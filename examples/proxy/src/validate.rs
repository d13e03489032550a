//! Rejects requests whose method, target, host or framing must not be forwarded.

use std::net::Ipv6Addr;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{ALLOW, HOST, TRANSFER_ENCODING},
    uri::Authority,
};

use crate::{body::Body, headers, hop_by_hop::tokens, response};

const STANDARD_METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// Returns the error response to a request that must not be forwarded, or `None` for others.
pub(crate) fn rejection<B>(request: &Request<B>) -> Option<Response<Body>> {
    let path = request.uri().path();
    let bad_request = |code, message| {
        let response = response::error(path, StatusCode::BAD_REQUEST, code, message);
        Some(response)
    };
    match request.method() {
        // TRACE would show the upstream's credentials to the client.
        &Method::CONNECT | &Method::TRACE => Some(method_not_allowed(path)),
        // An upstream may take it for the standard one, which is routed in another way.
        method if is_misspelled(method) => bad_request(
            "invalid_method",
            "Method names are case-sensitive. Send the method in upper case.",
        ),
        _ if !has_path(request.uri()) => bad_request(
            "invalid_request_target",
            "This request target cannot be forwarded. Request a path.",
        ),
        _ if !has_valid_host(request) => bad_request(
            "invalid_host",
            "Send one Host header, with a host name or an IP address, and a port or none.",
        ),
        _ if !is_chunked_or_plain(request.headers()) => Some(response::error(
            path,
            StatusCode::NOT_IMPLEMENTED,
            "unsupported_transfer_encoding",
            "The only supported transfer coding is chunked.",
        )),
        _ if headers::is_loop(request.headers()) => Some(response::error(
            path,
            StatusCode::LOOP_DETECTED,
            "loop_detected",
            "The gateway has forwarded this request before: its upstream leads back to it.",
        )),
        _ => None,
    }
}

fn method_not_allowed(path: &str) -> Response<Body> {
    let mut response = response::error(
        path,
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "The gateway does not forward TRACE and CONNECT.",
    );
    let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// Returns whether the method differs from a standard one only in case.
fn is_misspelled(method: &Method) -> bool {
    let method = method.as_str();
    STANDARD_METHODS
        .iter()
        .any(|standard| method != *standard && method.eq_ignore_ascii_case(standard))
}

/// Returns whether the target is a path or a URL with one. Other targets are `*`, an authority, and
/// URLs such as `http://host?query`.
fn has_path(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|target| target.as_str().starts_with('/'))
}

/// Returns whether the request has one valid host (RFC 9112, 3.2). HTTP/1.0 needs none, and HTTP/2
/// may have it in the URI only.
fn has_valid_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority().map(Authority::as_str);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_host) && authority.is_none_or(is_host),
        (Some(_), Some(_)) => false,
        (None, _) => request.version() != Version::HTTP_11 && authority.is_none_or(is_host),
    }
}

/// Returns whether this is a host name or an IP address, with a port or without.
fn is_host(text: &str) -> bool {
    let (is_valid, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            (!name.is_empty() && name.bytes().all(is_allowed), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => {
            digits.is_empty()
                || digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
        None => port.is_empty(),
    };
    is_valid && is_port
}

/// Returns whether the body has no transfer coding but `chunked`, which hyper decodes.
fn is_chunked_or_plain(headers: &HeaderMap) -> bool {
    let mut codings = tokens(headers, &TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.eq_ignore_ascii_case("chunked"),
        (Some(_), Some(_)) => false,
    }
}
