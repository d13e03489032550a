//! The headers of upstream requests that the operator sets, such as credentials.

use std::env;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

/// Reads the headers of upstream requests. There is no flag for them, because other users of the
/// system can list the arguments of processes.
///
/// # Errors
///
/// Returns a message that names the variable if its value is invalid.
pub(crate) fn from_env() -> Result<HeaderMap, String> {
    let mut headers = parse(&secret("UPSTREAM_HEADERS")?.unwrap_or_default())?;
    if let Some(value) = secret("UPSTREAM_AUTHORIZATION")? {
        let value = value.trim();
        if value.is_empty() {
            return Err(
                "UPSTREAM_AUTHORIZATION is empty; unset it to forward the clients' own keys".into(),
            );
        }
        let value = sensitive(value).ok_or(
            "UPSTREAM_AUTHORIZATION must be one line of visible ASCII, such as \"Bearer KEY\"",
        )?;
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Parses lines of `Name: value`. The messages do not repeat the secrets.
fn parse(lines: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (index, line) in lines.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let header = || {
            let (name, value) = line.split_once(':')?;
            let name: HeaderName = name.trim().parse().ok()?;
            let value = sensitive(value.trim())?;
            (!is_of_the_connection(&name)).then_some((name, value))
        };
        let (name, value) = header().ok_or_else(|| {
            format!(
                "line {} of UPSTREAM_HEADERS must be like \"x-api-key: KEY\", in visible ASCII, and \
                 not a header of the connection or of the body's length",
                index + 1
            )
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Returns whether the proxy sets this header itself.
fn is_of_the_connection(name: &HeaderName) -> bool {
    const OWN: [HeaderName; 7] = [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    OWN.contains(name)
}

fn secret(variable: &str) -> Result<Option<String>, String> {
    match env::var(variable) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{variable} is not UTF-8")),
    }
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let parsed = value.is_ascii().then(|| HeaderValue::from_str(value).ok());
    let mut value = parsed.flatten()?;
    value.set_sensitive(true);
    Some(value)
}
