//! The settings that environment variables have.

use std::{env, str::FromStr, time::Duration};

use super::{
    ConfigError, RoutingConfigBuilder,
    builder::{build_aliases, check_endpoint},
};
use crate::{
    endpoint::Endpoint,
    registry::{MIN_DURATION, check_bounds},
};

const ALIASES: &str = "MODEL_ALIASES";
const ENDPOINTS: &str = "MODEL_ENDPOINTS";

impl RoutingConfigBuilder {
    /// Returns the default settings, overridden by the environment.
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `ACTIVE_MODELS_URL` | URL of the registry (feature `reqwest`) | the Morpheus marketplace's |
    /// | `DEFAULT_FALLBACK_MODEL` | Fallback model for text. Empty disables it. | `mistral-31-24b` |
    /// | `DEFAULT_FALLBACK_EMBEDDINGS_MODEL` | Fallback model for embeddings. Empty disables it. | `text-embedding-bge-m3` |
    /// | `DEFAULT_FALLBACK_TTS_MODEL` | Fallback model for text to speech. Empty disables it. | `tts-kokoro` |
    /// | `DEFAULT_FALLBACK_STT_MODEL` | Fallback model for speech to text. Empty disables it. | `whisper-1` |
    /// | `UNKNOWN_MODEL` | [`unknown_model`](Self::unknown_model): `fallback`, `suggest`, `reject` or `forward` | `suggest` |
    /// | `MISSING_MODEL` | [`missing_model`](Self::missing_model): `fallback`, `reject` or `forward` | `fallback` |
    /// | `MODEL_ALIASES` | [aliases](Self::alias): `NAME=MODEL`, separated by commas | none |
    /// | `MODEL_ENDPOINTS` | [endpoints](Self::add_endpoint): `ENDING=KIND` or `=PATH=KIND`, separated by commas; the kinds are `llm`, `embedding`, `tts`, `stt`, `other` | none |
    /// | `MODELS_TTL_SECONDS` | [`ttl`](Self::ttl) | 300 |
    /// | `MODELS_FETCH_TIMEOUT_SECONDS` | [`fetch_timeout`](Self::fetch_timeout) | 10 |
    /// | `MODELS_MISS_REFRESH_SECONDS` | [`miss_refresh`](Self::miss_refresh) | 10 |
    ///
    /// Seconds may have decimals. An empty policy is the default. Methods that are called afterwards override the environment.
    ///
    /// # Errors
    ///
    /// Returns an error that names the variable if its value is not allowed.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(ConfigError::new(name, "is not UTF-8")),
        })
    }

    pub(super) fn from_variables(
        get: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let mut builder = Self::default();
        #[cfg(feature = "reqwest")]
        if let Some(url) = get("ACTIVE_MODELS_URL")? {
            builder = builder.url_of("ACTIVE_MODELS_URL", url);
        }
        for (variable, endpoint) in [
            ("DEFAULT_FALLBACK_MODEL", Endpoint::Llm),
            ("DEFAULT_FALLBACK_EMBEDDINGS_MODEL", Endpoint::Embedding),
            ("DEFAULT_FALLBACK_TTS_MODEL", Endpoint::Tts),
            ("DEFAULT_FALLBACK_STT_MODEL", Endpoint::Stt),
        ] {
            builder = match get(variable)? {
                Some(name) if name.trim().is_empty() => builder.without_fallback(endpoint),
                Some(name) => builder.fallback(endpoint, name),
                None => builder,
            };
        }
        if let Some(policy) = choice(&get, "UNKNOWN_MODEL")? {
            builder = builder.unknown_model(policy);
        }
        if let Some(policy) = choice(&get, "MISSING_MODEL")? {
            builder = builder.missing_model(policy);
        }
        for pair in list(&get, ALIASES)? {
            builder = match pair.split_once('=') {
                Some((name, model)) => builder.alias(name, model),
                None => {
                    let reason = format!("has {pair:?}; an alias must be like NAME=MODEL");
                    return Err(ConfigError::new(ALIASES, reason));
                }
            };
        }
        build_aliases(ALIASES, &builder.aliases)?;
        for pair in list(&get, ENDPOINTS)? {
            // A whole path begins with a `=`.
            builder = match pair.rsplit_once('=') {
                Some((path, kind)) => {
                    let kind = kind.parse::<Endpoint>();
                    let kind = kind.map_err(|error| error.of_variable(ENDPOINTS))?;
                    check_endpoint(ENDPOINTS, path.trim())?;
                    builder.add_endpoint(path.trim(), kind)
                }
                None => {
                    let reason =
                        format!("has {pair:?}; an endpoint must be like /rerank=embedding");
                    return Err(ConfigError::new(ENDPOINTS, reason));
                }
            };
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
                check_bounds(variable, *duration, min)?;
            }
        }
        Ok(builder)
    }
}

/// Reads a variable of fixed choices. Returns `None` if it is empty or not set.
fn choice<T: FromStr<Err = ConfigError>>(
    get: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    variable: &'static str,
) -> Result<Option<T>, ConfigError> {
    match get(variable)? {
        Some(text) if !text.trim().is_empty() => match text.parse() {
            Ok(choice) => Ok(Some(choice)),
            Err(error) => Err(error.of_variable(variable)),
        },
        _ => Ok(None),
    }
}

/// Reads a variable that is a list. Empty items are none.
fn list(
    get: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    variable: &'static str,
) -> Result<Vec<String>, ConfigError> {
    let text = get(variable)?.unwrap_or_default();
    let items = text.split(',').map(str::trim);
    Ok(items
        .filter(|item| !item.is_empty())
        .map(Into::into)
        .collect())
}

fn seconds(variable: &'static str, text: &str) -> Result<Duration, ConfigError> {
    text.trim()
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            let reason = format!("is {text:?}; it must be a number of seconds, such as 300 or 0.5");
            ConfigError::new(variable, reason)
        })
}
