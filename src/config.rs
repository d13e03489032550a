//! The layer's settings: valid once built. No I/O.

use std::{env, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, Response, Uri,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};

#[cfg(feature = "reqwest")]
use crate::registry::ReqwestSource;
use crate::{
    endpoint::Endpoint,
    headers::is_cgi_equivalent,
    registry::{Catalog, RegistryPolicy, RegistrySource},
    request::{EndpointTable, normalize},
    resolve::{Fallbacks, Policy, UnknownModel},
    response::{Rejection, RejectionHook, ResponseModel},
};

/// Where the production catalog of the Morpheus marketplace is published.
#[cfg(feature = "reqwest")]
const DEFAULT_MODELS_URL: &str = "https://active.mor.org/active_models.json";

/// No setting may be longer, so that no time computed from it overflows.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The settings of a [`ModelRoutingLayer`](crate::ModelRoutingLayer): valid
/// once built.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_model_routing::{Endpoint, RoutingConfig, UnknownModel};
///
/// # #[cfg(feature = "reqwest")] {
/// let config = RoutingConfig::builder()
///     .models_url("https://active.dev.mor.org/active_models.json")
///     .ttl(Duration::from_secs(60))
///     .fallback(Endpoint::Llm, "llama-3.3-70b")
///     .fallback(Endpoint::Tts, "") // none: unknown names are 404
///     .unknown_model(UnknownModel::Suggest)
///     .endpoint("/rerank", Endpoint::Embedding)
///     .build()?;
/// assert_eq!(config.fallback(Endpoint::Llm), Some("llama-3.3-70b"));
/// # }
/// # Ok::<(), tower_model_routing::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RoutingConfig {
    pub(crate) source: SharedSource,
    pub(crate) registry_policy: RegistryPolicy,
    pub(crate) initial_catalog: Option<Catalog>,
    pub(crate) policy: Policy,
    pub(crate) endpoints: EndpointTable,
    pub(crate) max_held_bytes: usize,
    pub(crate) max_total_held_bytes: usize,
    pub(crate) held_timeout: Option<Duration>,
    pub(crate) id_header: Option<HeaderName>,
    pub(crate) response_headers: bool,
    pub(crate) response_model: ResponseModel,
    pub(crate) rejection_hook: Option<RejectionHook>,
}

impl RoutingConfig {
    /// A builder with every setting at its default.
    pub fn builder() -> RoutingConfigBuilder {
        RoutingConfigBuilder::default()
    }

    /// The defaults with what the environment sets; the variables are those of
    /// [`RoutingConfigBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// When a variable has a value that is not allowed. The error names it and
    /// says what is.
    pub fn from_env() -> Result<Self, ConfigError> {
        RoutingConfigBuilder::from_env()?.build()
    }

    /// The name of the fallback model for this kind of endpoint, if there is
    /// one.
    pub fn fallback(&self, endpoint: Endpoint) -> Option<&str> {
        self.policy.fallbacks.get(endpoint)
    }

    /// How long the catalog is kept, and how long requests wait for it.
    pub fn registry_policy(&self) -> &RegistryPolicy {
        &self.registry_policy
    }
}

/// Builds a [`RoutingConfig`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RoutingConfigBuilder {
    source: Source,
    registry_policy: RegistryPolicy,
    initial_catalog: Option<Catalog>,
    policy: Policy,
    endpoints: Vec<(String, Endpoint)>,
    max_held_bytes: usize,
    max_total_held_bytes: usize,
    held_timeout: Option<Duration>,
    id_header: Option<HeaderName>,
    response_headers: bool,
    response_model: ResponseModel,
    rejection_hook: Option<RejectionHook>,
}

enum Source {
    #[cfg(feature = "reqwest")]
    Url {
        setting: &'static str,
        url: String,
    },
    #[cfg(not(feature = "reqwest"))]
    Missing,
    Custom(SharedSource),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A URL may have credentials in it.
            #[cfg(feature = "reqwest")]
            Self::Url { setting, .. } => write!(f, "{setting}"),
            #[cfg(not(feature = "reqwest"))]
            Self::Missing => f.write_str("none"),
            Self::Custom(source) => source.fmt(f),
        }
    }
}

/// A source that shows in debug output as its location.
pub(crate) struct SharedSource(pub(crate) Arc<dyn RegistrySource>);

impl fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.location())
    }
}

impl RoutingConfigBuilder {
    /// The defaults with what the environment sets.
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `ACTIVE_MODELS_URL` | where the catalog is published (feature `reqwest`) | the Morpheus marketplace's |
    /// | `DEFAULT_FALLBACK_MODEL` | the fallback for text and for other paths; empty: none | `mistral-31-24b` |
    /// | `DEFAULT_FALLBACK_EMBEDDINGS_MODEL` | the fallback for embeddings; empty: none | `text-embedding-bge-m3` |
    /// | `DEFAULT_FALLBACK_TTS_MODEL` | the fallback for text to speech; empty: none | `tts-kokoro` |
    /// | `DEFAULT_FALLBACK_STT_MODEL` | the fallback for speech to text; empty: none | `whisper-1` |
    /// | `MODELS_TTL_SECONDS` | how long the catalog is kept | 300 |
    /// | `MODELS_FETCH_TIMEOUT_SECONDS` | how long a fetch may take | 10 |
    /// | `MODELS_MISS_REFRESH_SECONDS` | how old the catalog must be for an unknown name to refresh it | 10 |
    ///
    /// Seconds may have decimals.
    ///
    /// # Errors
    ///
    /// When a variable has a value that is not allowed. The error names it and
    /// says what is.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(ConfigError::new(name, "is not UTF-8")),
        })
    }

    fn from_variables(
        get: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let mut builder = Self::default();
        #[cfg(feature = "reqwest")]
        if let Some(url) = get("ACTIVE_MODELS_URL")? {
            builder.source = Source::Url {
                setting: "ACTIVE_MODELS_URL",
                url,
            };
        }
        for (variable, endpoint) in [
            ("DEFAULT_FALLBACK_MODEL", Endpoint::Llm),
            ("DEFAULT_FALLBACK_EMBEDDINGS_MODEL", Endpoint::Embedding),
            ("DEFAULT_FALLBACK_TTS_MODEL", Endpoint::Tts),
            ("DEFAULT_FALLBACK_STT_MODEL", Endpoint::Stt),
        ] {
            if let Some(name) = get(variable)? {
                builder = builder.fallback(endpoint, name);
            }
        }
        let policy = &mut builder.registry_policy;
        for (variable, duration, min) in [
            ("MODELS_TTL_SECONDS", &mut policy.ttl, MIN_DURATION),
            (
                "MODELS_FETCH_TIMEOUT_SECONDS",
                &mut policy.fetch_timeout,
                MIN_DURATION,
            ),
            (
                "MODELS_MISS_REFRESH_SECONDS",
                &mut policy.miss_refresh,
                Duration::ZERO,
            ),
        ] {
            if let Some(text) = get(variable)? {
                *duration = seconds(variable, &text)?;
                in_bounds(variable, *duration, min)?;
            }
        }
        Ok(builder)
    }

    /// Where the catalog is published: an `http` or `https` URL. Credentials
    /// in it are sent as Basic authentication and never shown.
    ///
    /// By default the production URL of the Morpheus marketplace.
    #[cfg(feature = "reqwest")]
    pub fn models_url(mut self, url: impl Into<String>) -> Self {
        self.source = Source::Url {
            setting: "models_url",
            url: url.into(),
        };
        self
    }

    /// Where the catalog comes from, if not from a URL.
    pub fn source(mut self, source: impl RegistrySource) -> Self {
        self.source = Source::Custom(SharedSource(Arc::new(source)));
        self
    }

    /// A catalog to start with, so that not even the first requests wait for a
    /// fetch. Its age is unknown: the first request refreshes it in the
    /// background.
    pub fn initial_catalog(mut self, catalog: Catalog) -> Self {
        self.initial_catalog = Some(catalog);
        self
    }

    /// How long the catalog is kept: 300 s by default. Under steady traffic it
    /// is refreshed in the background before that.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.registry_policy.ttl = ttl;
        self
    }

    /// How long one fetch of the catalog may take: 10 s by default.
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.registry_policy.fetch_timeout = timeout;
        self
    }

    /// How old the catalog must be for an unknown name to refresh it first,
    /// and the time between two such refreshes: 10 s by default.
    pub fn miss_refresh(mut self, age: Duration) -> Self {
        self.registry_policy.miss_refresh = age;
        self
    }

    /// How long a request waits for a refresh when there is an older catalog
    /// that it can use instead: 2 s by default.
    pub fn max_refresh_wait(mut self, wait: Duration) -> Self {
        self.registry_policy.max_refresh_wait = wait;
        self
    }

    /// The age at which a catalog that cannot be refreshed is no longer used,
    /// and requests get a 503; `None` (the default) for never.
    pub fn max_stale(mut self, age: Option<Duration>) -> Self {
        self.registry_policy.max_stale = age;
        self
    }

    /// The fallback model for this kind of endpoint; an empty name for none,
    /// which makes unknown names a 404. [`Endpoint::Other`] shares
    /// [`Endpoint::Llm`]'s.
    pub fn fallback(mut self, endpoint: Endpoint, name: impl Into<String>) -> Self {
        let name: String = name.into().trim().into();
        let name = (!name.is_empty()).then_some(name);
        self.policy.fallbacks.set(endpoint, name);
        self
    }

    /// What to do with a name that the catalog does not know:
    /// [`UnknownModel::Fallback`] by default.
    pub fn unknown_model(mut self, policy: UnknownModel) -> Self {
        self.policy.unknown = policy;
        self
    }

    /// Makes paths that end in `suffix` ask for this kind of endpoint. The
    /// longest ending that fits decides; the default ones are listed at
    /// [`Endpoint`].
    pub fn endpoint(mut self, suffix: impl Into<String>, endpoint: Endpoint) -> Self {
        self.endpoints.push((suffix.into(), endpoint));
        self
    }

    /// How many bytes of one request may be held while its model has not been
    /// found: 64 MiB by default; past it the answer is 413.
    pub fn max_held_bytes(mut self, bytes: usize) -> Self {
        self.max_held_bytes = bytes;
        self
    }

    /// How many bytes of all requests together may be held while their models
    /// have not been found: 512 MiB by default; past it the answer is 503.
    pub fn max_total_held_bytes(mut self, bytes: usize) -> Self {
        self.max_total_held_bytes = bytes;
        self
    }

    /// How long a request may be held because its model has not been found:
    /// 30 s by default, `None` for as long as the client likes; past it the
    /// answer is 408.
    ///
    /// A large upload over a slow line may take longer: each time that it has
    /// brought 16 KiB for each second (128 kbit/s) the time starts anew. A
    /// client that only drips is refused after the first time, one that stops
    /// after it has brought more within the second. Once the model is known there is no limit: what a client may
    /// do with the rest of a body is the server's business.
    pub fn held_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.held_timeout = timeout;
        self
    }

    /// A request header to carry the ID, such as `model_id`, by which Morpheus
    /// nodes route. A client's own copy of it is removed from every request, be
    /// it spelled with `-` or `_`, which some servers take for one another.
    /// None by default.
    ///
    /// A proxy that removes the headers that `Connection` names must do so
    /// before this layer, or a client could name this one.
    pub fn id_header(mut self, name: HeaderName) -> Self {
        self.id_header = Some(name);
        self
    }

    /// Whether responses carry `x-model-id`, `x-model-name` and, where it
    /// applies, `x-model-fallback: true`. Off by default.
    ///
    /// An ID or a name that is not ASCII is percent-encoded in them.
    pub fn response_headers(mut self, on: bool) -> Self {
        self.response_headers = on;
        self
    }

    /// Whether the `model` of an answer is set to the catalog name of the model
    /// that served, so that clients never see an ID that they did not ask for.
    /// Off by default.
    ///
    /// That is the top-level `model` of a JSON answer and of every server-sent
    /// event, and `response.model` and `message.model` in the events of
    /// `/responses` and `/messages`. Answers stream on, and nothing else in
    /// them changes; `Content-Length` and digest headers are dropped. Answers
    /// that are not successful, not JSON or events, or have a
    /// `Content-Encoding`, are left alone: keep an inner service from
    /// compressing, and compress outside of this layer.
    pub fn response_model(mut self, response_model: ResponseModel) -> Self {
        self.response_model = response_model;
        self
    }

    /// How to show a rejection, for APIs whose errors look other than OpenAI's.
    ///
    /// The response gets the [`Rejection`] in its extensions in any case. It is
    /// the hook's to set the status, the `Content-Type` and `Retry-After`;
    /// starting from [`Rejection::to_response`] keeps them.
    ///
    /// # Examples
    ///
    /// Anthropic's error object on Anthropic's path:
    ///
    /// ```
    /// use tower_model_routing::{Rejection, RoutingConfig};
    ///
    /// let builder = RoutingConfig::builder().rejection_response(|rejection, uri| {
    ///     let response = rejection.to_response();
    ///     if !uri.path().ends_with("/messages") {
    ///         return response;
    ///     }
    ///     let kind = match rejection.status().as_u16() {
    ///         404 => "not_found_error",
    ///         413 => "request_too_large",
    ///         503 => "overloaded_error",
    ///         _ => "invalid_request_error",
    ///     };
    ///     let error = serde_json::json!({
    ///         "type": "error",
    ///         "error": { "type": kind, "message": rejection.message() },
    ///     });
    ///     response.map(|_| error.to_string().into())
    /// });
    /// ```
    pub fn rejection_response(
        mut self,
        hook: impl Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.rejection_hook = Some(RejectionHook::new(hook));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When one has a value that is not allowed. The error names it and says
    /// what is.
    pub fn build(self) -> Result<RoutingConfig, ConfigError> {
        let policy = &self.registry_policy;
        in_bounds("ttl", policy.ttl, MIN_DURATION)?;
        in_bounds("fetch_timeout", policy.fetch_timeout, MIN_DURATION)?;
        in_bounds("miss_refresh", policy.miss_refresh, Duration::ZERO)?;
        in_bounds("max_refresh_wait", policy.max_refresh_wait, Duration::ZERO)?;
        if let Some(max_stale) = policy.max_stale {
            in_bounds("max_stale", max_stale, policy.ttl)?;
        }
        if let Some(timeout) = self.held_timeout {
            in_bounds("held_timeout", timeout, MIN_DURATION)?;
        }
        if let Some(name) = &self.id_header
            && [
                CONNECTION,
                CONTENT_ENCODING,
                CONTENT_LENGTH,
                CONTENT_TYPE,
                HOST,
                TRANSFER_ENCODING,
            ]
            .iter()
            .any(|reserved| is_cgi_equivalent(reserved, name))
        {
            let problem = format!("is {name:?}, which says how to read the request");
            return Err(ConfigError::new("id_header", problem));
        }
        let mut endpoints = EndpointTable::default();
        for (suffix, endpoint) in self.endpoints {
            if !suffix.starts_with('/') || suffix.len() < 2 || normalize(&suffix) != suffix {
                let problem = format!(
                    "is {suffix:?}; it must begin with '/', not end with it, and have \
                     no escapes, parameters, empty or dot segments"
                );
                return Err(ConfigError::new("endpoint", problem));
            }
            endpoints.set(suffix, endpoint);
        }
        let source = match self.source {
            #[cfg(feature = "reqwest")]
            Source::Url { setting, url } => {
                let source = ReqwestSource::new(&url)
                    .map_err(|error| ConfigError::new(setting, error.to_string()))?;
                SharedSource(Arc::new(source))
            }
            #[cfg(not(feature = "reqwest"))]
            Source::Missing => {
                let problem = "is missing; give one, or enable the feature `reqwest`";
                return Err(ConfigError::new("source", problem));
            }
            Source::Custom(source) => source,
        };
        Ok(RoutingConfig {
            source,
            registry_policy: self.registry_policy,
            initial_catalog: self.initial_catalog,
            policy: self.policy,
            endpoints,
            // A request past the bound for all would never find room.
            max_held_bytes: self.max_held_bytes.min(self.max_total_held_bytes),
            max_total_held_bytes: self.max_total_held_bytes,
            held_timeout: self.held_timeout,
            id_header: self.id_header,
            response_headers: self.response_headers,
            response_model: self.response_model,
            rejection_hook: self.rejection_hook,
        })
    }
}

impl Default for RoutingConfigBuilder {
    fn default() -> Self {
        Self {
            #[cfg(feature = "reqwest")]
            source: Source::Url {
                setting: "models_url",
                url: DEFAULT_MODELS_URL.into(),
            },
            #[cfg(not(feature = "reqwest"))]
            source: Source::Missing,
            registry_policy: RegistryPolicy::default(),
            initial_catalog: None,
            policy: Policy {
                unknown: UnknownModel::default(),
                fallbacks: Fallbacks::default(),
            },
            endpoints: Vec::new(),
            max_held_bytes: 64 << 20,
            max_total_held_bytes: 512 << 20,
            held_timeout: Some(Duration::from_secs(30)),
            id_header: None,
            response_headers: false,
            response_model: ResponseModel::default(),
            rejection_hook: None,
        }
    }
}

/// A setting has a value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    problem: String,
}

impl ConfigError {
    fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }

    /// The environment variable or the builder's method that sets it.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// The shortest time that is not "no time at all".
const MIN_DURATION: Duration = Duration::from_millis(1);

fn seconds(setting: &'static str, text: &str) -> Result<Duration, ConfigError> {
    text.trim()
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            let problem =
                format!("is {text:?}; it must be a number of seconds, such as 300 or 0.5");
            ConfigError::new(setting, problem)
        })
}

fn in_bounds(setting: &'static str, value: Duration, min: Duration) -> Result<(), ConfigError> {
    if (min..=MAX_DURATION).contains(&value) {
        return Ok(());
    }
    let problem = format!(
        "is {} s; it must be from {} s to {} s (a year)",
        value.as_secs_f64(),
        min.as_secs_f64(),
        MAX_DURATION.as_secs()
    );
    Err(ConfigError::new(setting, problem))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::registry::FetchFuture;

    struct Nowhere;

    impl RegistrySource for Nowhere {
        fn fetch<'a>(&'a self, _: Option<&'a str>) -> FetchFuture<'a> {
            Box::pin(pending())
        }

        fn location(&self) -> String {
            "nowhere".into()
        }
    }

    /// The config that these variables make.
    fn from(variables: &[(&str, &str)]) -> Result<RoutingConfig, ConfigError> {
        let get = |name: &'static str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        };
        let builder = RoutingConfigBuilder::from_variables(get)?;
        let has_url = variables
            .iter()
            .any(|(name, _)| *name == "ACTIVE_MODELS_URL");
        if has_url {
            builder
        } else {
            builder.source(Nowhere)
        }
        .build()
    }

    fn build(
        configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
    ) -> Result<RoutingConfig, ConfigError> {
        configure(RoutingConfig::builder().source(Nowhere)).build()
    }

    /// The setting that the error names, in its field and in its message.
    fn blamed(result: Result<RoutingConfig, ConfigError>) -> &'static str {
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with(error.setting()), "{error}");
        error.setting()
    }

    const FALLBACKS: [(&str, Endpoint, &str); 4] = [
        ("DEFAULT_FALLBACK_MODEL", Endpoint::Llm, "mistral-31-24b"),
        (
            "DEFAULT_FALLBACK_EMBEDDINGS_MODEL",
            Endpoint::Embedding,
            "text-embedding-bge-m3",
        ),
        ("DEFAULT_FALLBACK_TTS_MODEL", Endpoint::Tts, "tts-kokoro"),
        ("DEFAULT_FALLBACK_STT_MODEL", Endpoint::Stt, "whisper-1"),
    ];

    #[test]
    fn the_defaults_are_the_documented_ones() {
        for config in [from(&[]).unwrap(), build(|config| config).unwrap()] {
            for (_, endpoint, fallback) in FALLBACKS {
                assert_eq!(config.fallback(endpoint), Some(fallback));
            }
            assert_eq!(config.fallback(Endpoint::Other), Some("mistral-31-24b"));
            let policy = config.registry_policy();
            assert_eq!(policy.ttl, Duration::from_secs(300));
            assert_eq!(policy.fetch_timeout, Duration::from_secs(10));
            assert_eq!(policy.miss_refresh, Duration::from_secs(10));
            assert_eq!(policy.max_refresh_wait, Duration::from_secs(2));
            assert_eq!(policy.max_stale, None);
            assert_eq!(config.policy.unknown, UnknownModel::Fallback);
            assert_eq!(config.max_held_bytes, 64 * 1024 * 1024);
            assert_eq!(config.max_total_held_bytes, 512 * 1024 * 1024);
            assert_eq!(config.held_timeout, Some(Duration::from_secs(30)));
            assert_eq!((config.id_header, config.response_headers), (None, false));
        }
    }

    #[test]
    fn each_variable_sets_its_fallback_and_the_empty_one_removes_it() {
        for (variable, endpoint, _) in FALLBACKS {
            let config = from(&[(variable, " my model ")]).unwrap();
            assert_eq!(config.fallback(endpoint), Some("my model"));
            for (_, other, fallback) in FALLBACKS {
                if other != endpoint {
                    assert_eq!(config.fallback(other), Some(fallback));
                }
            }
            for none in ["", "  "] {
                assert_eq!(from(&[(variable, none)]).unwrap().fallback(endpoint), None);
            }
        }
    }

    #[test]
    fn each_variable_sets_its_duration_in_seconds_with_decimals() {
        type Get = fn(&RegistryPolicy) -> Duration;
        let variables: [(&str, Get); 3] = [
            ("MODELS_TTL_SECONDS", |policy| policy.ttl),
            ("MODELS_FETCH_TIMEOUT_SECONDS", |policy| {
                policy.fetch_timeout
            }),
            ("MODELS_MISS_REFRESH_SECONDS", |policy| policy.miss_refresh),
        ];
        for (variable, get) in variables {
            for (text, millis) in [
                ("60", 60_000),
                (" 0.5 ", 500),
                ("0.001", 1),
                ("1e2", 100_000),
            ] {
                let config = from(&[(variable, text)]).unwrap();
                let duration = get(config.registry_policy());
                assert_eq!(duration, Duration::from_millis(millis), "{variable}={text}");
            }
            for bad in [
                "", "x", "-1", "NaN", "inf", "1e300", "31536001", "5s", "1,5",
            ] {
                let blamed = blamed(from(&[(variable, bad)]));
                assert_eq!(blamed, variable, "{bad}");
            }
        }
        assert_eq!(
            blamed(from(&[("MODELS_TTL_SECONDS", "0")])),
            "MODELS_TTL_SECONDS"
        );
        let timeout = "MODELS_FETCH_TIMEOUT_SECONDS";
        assert_eq!(blamed(from(&[(timeout, "0")])), timeout);
        assert!(from(&[("MODELS_MISS_REFRESH_SECONDS", "0")]).is_ok());
    }

    #[cfg(feature = "reqwest")]
    #[test]
    fn the_url_variable_sets_the_source_and_a_bad_one_is_named_but_not_its_secrets() {
        let url = "ACTIVE_MODELS_URL";
        let config = from(&[(url, "https://user:secret@host.example/list?key=secret")]).unwrap();
        assert_eq!(config.source.0.location(), "https://host.example/list");
        assert!(!format!("{config:?}").contains("secret"));
        for bad in ["", "nonsense", "ftp://host/list", "https://u:secret@"] {
            let result = from(&[(url, bad)]);
            let message = result.as_ref().unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
            assert_eq!(blamed(result), url, "{bad}");
        }
        let builder = RoutingConfig::builder().models_url("nonsense");
        assert_eq!(blamed(builder.build()), "models_url");
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_named() {
        let get = |name| match name {
            "DEFAULT_FALLBACK_TTS_MODEL" => Err(ConfigError::new(name, "is not UTF-8")),
            _ => Ok(None),
        };
        let error = RoutingConfigBuilder::from_variables(get).unwrap_err();
        assert_eq!(error.setting(), "DEFAULT_FALLBACK_TTS_MODEL");
    }

    #[test]
    fn the_builder_checks_its_bounds() {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let past = year + Duration::from_nanos(1);
        let (zero, short) = (Duration::ZERO, Duration::from_millis(1));
        assert_eq!(blamed(build(|config| config.ttl(zero))), "ttl");
        assert_eq!(blamed(build(|config| config.ttl(past))), "ttl");
        assert!(build(|config| config.ttl(short)).is_ok());
        assert!(build(|config| config.ttl(year)).is_ok());
        let timeout = build(|config| config.fetch_timeout(zero));
        assert_eq!(blamed(timeout), "fetch_timeout");
        let timeout = build(|config| config.fetch_timeout(past));
        assert_eq!(blamed(timeout), "fetch_timeout");
        assert!(build(|config| config.miss_refresh(zero).max_refresh_wait(zero)).is_ok());
        let miss = build(|config| config.miss_refresh(past));
        assert_eq!(blamed(miss), "miss_refresh");
        let wait = build(|config| config.max_refresh_wait(past));
        assert_eq!(blamed(wait), "max_refresh_wait");
        let stale = |age| build(|config| config.max_stale(Some(age)));
        assert_eq!(blamed(stale(Duration::from_secs(299))), "max_stale");
        assert_eq!(blamed(stale(past)), "max_stale");
        assert!(stale(Duration::from_secs(300)).is_ok());
        let held = |timeout| build(|config| config.held_timeout(timeout));
        assert_eq!(blamed(held(Some(zero))), "held_timeout");
        assert_eq!(blamed(held(Some(past))), "held_timeout");
        assert!(held(Some(short)).is_ok());
        assert!(held(None).is_ok());
    }

    #[test]
    fn an_endpoint_is_the_end_of_a_path() {
        for bad in ["", "/", "rerank", "/rerank/", "//"] {
            let config = build(|config| config.endpoint(bad, Endpoint::Llm));
            assert_eq!(blamed(config), "endpoint", "{bad}");
        }
        let config = build(|config| config.endpoint("/v2/rerank", Endpoint::Tts)).unwrap();
        assert_eq!(
            config.endpoints.find("/x/v2/rerank").endpoint,
            Endpoint::Tts
        );
    }

    #[test]
    fn one_request_may_not_hold_more_than_all_together() {
        let config = build(|config| config.max_held_bytes(9).max_total_held_bytes(5)).unwrap();
        assert_eq!((config.max_held_bytes, config.max_total_held_bytes), (5, 5));
    }

    #[cfg(not(feature = "reqwest"))]
    #[test]
    fn without_reqwest_a_source_must_be_given() {
        assert_eq!(blamed(RoutingConfig::builder().build()), "source");
    }
}
