//! The HTTP(S) source.

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::BytesMut;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, CONTENT_ENCODING, ETAG, IF_NONE_MATCH},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_platform_verifier::Verifier;
use url::{Host, Url};

use super::{
    error::SourceError,
    source::{FetchFuture, Fetched, RegistrySource},
};

const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
const MAX_REDIRECTS: usize = 3;
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// A catalog behind an `http` or `https` URL.
///
/// Sends `If-None-Match`, follows up to three redirects but none from https to
/// http or to a URL with credentials, and refuses any status but 200 (and 304)
/// and any body over 32 MiB.
/// User name and password in the URL are sent as `Authorization: Basic`;
/// neither they nor the query ever show up in an error, a log or the
/// [`location`](RegistrySource::location).
///
/// TLS is rustls, with the process's default crypto provider if one is
/// installed and *ring* otherwise, and with the CA certificates of the
/// platform. `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` count, except for a URL
/// on the machine itself.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{Registry, ReqwestSource};
///
/// let source = ReqwestSource::new("https://active.mor.org/active_models.json")?;
/// let registry = Registry::builder(source).build();
/// # Ok::<(), tower_model_routing::registry::InvalidRegistryUrl>(())
/// ```
pub struct ReqwestSource {
    url: Url,
    /// Built for the first fetch, so that making a source does no I/O.
    client: OnceLock<Client>,
}

impl ReqwestSource {
    /// A source for this URL. Does no I/O and needs no runtime.
    ///
    /// # Errors
    ///
    /// The URL is not a valid `http` or `https` URL.
    pub fn new(url: &str) -> Result<Self, InvalidRegistryUrl> {
        let url = Url::parse(url.trim()).map_err(|error| InvalidRegistryUrl(Some(error)))?;
        match url.scheme() {
            "http" | "https" => Ok(Self {
                url,
                client: OnceLock::new(),
            }),
            _ => Err(InvalidRegistryUrl(None)),
        }
    }

    /// A source that uses a client of yours: for certificates, proxies and
    /// headers of your own.
    ///
    /// The client's redirect policy takes the place of the one above.
    ///
    /// # Errors
    ///
    /// The URL is not a valid `http` or `https` URL.
    pub fn with_client(url: &str, client: Client) -> Result<Self, InvalidRegistryUrl> {
        let mut source = Self::new(url)?;
        source.client = client.into();
        Ok(source)
    }

    async fn get(&self, etag: Option<&str>) -> Result<Fetched, SourceError> {
        let mut request = self
            .client()?
            .get(self.url.clone())
            .header(ACCEPT, "application/json");
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(Self::explain)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::NotModified),
            _ => return Err(self.unexpected_status(&response)),
        }
        let encoding = response.headers().get(CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|value| *value != "identity") {
            return Err(SourceError::new(format!(
                "the answer is encoded ({encoding:?}), which was not asked for"
            )));
        }
        let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok());
        let etag = etag.map(str::to_owned);
        let document = Fetched::document(Self::body(response).await?);
        Ok(match etag {
            Some(etag) => document.with_etag(etag),
            None => document,
        })
    }

    async fn body(mut response: Response) -> Result<BytesMut, SourceError> {
        let too_large = || {
            SourceError::new(format!(
                "the answer is larger than {} MiB: is this the URL of the active models?",
                MAX_BODY_BYTES >> 20
            ))
        };
        let declared = response.content_length().unwrap_or(0);
        if declared > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(Self::explain)? {
            if chunk.len() > MAX_BODY_BYTES - body.len() {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn client(&self) -> Result<&Client, SourceError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build_client(&self.url)?;
        Ok(self.client.get_or_init(|| client))
    }

    fn explain(error: reqwest::Error) -> SourceError {
        let message = if error.is_redirect() {
            "a redirect was not followed"
        } else if error.is_connect() {
            "no connection: check the host name, the port, the proxy and the certificate"
        } else if error.is_body() || error.is_decode() {
            "the answer broke off"
        } else {
            "no answer"
        };
        SourceError::new(message).with_source(error.without_url())
    }

    fn unexpected_status(&self, response: &Response) -> SourceError {
        let status = response.status();
        let hint = match status.as_u16() {
            304 => "nothing was asked that allows it",
            300..=399 => "there is no usable Location to go on to",
            401 | 403 => "check the credentials, and whether this machine has access",
            404 | 410 => "check the path",
            429 => "too many fetches: a longer TTL helps",
            500..=599 => "the server is in trouble",
            _ => "only 200 carries a catalog",
        };
        let place = match redacted(response.url()) {
            place if place == self.location() => String::new(),
            place => format!(" at {place} after a redirect"),
        };
        SourceError::new(format!("HTTP status {status}{place}: {hint}"))
    }
}

impl RegistrySource for ReqwestSource {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(self.get(etag))
    }

    fn location(&self) -> String {
        redacted(&self.url)
    }
}

impl fmt::Debug for ReqwestSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestSource")
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

/// A registry URL that cannot be used. Does not repeat the URL, which may hold
/// a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRegistryUrl(Option<url::ParseError>);

impl fmt::Display for InvalidRegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the registry URL is not a valid http:// or https:// URL")
    }
}

impl Error for InvalidRegistryUrl {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
enum RefusedRedirect {
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    #[error("it leads from https to http")]
    Downgrade,
    #[error("it leads to something that is neither http nor https")]
    Scheme,
    #[error("it leads to a URL with a user name or password")]
    Credentials,
    #[error(transparent)]
    NoCertificates(#[from] NoCertificates),
}

/// What https fails with on a machine without CA certificates.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "no CA certificates were found on this machine: install them (the package is often called \
     ca-certificates) or set SSL_CERT_FILE"
)]
struct NoCertificates(#[source] rustls::Error);

fn build_client(url: &Url) -> Result<Client, SourceError> {
    let failed = |error: Box<dyn Error + Send + Sync>| {
        SourceError::new("the HTTP client cannot be set up").with_source(error)
    };
    let provider = match CryptoProvider::get_default() {
        Some(provider) => Arc::clone(provider),
        None => Arc::new(rustls::crypto::ring::default_provider()),
    };
    let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.into()))?;
    let (mut tls, no_certificates) = match Verifier::new(provider) {
        Ok(verifier) => {
            let verified = tls
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier));
            (verified.with_no_client_auth(), None)
        }
        // The client is not kept then: the next fetch looks for certificates
        // again.
        Err(error) if url.scheme() == "https" => {
            return Err(SourceError::new("https cannot be used").with_source(NoCertificates(error)));
        }
        Err(error) => {
            let unverified = tls.with_root_certificates(RootCertStore::empty());
            (
                unverified.with_no_client_auth(),
                Some(NoCertificates(error)),
            )
        }
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];

    let redirects = Policy::custom(move |attempt| {
        match refusal(attempt.previous(), attempt.url(), no_certificates.as_ref()) {
            Some(refused) => attempt.error(refused),
            None => attempt.follow(),
        }
    });
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        // It would tell the next server the query of this one.
        .referer(false)
        .redirect(redirects);
    let builder = if is_loopback(url) {
        builder.no_proxy()
    } else {
        builder
    };
    builder
        .build()
        .map_err(|error| failed(error.without_url().into()))
}

/// Why a redirect to `next` is not followed, if it is not. `previous` begins
/// with the URL we started from.
fn refusal(
    previous: &[Url],
    next: &Url,
    no_certificates: Option<&NoCertificates>,
) -> Option<RefusedRedirect> {
    let secure = previous.iter().any(|url| url.scheme() == "https");
    match next.scheme() {
        _ if previous.len() > MAX_REDIRECTS => Some(RefusedRedirect::TooMany),
        // The HTTP client would put them into its trace log, and no published
        // list needs them.
        _ if !next.username().is_empty() || next.password().is_some() => {
            Some(RefusedRedirect::Credentials)
        }
        "http" if secure => Some(RefusedRedirect::Downgrade),
        "http" => None,
        "https" => no_certificates.cloned().map(RefusedRedirect::from),
        _ => Some(RefusedRedirect::Scheme),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The URL without user name, password, query and fragment.
fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without a host, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<Url> {
        urls.iter().map(|url| Url::parse(url).unwrap()).collect()
    }

    fn refused(previous: &[&str], next: &str) -> Option<String> {
        let next = Url::parse(next).unwrap();
        refusal(&urls(previous), &next, None).map(|refused| refused.to_string())
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        assert_eq!(refused(&["http://a/"], "http://b/"), None);
        assert_eq!(refused(&["http://a/"], "https://b/"), None);
        assert_eq!(refused(&["https://a/"], "https://b/"), None);
        for previous in [&["https://a/"][..], &["http://a/", "https://b/"]] {
            let refused = refused(previous, "http://c/").unwrap();
            assert!(refused.contains("from https to http"), "{refused}");
        }
    }

    #[test]
    fn a_fourth_redirect_is_refused() {
        let mut previous = vec!["http://a/"; 3];
        assert_eq!(refused(&previous, "http://b/"), None);
        previous.push("http://a/");
        assert!(refused(&previous, "http://b/").unwrap().contains("3"));
    }

    #[test]
    fn a_redirect_leads_to_http_or_https_only() {
        assert!(refused(&["http://a/"], "ftp://b/").is_some());
    }

    #[test]
    fn a_redirect_leads_to_no_url_with_credentials() {
        for next in [
            "http://user@b/",
            "http://user:secret@b/",
            "http://:secret@b/",
        ] {
            let refused = refused(&["http://a/"], next).unwrap();
            assert!(refused.contains("password"), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn a_redirect_to_https_needs_certificates() {
        let next = Url::parse("https://b/").unwrap();
        let none = NoCertificates(rustls::Error::General("none".to_owned()));
        let refused = refusal(&urls(&["http://a/"]), &next, Some(&none)).unwrap();
        assert!(refused.to_string().contains("CA certificates"), "{refused}");
    }

    #[test]
    fn only_http_and_https_urls_are_taken_and_errors_do_not_repeat_them() {
        for url in [
            "",
            "models.json",
            "ftp://h/",
            "file:///etc/models",
            "user:secret@host",
            "http://",
            "http://user:secret@:80/",
            "https://user:secret@h:port/",
        ] {
            let error = ReqwestSource::new(url).unwrap_err();
            let text = format!("{error} {error:?} {:?}", error.source());
            assert!(!text.contains("secret"), "{text}");
        }
        for url in ["http://h", "HTTPS://h/x", " https://h/x\n"] {
            ReqwestSource::new(url).unwrap();
        }
    }

    #[test]
    fn the_location_has_neither_credentials_nor_query() {
        let source =
            ReqwestSource::new("https://user:secret@h:8443/models.json?key=secret#secret").unwrap();
        assert_eq!(source.location(), "https://h:8443/models.json");
        assert!(!format!("{source:?}").contains("secret"));
    }
}
