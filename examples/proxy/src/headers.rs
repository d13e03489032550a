//! The headers that the proxy changes.

use std::{net::IpAddr, sync::LazyLock};

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, Entry},
    request::Parts,
    uri::Authority,
};

use crate::{
    hop_by_hop::{remove_hop_by_hop, tokens},
    request_context::REQUEST_ID,
    websocket,
};

/// The IP address of a client, as in `X-Forwarded-For`.
#[derive(Clone, Debug)]
pub(crate) struct ClientIp(HeaderValue);

impl ClientIp {
    pub(crate) fn new(address: IpAddr) -> Self {
        let text = address.to_canonical().to_string();
        // Digits, letters, dots and colons are a valid value.
        let unknown = HeaderValue::from_static("unknown");
        Self(HeaderValue::try_from(text).unwrap_or(unknown))
    }
}

/// Prepares the head of a client's request for the upstream.
pub(crate) fn prepare_request(head: &mut Parts, client: ClientIp) {
    let host = host(head);
    let opens_websocket = websocket::is_requested(head);
    let headers = &mut head.headers;
    let accepts_trailers =
        tokens(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    // `Connection` cannot remove the ID.
    remove_hop_by_hop(headers, Some(&REQUEST_ID));
    if opens_websocket {
        websocket::set_upgrade(headers);
    }
    // The only member of TE that holds beyond the connection.
    if accepts_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // The proxy sends `100 Continue` itself, when it reads the body.
    headers.remove(header::EXPECT);
    // HTTP/2 may split cookies, and HTTP/1.1 has them on one line (RFC 9113, 8.2.3).
    join_lines(headers, header::COOKIE, b"; ");
    headers.append(header::VIA, via(head.version));
    add_forwarded(headers, client, host);
}

/// Removes a `Content-Length` beside `Transfer-Encoding`, as a proxy must (RFC 9112,
/// 6.3).
pub(crate) fn remove_overridden_length(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// Returns whether this process has forwarded the request before.
pub(crate) fn is_loop(headers: &HeaderMap) -> bool {
    // `1.1 pseudonym (comment)`
    tokens(headers, &header::VIA)
        .any(|hop| hop.split_ascii_whitespace().nth(1) == Some(&VIA.pseudonym))
}

/// The values of `Via` (RFC 9110, 7.6.3), which makes loops visible.
struct Via {
    /// Of this process, as another proxy of the same kind is no loop.
    pseudonym: String,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

static VIA: LazyLock<Via> = LazyLock::new(|| {
    let pseudonym = format!("tower-model-routing-{:016x}", fastrand::u64(..));
    // Letters, digits, spaces, dots and hyphens are a valid value.
    let via = |version| {
        HeaderValue::try_from(format!("{version} {pseudonym}"))
            .unwrap_or(HeaderValue::from_static("1.1 tower-model-routing"))
    };
    Via {
        http_10: via("1.0"),
        http_11: via("1.1"),
        http_2: via("2"),
        pseudonym,
    }
});

fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_2 => VIA.http_2.clone(),
        Version::HTTP_10 => VIA.http_10.clone(),
        _ => VIA.http_11.clone(),
    }
}

/// Joins the lines of a header whose value was split.
pub(crate) fn join_lines(headers: &mut HeaderMap, name: HeaderName, separator: &[u8]) {
    let lines: Vec<_> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(separator))
    {
        headers.insert(name, joined);
    }
}

/// Returns the requested host: the authority of the URI, as in HTTP/2, or `Host`.
fn host(head: &Parts) -> Option<HeaderValue> {
    let authority = head.uri.authority().map(Authority::as_str);
    authority
        .and_then(|host| HeaderValue::from_str(host).ok())
        .or_else(|| head.headers.get(header::HOST).cloned())
}

/// Adds `X-Forwarded-For`, `-Proto` and `-Host`. Keeps the last two if another
/// proxy has set them.
fn add_forwarded(headers: &mut HeaderMap, ClientIp(client): ClientIp, host: Option<HeaderValue>) {
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
