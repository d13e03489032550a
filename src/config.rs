//! The layer's settings: valid once built. No I/O.

use std::{env, fmt, sync::Arc, time::Duration};

use http::HeaderName;

#[cfg(feature = "reqwest")]
use crate::registry::ReqwestSource;
use crate::{
    endpoint::{Endpoint, EndpointTable},
    registry::{Catalog, RegistryPolicy, RegistrySource},
    resolve::{Fallbacks, Policy, UnknownModel},
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
    pub(crate) id_header: Option<HeaderName>,
    pub(crate) response_headers: bool,
    pub(crate) restore_model_name: bool,
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
    id_header: Option<HeaderName>,
    response_headers: bool,
    restore_model_name: bool,
}

#[derive(Debug)]
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
        let fallbacks = &mut builder.policy.fallbacks;
        for (variable, fallback) in [
            ("DEFAULT_FALLBACK_MODEL", &mut fallbacks.llm),
            (
                "DEFAULT_FALLBACK_EMBEDDINGS_MODEL",
                &mut fallbacks.embedding,
            ),
            ("DEFAULT_FALLBACK_TTS_MODEL", &mut fallbacks.tts),
            ("DEFAULT_FALLBACK_STT_MODEL", &mut fallbacks.stt),
        ] {
            if let Some(name) = get(variable)? {
                *fallback = name.trim().into();
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
        let fallbacks = &mut self.policy.fallbacks;
        let fallback = match endpoint {
            Endpoint::Llm | Endpoint::Other => &mut fallbacks.llm,
            Endpoint::Embedding => &mut fallbacks.embedding,
            Endpoint::Tts => &mut fallbacks.tts,
            Endpoint::Stt => &mut fallbacks.stt,
        };
        *fallback = name.into().trim().into();
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

    /// A request header to carry the ID, such as `model_id`, by which Morpheus
    /// nodes route. A client's own copy of it is removed from every request.
    /// None by default.
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
    pub fn restore_model_name(mut self, on: bool) -> Self {
        self.restore_model_name = on;
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
        let mut endpoints = EndpointTable::default();
        for (suffix, endpoint) in self.endpoints {
            if !suffix.starts_with('/') || suffix.len() < 2 || suffix.ends_with('/') {
                let problem = format!("is {suffix:?}; it must begin with '/' and not end with it");
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
            id_header: self.id_header,
            response_headers: self.response_headers,
            restore_model_name: self.restore_model_name,
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
            id_header: None,
            response_headers: false,
            restore_model_name: false,
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
