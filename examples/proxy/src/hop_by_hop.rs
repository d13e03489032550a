//! Hop-by-hop headers.

use http::{HeaderMap, HeaderName, header};

/// Removes the hop-by-hop headers (RFC 9110, 7.6.1), except `kept`, even if
/// `Connection` names it.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap, kept: Option<&HeaderName>) {
    static HOP_BY_HOP: [HeaderName; 8] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];

    // One pass over the names costs less than eight lookups.
    let mut names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| HOP_BY_HOP.contains(name))
        .cloned()
        .collect();
    if names.contains(&header::CONNECTION) {
        names.extend(tokens(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()));
    }
    for name in names {
        if Some(&name) != kept {
            headers.remove(name);
        }
    }
}

/// Iterates over the members of a comma-separated header, across all its lines.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}
