//! The source that fetches a catalog over HTTP or HTTPS.

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

/// A source that fetches the catalog from an `http` or `https` URL.
///
/// It sends `If-None-Match`. It follows up to three redirects, but none from https to http or to a
/// URL with credentials. It rejects any status but 200 and 304, and any body over 32 MiB. A user
/// name and password in the URL are sent as `Authorization: Basic`. Neither they nor the query
/// appear in errors, logs or the [`location`](RegistrySource::location).
///
/// TLS is rustls with the CA certificates of the platform, and with the default crypto provider of
/// the process if one is installed, otherwise *ring*. `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`
/// apply unless the URL is a loopback address.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{Registry, ReqwestSource};
///
/// let source = ReqwestSource::new("https://active.mor.org/active_models.json")?;
/// let registry = Registry::builder(source).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReqwestSource {
    url: Url,
    /// Built for the first fetch, so that `new` does no I/O.
    client: OnceLock<Client>,
}

impl ReqwestSource {
    /// Returns a source for this URL. Does no I/O and needs no runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is not a valid `http` or `https` URL.
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

    /// Returns a source that uses this client, with its certificates, proxies, headers and redirect
    /// policy.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is not a valid `http` or `https` URL.
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
        let response = request.send().await.map_err(Self::fetch_error)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::NotModified),
            _ => return Err(self.unexpected_status(&response)),
        }
        let encoding = response.headers().get(CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|value| *value != "identity") {
            return Err(SourceError::new(format!(
                "the response has the content encoding {encoding:?}, which was not requested"
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
                "the response is larger than {} MiB: is this the URL of the active models?",
                MAX_BODY_BYTES >> 20
            ))
        };
        let declared = response.content_length().unwrap_or(0);
        if declared > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(Self::fetch_error)? {
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

    fn fetch_error(error: reqwest::Error) -> SourceError {
        let message = if error.is_redirect() {
            "a redirect was not followed"
        } else if error.is_connect() {
            "no connection: check the host name, the port, the proxy and the certificate"
        } else if error.is_body() || error.is_decode() {
            "the response ended early"
        } else {
            "no response"
        };
        SourceError::new(message).with_source(error.without_url())
    }

    fn unexpected_status(&self, response: &Response) -> SourceError {
        let status = response.status();
        let hint = match status.as_u16() {
            304 => "the request was not conditional",
            300..=399 => "the redirect has no usable Location",
            401 | 403 => "check the credentials, and whether this machine has access",
            404 | 410 => "check the path",
            429 => "too many fetches: a longer TTL helps",
            500..=599 => "the server failed",
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

/// The error of [`ReqwestSource::new`] and [`ReqwestSource::with_client`].
///
/// It does not repeat the URL, which may contain a password.
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

/// The reason why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
enum RejectedRedirect {
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

/// The error of https on a machine without CA certificates.
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
        // The client is not stored then, so that the next fetch looks for certificates again.
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
        match check_redirect(attempt.previous(), attempt.url(), no_certificates.as_ref()) {
            Some(rejected) => attempt.error(rejected),
            None => attempt.follow(),
        }
    });
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        // It would reveal the query to the next server.
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

/// Returns the reason why a redirect to `next` is not followed, or `None` if it is. `previous`
/// begins with the registry's URL.
fn check_redirect(
    previous: &[Url],
    next: &Url,
    no_certificates: Option<&NoCertificates>,
) -> Option<RejectedRedirect> {
    let secure = previous.iter().any(|url| url.scheme() == "https");
    match next.scheme() {
        _ if previous.len() > MAX_REDIRECTS => Some(RejectedRedirect::TooMany),
        // The HTTP client would write them to its trace log.
        _ if !next.username().is_empty() || next.password().is_some() => {
            Some(RejectedRedirect::Credentials)
        }
        "http" if secure => Some(RejectedRedirect::Downgrade),
        "http" => None,
        "https" => no_certificates.cloned().map(RejectedRedirect::from),
        _ => Some(RejectedRedirect::Scheme),
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

/// Returns the URL without user name, password, query and fragment.
fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without a host, which have no credentials.
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

    fn rejected(previous: &[&str], next: &str) -> Option<String> {
        let next = Url::parse(next).unwrap();
        check_redirect(&urls(previous), &next, None).map(|rejected| rejected.to_string())
    }

    #[test]
    fn redirect_from_https_to_http_is_rejected() {
        assert_eq!(rejected(&["http://a/"], "http://b/"), None);
        assert_eq!(rejected(&["http://a/"], "https://b/"), None);
        assert_eq!(rejected(&["https://a/"], "https://b/"), None);
        for previous in [&["https://a/"][..], &["http://a/", "https://b/"]] {
            let rejected = rejected(previous, "http://c/").unwrap();
            assert!(rejected.contains("from https to http"), "{rejected}");
        }
    }

    #[test]
    fn fourth_redirect_is_rejected() {
        let mut previous = vec!["http://a/"; 3];
        assert_eq!(rejected(&previous, "http://b/"), None);
        previous.push("http://a/");
        assert!(rejected(&previous, "http://b/").unwrap().contains("3"));
    }

    #[test]
    fn redirect_to_another_scheme_is_rejected() {
        assert!(rejected(&["http://a/"], "ftp://b/").is_some());
    }

    #[test]
    fn redirect_to_credentials_is_rejected() {
        for next in [
            "http://user@b/",
            "http://user:secret@b/",
            "http://:secret@b/",
        ] {
            let rejected = rejected(&["http://a/"], next).unwrap();
            assert!(rejected.contains("password"), "{rejected}");
            assert!(!rejected.contains("secret"), "{rejected}");
        }
    }

    #[test]
    fn redirect_to_https_needs_certificates() {
        let next = Url::parse("https://b/").unwrap();
        let none = NoCertificates(rustls::Error::General("none".to_owned()));
        let rejected = check_redirect(&urls(&["http://a/"]), &next, Some(&none)).unwrap();
        assert!(
            rejected.to_string().contains("CA certificates"),
            "{rejected}"
        );
    }

    #[test]
    fn loopback_urls_are_recognized() {
        for (url, expected) in [
            ("http://localhost/", true),
            ("http://127.0.0.2/", true),
            ("http://[::1]:8080/", true),
            ("http://example.com/", false),
            ("http://10.0.0.1/", false),
            ("http://[::2]/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn only_http_and_https_urls_are_valid() {
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
    fn location_has_no_credentials_and_no_query() {
        let source =
            ReqwestSource::new("https://user:secret@h:8443/models.json?key=secret#secret").unwrap();
        assert_eq!(source.location(), "https://h:8443/models.json");
        assert!(!format!("{source:?}").contains("secret"));
    }
}
