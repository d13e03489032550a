//! What a proxy changes in the headers that pass it.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, Entry},
    request::Parts,
    uri::Authority,
};

use crate::{
    front,
    hop_by_hop::{remove_hop_by_hop, tokens},
};

/// Who is at the other end of a connection, as `X-Forwarded-For` has it.
#[derive(Clone, Debug)]
pub(crate) struct Client(HeaderValue);

impl Client {
    pub(crate) fn new(address: IpAddr) -> Self {
        let text = address.to_canonical().to_string();
        // Digits, letters, dots and colons are a value.
        let unknown = HeaderValue::from_static("unknown");
        Self(HeaderValue::try_from(text).unwrap_or(unknown))
    }
}

/// Prepares the head of a client's request to be forwarded.
pub(crate) fn prepare_request(head: &mut Parts, client: Client) {
    let host = host(head);
    let headers = &mut head.headers;
    let takes_trailers =
        tokens(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    // The client may not take the ID for its connection's business.
    remove_hop_by_hop(headers, Some(&front::ID));
    // Only this member of TE says something about the client itself.
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // This proxy has met the expectation: it reads the body.
    headers.remove(header::EXPECT);
    join_cookies(headers);
    headers.append(header::VIA, via(head.version));
    add_forwarded(headers, client, host);
}

/// Removes the `Content-Length` of a message that comes in chunks all the same,
/// as who forwards such a message must (RFC 9112, 6.3).
pub(crate) fn remove_overridden_length(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// What a gateway must say of itself (RFC 9110, 7.6.3), so that a loop shows.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2 tower-model-routing",
        Version::HTTP_10 => "1.0 tower-model-routing",
        _ => "1.1 tower-model-routing",
    })
}

/// HTTP/2 may split the cookies, which HTTP/1.1 has in one line (RFC 9113,
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// The host that the client asked for: HTTP/2 has it in the URI.
fn host(head: &Parts) -> Option<HeaderValue> {
    let authority = head.uri.authority().map(Authority::as_str);
    authority
        .and_then(|host| HeaderValue::from_str(host).ok())
        .or_else(|| head.headers.get(header::HOST).cloned())
}

/// Tells the upstream where the request came from. Another proxy in front of
/// this one knows better which protocol and host the client used, so what it
/// says of them stays.
fn add_forwarded(headers: &mut HeaderMap, Client(client): Client, host: Option<HeaderValue>) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

    match headers.entry(FOR) {
        Entry::Vacant(entry) => {
            entry.insert(client);
        }
        Entry::Occupied(mut entry) => {
            let mut chain: Vec<_> = entry.iter().map(HeaderValue::as_bytes).collect();
            chain.push(client.as_bytes());
            let chain = HeaderValue::from_bytes(&chain.join(&b", "[..]));
            entry.insert(chain.unwrap_or(client));
        }
    }
    headers
        .entry(PROTO)
        .or_insert(HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.entry(HOST).or_insert(host);
    }
}
