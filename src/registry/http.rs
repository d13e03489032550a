//! The source that fetches a catalog over HTTP or HTTPS.

use std::{error::Error, fmt, sync::OnceLock};

use bytes::BytesMut;
use reqwest::{
    Client, ClientBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_ENCODING, ETAG, IF_NONE_MATCH},
    redirect::Policy,
};
use url::{Host, Url};

use super::{
    error::SourceError,
    policy::DEFAULT_MAX_CATALOG_BYTES,
    source::{FetchFuture, Fetched, RegistrySource},
};

const MAX_REDIRECTS: usize = 3;
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const HAS_TLS: bool = cfg!(any(feature = "rustls", feature = "rustls-no-provider"));

/// A source that fetches the catalog from an `http` or `https` URL.
///
/// It sends `If-None-Match`. It follows up to three redirects, but none from https to http or to a
/// URL with credentials. It rejects any status but 200 and 304. A user name and password in the URL
/// are sent as `Authorization: Basic`. Neither they nor the query appear in errors, logs or the
/// [`location`](RegistrySource::location). `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` apply unless
/// the URL is a loopback address.
///
/// # TLS
///
/// TLS is that of reqwest with the same features, and with the CA certificates of the platform:
///
/// | feature | `https` |
/// |---|---|
/// | `rustls` (default) | rustls with the default crypto provider of the process if one is installed, otherwise with reqwest's, which is aws-lc-rs |
/// | `rustls-no-provider` | rustls with the default crypto provider of the process, which the program must install first, even for `http` |
/// | neither | [`new`](Self::new) returns an error; [`with_client`](Self::with_client) takes a client with TLS of your choice |
///
/// Only this crate's features count: another crate's that turns on TLS in reqwest does not make
/// `https` work here.
///
/// # Examples
///
/// ```
/// use tower_model_routing::registry::{Registry, ReqwestSource};
///
/// let source = ReqwestSource::new("http://models.internal/active_models.json")?;
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
    /// Returns an error if
    ///
    /// - the URL is not a valid `http` or `https` URL,
    /// - it is an `https` URL, and neither of the features `rustls` and `rustls-no-provider` is on,
    /// - the feature `rustls-no-provider` is on, `rustls` is not, and no crypto provider is
    ///   installed.
    pub fn new(url: &str) -> Result<Self, ReqwestSourceError> {
        let url = parse_url(url)?;
        if url.scheme() == "https" && !HAS_TLS {
            return Err(ReqwestSourceError(Problem::NoTls));
        }
        #[cfg(all(feature = "rustls-no-provider", not(feature = "rustls")))]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ReqwestSourceError(Problem::NoCryptoProvider));
        }
        Ok(Self {
            url,
            client: OnceLock::new(),
        })
    }

    /// Returns a source that uses this client, with its TLS, certificates, proxies, headers and
    /// redirect policy.
    ///
    /// This is the way to native TLS, to a CA of your own, and to a crypto provider other than the
    /// default one of the process.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is not a valid `http` or `https` URL.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::registry::ReqwestSource;
    ///
    /// // With reqwest's feature `native-tls`: `.tls_backend_native()`.
    /// let client = reqwest::Client::builder().build()?;
    /// let url = "https://active.mor.org/active_models.json";
    /// let source = ReqwestSource::with_client(url, client)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_client(url: &str, client: Client) -> Result<Self, ReqwestSourceError> {
        Ok(Self {
            url: parse_url(url)?,
            client: client.into(),
        })
    }

    async fn get(&self, etag: Option<&str>, max_bytes: usize) -> Result<Fetched, SourceError> {
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
        let document = Fetched::document(Self::body(response, max_bytes).await?);
        Ok(match etag {
            Some(etag) => document.with_etag(etag),
            None => document,
        })
    }

    async fn body(mut response: Response, max_bytes: usize) -> Result<BytesMut, SourceError> {
        let declared = response.content_length().unwrap_or(0);
        if declared > max_bytes as u64 {
            return Err(SourceError::too_large(max_bytes));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(Self::fetch_error)? {
            if chunk.len() > max_bytes - body.len() {
                return Err(SourceError::too_large(max_bytes));
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
        self.fetch_up_to(etag, DEFAULT_MAX_CATALOG_BYTES)
    }

    fn fetch_up_to<'a>(&'a self, etag: Option<&'a str>, max_bytes: usize) -> FetchFuture<'a> {
        Box::pin(self.get(etag, max_bytes))
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
pub struct ReqwestSourceError(Problem);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    InvalidUrl(Option<url::ParseError>),
    NoTls,
    #[cfg(all(feature = "rustls-no-provider", not(feature = "rustls")))]
    NoCryptoProvider,
}

impl ReqwestSourceError {
    /// Returns the problem, which follows the name of the setting in a message.
    pub(crate) fn reason(&self) -> &'static str {
        match self.0 {
            Problem::InvalidUrl(_) => "is not a valid http:// or https:// URL",
            Problem::NoTls => {
                "is an https:// URL; enable the feature `rustls` or `rustls-no-provider` of \
                 tower-model-routing, or give a `ReqwestSource::with_client`"
            }
            #[cfg(all(feature = "rustls-no-provider", not(feature = "rustls")))]
            Problem::NoCryptoProvider => {
                "cannot be fetched without a crypto provider; call \
                 `rustls::crypto::ring::default_provider().install_default()`, or that of another \
                 provider, at the start of the program, or enable the feature `rustls` of \
                 tower-model-routing"
            }
        }
    }
}

impl fmt::Display for ReqwestSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry URL {}", self.reason())
    }
}

impl Error for ReqwestSourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Problem::InvalidUrl(Some(error)) => Some(error),
            _ => None,
        }
    }
}

/// The reason why a redirect was not followed.
#[derive(Debug, PartialEq, thiserror::Error)]
enum RejectedRedirect {
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    #[error("it leads from https to http")]
    Downgrade,
    #[error("it leads to something that is neither http nor https")]
    Scheme,
    #[error("it leads to a URL with a user name or password")]
    Credentials,
    #[error("it leads to https, which needs {HTTPS_NEEDS}")]
    NoTls,
}

const HTTPS_NEEDS: &str = if HAS_TLS {
    "CA certificates: install them (the package is often called ca-certificates) or set \
     SSL_CERT_FILE"
} else {
    "the feature `rustls` or `rustls-no-provider` of tower-model-routing"
};

fn parse_url(url: &str) -> Result<Url, ReqwestSourceError> {
    let invalid = |error| ReqwestSourceError(Problem::InvalidUrl(error));
    let url = Url::parse(url.trim()).map_err(|error| invalid(Some(error)))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(invalid(None)),
    }
}

fn build_client(url: &Url) -> Result<Client, SourceError> {
    let client = client_builder(url, HAS_TLS).build();
    // Without CA certificates reqwest builds no client, even for http.
    #[cfg(any(feature = "rustls", feature = "rustls-no-provider"))]
    let client = match client {
        Err(_) if url.scheme() == "http" => client_builder(url, false).tls_certs_only([]).build(),
        client => client,
    };
    client.map_err(|error| {
        let message = match url.scheme() {
            // The client is not stored, so that the next fetch looks for certificates again.
            "https" => format!("the HTTP client cannot be built: https needs {HTTPS_NEEDS}"),
            _ => "the HTTP client cannot be built".to_owned(),
        };
        SourceError::new(message).with_source(error.without_url())
    })
}

/// Returns a builder of the client for `url`. `https` is whether redirects to https are followed.
fn client_builder(url: &Url, https: bool) -> ClientBuilder {
    let redirects = Policy::custom(move |attempt| {
        match check_redirect(attempt.previous(), attempt.url(), https) {
            Some(rejected) => attempt.error(rejected),
            None => attempt.follow(),
        }
    });
    let builder = Client::builder()
        .http1_only()
        .user_agent(USER_AGENT)
        // It would reveal the query to the next server.
        .referer(false)
        .redirect(redirects);
    if is_loopback(url) {
        builder.no_proxy()
    } else {
        builder
    }
}
/// Returns the reason why a redirect to `next` is not followed, or `None` if it is. `previous`
/// begins with the registry's URL, and `https` is whether https can be used.
fn check_redirect(previous: &[Url], next: &Url, https: bool) -> Option<RejectedRedirect> {
    let secure = previous.iter().any(|url| url.scheme() == "https");
    match next.scheme() {
        _ if previous.len() > MAX_REDIRECTS => Some(RejectedRedirect::TooMany),
        // The HTTP client would write them to its trace log.
        _ if !next.username().is_empty() || next.password().is_some() => {
            Some(RejectedRedirect::Credentials)
        }
        "http" if secure => Some(RejectedRedirect::Downgrade),
        "http" => None,
        "https" => (!https).then_some(RejectedRedirect::NoTls),
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
        check_redirect(&urls(previous), &next, true).map(|rejected| rejected.to_string())
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
    fn redirect_to_https_needs_tls() {
        let next = Url::parse("https://b/").unwrap();
        let rejected = check_redirect(&urls(&["http://a/"]), &next, false);
        assert_eq!(rejected, Some(RejectedRedirect::NoTls));
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
            let error = parse_url(url).unwrap_err();
            let text = format!("{error} {error:?} {:?}", error.source());
            assert!(!text.contains("secret"), "{text}");
        }
        for url in ["http://h", "HTTPS://h/x", " https://h/x\n"] {
            parse_url(url).unwrap();
        }
    }

    #[test]
    fn location_has_no_credentials_and_no_query() {
        let url = "https://user:secret@h:8443/models.json?key=secret#secret";
        let source = ReqwestSource::with_client(url, Client::new()).unwrap();
        assert_eq!(source.location(), "https://h:8443/models.json");
        assert!(!format!("{source:?}").contains("secret"));
    }
}
