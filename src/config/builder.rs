//! The builder of a configuration: one method a setting.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, Response, Uri,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};

use super::{ConfigError, RoutingConfig};
#[cfg(feature = "reqwest")]
use crate::registry::ReqwestSource;
use crate::{
    endpoint::{Endpoint, OtherPaths},
    headers::is_cgi_equivalent,
    path::normalize,
    registry::{
        Catalog, MIN_DURATION, Registry, RegistryBuilder, RegistryPolicy, RegistrySource,
        check_bounds,
    },
    request::{EndpointTable, UriTemplate, UriTemplates},
    resolve::{Aliases, Fallbacks, MissingModel, Policy, UnknownModel},
    response::{Rejection, RejectionHook, ResponseModel},
};

/// The URL of the Morpheus marketplace's production catalog.
#[cfg(feature = "reqwest")]
const DEFAULT_MODELS_URL: &str = "https://active.mor.org/active_models.json";

/// The headers that frame a request, none of which can carry an ID.
const FRAMING_HEADERS: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TRANSFER_ENCODING,
];

/// A builder of a [`RoutingConfig`].
///
/// The settings of the registry (its source, its policy, its initial catalog) are those of
/// [`RegistryBuilder`], for layers with a registry of their own; [`registry`](Self::registry) takes
/// a registry that is already built.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RoutingConfigBuilder {
    pub(super) registry_policy: RegistryPolicy,
    source: Source,
    initial_catalog: Option<Arc<Catalog>>,
    /// The registry in place of one of the layer's own, and the method that set it.
    registry: Option<(&'static str, Registry)>,
    /// The last method called that sets something of the layer's own registry.
    registry_setting: Option<&'static str>,
    unknown_model: UnknownModel,
    missing_model: MissingModel,
    /// In the order of the calls. `None` removes the fallback.
    fallbacks: Vec<(Endpoint, Option<String>)>,
    other_paths: OtherPaths,
    endpoints: Vec<(String, Endpoint)>,
    pub(super) aliases: Vec<(String, String)>,
    uri_templates: Vec<(String, Endpoint)>,
    max_held_bytes: usize,
    max_total_held_bytes: usize,
    held_timeout: Option<Duration>,
    id_header: Option<HeaderName>,
    name_header: Option<HeaderName>,
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
    Custom(Arc<dyn RegistrySource>),
}

impl Source {
    fn is_url(&self) -> bool {
        match self {
            #[cfg(feature = "reqwest")]
            Self::Url { .. } => true,
            #[cfg(not(feature = "reqwest"))]
            Self::Missing => false,
            Self::Custom(_) => false,
        }
    }

    fn build(self) -> Result<Arc<dyn RegistrySource>, ConfigError> {
        match self {
            #[cfg(feature = "reqwest")]
            Self::Url { setting, url } => match ReqwestSource::new(&url) {
                Ok(source) => Ok(Arc::new(source)),
                Err(error) => Err(ConfigError::new(setting, error.reason())),
            },
            #[cfg(not(feature = "reqwest"))]
            Self::Missing => Err(ConfigError::new(
                "source",
                "is missing; give one, or enable the feature `reqwest`",
            )),
            Self::Custom(source) => Ok(source),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A URL may contain credentials.
            #[cfg(feature = "reqwest")]
            Self::Url { setting, .. } => f.write_str(setting),
            #[cfg(not(feature = "reqwest"))]
            Self::Missing => f.write_str("missing"),
            Self::Custom(source) => f.write_str(&source.location()),
        }
    }
}

impl RoutingConfigBuilder {
    /// Sets the registry that the layer resolves names by, in place of one of its own.
    ///
    /// Layers that share a registry share its catalog, its fetches and its TTL. Valid
    /// environment variables of the registry are ignored. There is no default
    /// [`fallback`](Self::fallback).
    ///
    /// # Examples
    ///
    /// Two routes with different policies:
    ///
    /// ```
    /// use tower_model_routing::{
    ///     ModelRoutingLayer, RoutingConfig, UnknownModel,
    ///     registry::{Catalog, ModelEntry, Registry},
    /// };
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let catalog = Catalog::from_entries([ModelEntry::new("venice-uncensored", "0xb603")])?;
    /// // Usually `Registry::builder(source).build()?`.
    /// let registry = Registry::fixed(catalog);
    /// let layer = |policy| -> Result<_, Box<dyn std::error::Error>> {
    ///     let config = RoutingConfig::builder()
    ///         .registry(registry.clone())
    ///         .unknown_model(policy)
    ///         .build()?;
    ///     Ok(ModelRoutingLayer::new(config))
    /// };
    /// let app = axum::Router::<()>::new()
    ///     .nest("/strict", chat().layer(layer(UnknownModel::Reject)?))
    ///     .nest("/lenient", chat().layer(layer(UnknownModel::Fallback)?));
    /// # drop(app);
    /// # Ok(())
    /// # }
    /// # fn chat() -> axum::Router {
    /// #     axum::Router::new()
    /// # }
    /// ```
    ///
    /// The guide to [policies](crate::guide::policies) shows policies per tenant, and how a policy
    /// changes at run time.
    pub fn registry(self, registry: Registry) -> Self {
        self.registry_by("registry", registry)
    }

    /// Sets a catalog that never changes, for tests, and for models that are known when the program
    /// starts: the layer has no source, fetches nothing and needs no runtime.
    ///
    /// [`Registry::fixed`] makes such a registry without a layer. Valid environment variables of the
    /// registry are ignored.
    ///
    /// # Examples
    ///
    /// A test of a service behind the layer:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_model_routing::{
    ///     BoxError, ModelRoutingLayer, RoutedBody, RoutingConfig,
    ///     registry::{Catalog, ModelEntry},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let catalog = Catalog::from_entries([ModelEntry::new("venice-uncensored", "0xb603")])?;
    /// let config = RoutingConfig::builder().fixed_catalog(catalog).build()?;
    /// let service = ServiceBuilder::new()
    ///     .layer(ModelRoutingLayer::new(config))
    ///     .service_fn(|request: Request<RoutedBody<Full<Bytes>>>| async {
    ///         let body = request.into_body().collect().await?.to_bytes();
    ///         Ok::<_, BoxError>(Response::new(Full::new(body)))
    ///     });
    ///
    /// let request = Request::post("/v1/chat/completions")
    ///     .body(Full::from(r#"{"model":"venice-uncensored"}"#))?;
    /// let body = service.oneshot(request).await?.into_body().collect().await?;
    /// assert_eq!(body.to_bytes(), r#"{"model":"0xb603"}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fixed_catalog(self, catalog: impl Into<Arc<Catalog>>) -> Self {
        self.registry_by("fixed_catalog", Registry::fixed(catalog))
    }

    /// Sets the registry by this method. The other method that sets one, called before, counts as
    /// a setting beside it.
    fn registry_by(mut self, method: &'static str, registry: Registry) -> Self {
        match self.registry.replace((method, registry)) {
            Some((other, _)) if other != method => self.registry_setting(other),
            _ => self,
        }
    }

    /// Sets the URL of the registry: `http`, or with the feature `rustls` or `rustls-no-provider`
    /// `https` too.
    ///
    /// Credentials in the URL are sent as Basic authentication and never shown. The default is the
    /// production URL of the Morpheus marketplace.
    #[cfg(feature = "reqwest")]
    pub fn models_url(self, url: impl Into<String>) -> Self {
        self.url_of("models_url", url.into())
            .registry_setting("models_url")
    }

    #[cfg(feature = "reqwest")]
    pub(super) fn url_of(mut self, setting: &'static str, url: String) -> Self {
        self.source = Source::Url { setting, url };
        self
    }

    /// Sets a source of the catalog other than a URL. There is then no default
    /// [`fallback`](Self::fallback).
    pub fn source(mut self, source: impl RegistrySource) -> Self {
        self.source = Source::Custom(Arc::new(source));
        self.registry_setting("source")
    }

    /// Sets a catalog to start with: see [`RegistryBuilder::initial_catalog`].
    pub fn initial_catalog(mut self, catalog: impl Into<Arc<Catalog>>) -> Self {
        self.initial_catalog = Some(catalog.into());
        self.registry_setting("initial_catalog")
    }

    /// Sets the lifetime of the catalog: see [`RegistryBuilder::ttl`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.registry_policy.ttl = ttl;
        self.registry_setting("ttl")
    }

    /// Sets the timeout of one fetch: see [`RegistryBuilder::fetch_timeout`].
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.registry_policy.fetch_timeout = timeout;
        self.registry_setting("fetch_timeout")
    }

    /// Sets the age at which an unknown name refreshes the catalog: see
    /// [`RegistryBuilder::miss_refresh`].
    pub fn miss_refresh(mut self, age: Duration) -> Self {
        self.registry_policy.miss_refresh = age;
        self.registry_setting("miss_refresh")
    }

    /// Sets how long a request waits for a refresh: see [`RegistryBuilder::max_refresh_wait`].
    pub fn max_refresh_wait(mut self, wait: Duration) -> Self {
        self.registry_policy.max_refresh_wait = wait;
        self.registry_setting("max_refresh_wait")
    }

    /// Sets the age from which on a stale catalog is not used: see
    /// [`RegistryBuilder::max_stale`].
    pub fn max_stale(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.registry_policy.max_stale = age.into();
        self.registry_setting("max_stale")
    }

    /// Sets the longest document of a catalog: see [`RegistryBuilder::max_catalog_bytes`].
    pub fn max_catalog_bytes(mut self, bytes: usize) -> Self {
        self.registry_policy.max_catalog_bytes = bytes;
        self.registry_setting("max_catalog_bytes")
    }

    fn registry_setting(mut self, method: &'static str) -> Self {
        self.registry_setting = Some(method);
        self
    }

    /// Sets the fallback model for this kind of endpoint.
    ///
    /// The defaults are those of [`from_env`](Self::from_env). They are models of the Morpheus
    /// marketplace, so they apply only to a registry with a URL: with a [`source`](Self::source)
    /// or a [`registry`](Self::registry) of your own, there is no fallback unless you name one.
    /// [`Endpoint::Other`] can have none, because nothing falls back to a model of another kind.
    pub fn fallback(mut self, endpoint: Endpoint, name: impl Into<String>) -> Self {
        let name = name.into().trim().to_owned();
        self.fallbacks.push((endpoint, Some(name)));
        self
    }

    /// Removes the fallback model for this kind of endpoint, so that unknown names are a 404, and
    /// requests without a model a 400.
    pub fn without_fallback(mut self, endpoint: Endpoint) -> Self {
        self.fallbacks.push((endpoint, None));
        self
    }

    /// Makes `name` stand for `model` where the catalog does not have it. It is no fallback.
    ///
    /// `name` may have one `*`, which stands for any text, and its case is ignored. A name that is
    /// equal goes before a pattern, and the longest pattern before others. `model` is a name, an ID
    /// or an alias in the catalog, and never one of these aliases; while the catalog does not have
    /// it, the alias counts as absent, with a warning. A second alias of the same name replaces the
    /// first.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::RoutingConfig;
    ///
    /// let builder = RoutingConfig::builder()
    ///     .alias("gpt-4o", "llama-3.3-70b")
    ///     .alias("claude-*", "venice-uncensored");
    /// # drop(builder);
    /// ```
    pub fn alias(mut self, name: impl Into<String>, model: impl Into<String>) -> Self {
        self.aliases.push((name.into(), model.into()));
        self
    }

    /// Sets the policy for a name that is not in the catalog. The default is
    /// [`UnknownModel::Suggest`].
    pub fn unknown_model(mut self, policy: UnknownModel) -> Self {
        self.unknown_model = policy;
        self
    }

    /// Sets the policy for a request that names no model. The default is
    /// [`MissingModel::Fallback`].
    pub fn missing_model(mut self, policy: MissingModel) -> Self {
        self.missing_model = policy;
        self
    }

    /// Sets the policy for `POST` requests to paths that are no inference endpoints. The default is
    /// [`OtherPaths::Inspect`].
    pub fn other_paths(mut self, policy: OtherPaths) -> Self {
        self.other_paths = policy;
        self
    }

    /// Makes paths that end in `path` ask for this kind of endpoint; after a `=`, as in `=/chat`,
    /// only the whole path.
    ///
    /// Paths are compared like those of the [default endpoints](crate::guide::where_the_model_is):
    /// the longest one that fits decides, and an added one goes before a default of the same
    /// length. A request without a model is subject to [`missing_model`](Self::missing_model).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::{Endpoint, RoutingConfig};
    ///
    /// let builder = RoutingConfig::builder()
    ///     .add_endpoint("/rerank", Endpoint::Embedding) // also /v1/rerank
    ///     .add_endpoint("=/ask", Endpoint::Llm); // not /v1/ask
    /// # drop(builder);
    /// ```
    pub fn add_endpoint(mut self, path: impl Into<String>, endpoint: Endpoint) -> Self {
        self.endpoints.push((path.into(), endpoint));
        self
    }

    /// Makes URIs that fit `template` name the model in place of `{model}`, and ask for this kind
    /// of endpoint.
    ///
    /// | template | fits |
    /// |---|---|
    /// | `/model/{model}/converse` | paths that end so |
    /// | `/models/{model}:generateContent` | paths whose last segment ends in the verb |
    /// | `/engines/{model}/{*rest}` | paths with one or more segments behind the model |
    /// | `/realtime?model={model}` | paths that end so, of `GET` requests too, with this parameter |
    ///
    /// Paths are compared like those of the
    /// [default templates](crate::guide::where_the_model_is#in-the-uri), and a name may have an
    /// encoded slash. The last template that was added and fits decides, then the default ones. The
    /// body is read too if the path is in the table of endpoints whose bodies must be valid;
    /// otherwise it passes unread.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_model_routing::{Endpoint, RoutingConfig};
    ///
    /// let builder = RoutingConfig::builder()
    ///     .add_uri_template("/model/{model}/converse", Endpoint::Llm);
    /// # drop(builder);
    /// ```
    pub fn add_uri_template(mut self, template: impl Into<String>, endpoint: Endpoint) -> Self {
        self.uri_templates.push((template.into(), endpoint));
        self
    }

    /// Sets how many bytes of one request may be held before its model is found.
    ///
    /// The default is 64 MiB. Past it the response is a 413. Of an [encoded](crate#compression) body
    /// the decoded bytes count.
    pub fn max_held_bytes(mut self, bytes: usize) -> Self {
        self.max_held_bytes = bytes;
        self
    }

    /// Sets how many bytes of all requests together may be held before their models are found.
    ///
    /// The default is 512 MiB. Past it the response is a 503. The memory of decoders counts too, until
    /// their bodies end: about 64 KiB for gzip and deflate, 4 to 20 MiB for br, and up to 9 MiB for
    /// zstd.
    pub fn max_total_held_bytes(mut self, bytes: usize) -> Self {
        self.max_total_held_bytes = bytes;
        self
    }

    /// Sets how long a request may be held before its model is found; `None` disables the timeout.
    ///
    /// The default is 30 s. Past it the response is a 408. The timeout starts again whenever the
    /// body has brought 16 KiB for each of its seconds (128 kbit/s), so that a large upload over a
    /// slow line passes and a client that drips does not. A client that stops after more than that
    /// times out within a second. Once the model is known there is no timeout.
    pub fn held_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.held_timeout = timeout.into();
        self
    }

    /// Sets a request header that carries the ID, such as `model_id`, by which Morpheus nodes
    /// route. There is none by default.
    ///
    /// A client's own copies are removed from every request and its trailers, also when they are
    /// spelled with `-` for `_`, which some servers treat alike. A proxy that removes the headers
    /// that `Connection` names must do so before this layer, or a client could name this one.
    pub fn id_header(mut self, name: HeaderName) -> Self {
        self.id_header = Some(name);
        self
    }

    /// Sets a request header that carries the catalog name of the model, by which Envoy and routes
    /// of the Gateway API can match. There is none by default.
    ///
    /// A name that is not ASCII is percent-encoded in it. A client's own copies are removed like
    /// those of the [`id_header`](Self::id_header), which must be another header.
    pub fn name_header(mut self, name: HeaderName) -> Self {
        self.name_header = Some(name);
        self
    }

    /// Sets whether responses carry `x-model-id`, `x-model-name` and, for a fallback,
    /// `x-model-fallback: true`. The default is `false`.
    ///
    /// An ID or a name that is not ASCII is percent-encoded in them.
    pub fn response_headers(mut self, on: bool) -> Self {
        self.response_headers = on;
        self
    }

    /// Sets the model that a response names. The default is [`ResponseModel::Unchanged`]. A response
    /// of a fallback names the model that served in any case.
    ///
    /// The guide [what the response says](crate::guide::what_the_response_says) has the places of
    /// the name in JSON, events and errors. Responses still stream. The inner service is asked for
    /// responses [without an encoding](crate#compression): compress outside of this layer.
    pub fn response_model(mut self, model: ResponseModel) -> Self {
        self.response_model = model;
        self
    }

    /// Sets how a rejection is shown, in place of the error objects of [`Rejection`].
    ///
    /// The hook sets the status, the `Content-Type` and `Retry-After`; starting from
    /// [`Rejection::to_response`] keeps them. The response has the [`Rejection`] in its extensions
    /// in any case.
    ///
    /// # Examples
    ///
    /// Problem details (RFC 9457):
    ///
    /// ```
    /// use http::{HeaderValue, header::CONTENT_TYPE};
    /// use tower_model_routing::RoutingConfig;
    ///
    /// let builder = RoutingConfig::builder().rejection_response(|rejection, uri| {
    ///     let mut response = rejection.to_response();
    ///     let json = HeaderValue::from_static("application/problem+json");
    ///     response.headers_mut().insert(CONTENT_TYPE, json);
    ///     let problem = serde_json::json!({
    ///         "status": rejection.status().as_u16(),
    ///         "title": rejection.code().as_str(),
    ///         "detail": rejection.message(),
    ///         "instance": uri.path(),
    ///     });
    ///     response.map(|_| problem.to_string().into())
    /// });
    /// ```
    pub fn rejection_response(
        mut self,
        hook: impl Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.rejection_hook = Some(RejectionHook::new(hook));
        self
    }

    /// Checks the settings. Does no I/O and needs no runtime.
    ///
    /// # Errors
    ///
    /// Returns an error that names the setting if its value is not allowed, or if a setting of the
    /// registry was given beside a [`registry`](Self::registry) or a
    /// [`fixed_catalog`](Self::fixed_catalog).
    pub fn build(self) -> Result<RoutingConfig, ConfigError> {
        let has_morpheus_models = self.registry.is_none() && self.source.is_url();
        let policy = Policy {
            unknown: self.unknown_model,
            missing: self.missing_model,
            fallbacks: build_fallbacks(has_morpheus_models, self.fallbacks)?,
            aliases: build_aliases("alias", &self.aliases)?,
        };
        if let Some(timeout) = self.held_timeout {
            check_bounds("held_timeout", timeout, MIN_DURATION)?;
        }
        for (setting, header) in [
            ("id_header", &self.id_header),
            ("name_header", &self.name_header),
        ] {
            if let Some(name) = header
                && FRAMING_HEADERS
                    .iter()
                    .any(|framing| is_cgi_equivalent(framing, name))
            {
                let reason = format!("is {name:?}, which frames the request");
                return Err(ConfigError::new(setting, reason));
            }
        }
        if let (Some(id), Some(name)) = (&self.id_header, &self.name_header)
            && is_cgi_equivalent(id, name)
        {
            let reason = format!("is {name:?}, which some servers take for the ID's {id:?}");
            return Err(ConfigError::new("name_header", reason));
        }
        let mut endpoints = EndpointTable::default();
        for (pattern, endpoint) in self.endpoints {
            check_endpoint("add_endpoint", &pattern)?;
            endpoints.set(&pattern, endpoint);
        }
        let mut uri_templates = UriTemplates::default();
        for (template, endpoint) in self.uri_templates {
            match UriTemplate::parse(&template, Some(endpoint)) {
                Ok(parsed) => uri_templates.add(parsed),
                Err(rule) => {
                    let reason = format!("is {template:?}; it {rule}");
                    return Err(ConfigError::new("add_uri_template", reason));
                }
            }
        }
        let registry = match (self.registry, self.registry_setting) {
            (Some((method, _)), Some(setting)) => {
                let reason = format!(
                    "is set beside `{method}`, whose registry has its own settings; remove one of \
                     the two"
                );
                return Err(ConfigError::new(setting, reason));
            }
            (Some((_, registry)), None) => registry,
            (None, _) => {
                let source = self.source.build()?;
                let mut builder = RegistryBuilder::new(source).policy(self.registry_policy);
                if let Some(catalog) = self.initial_catalog {
                    builder = builder.initial_catalog(catalog);
                }
                builder.build()?
            }
        };
        Ok(RoutingConfig {
            registry,
            policy,
            endpoints,
            uri_templates,
            other_paths: self.other_paths,
            // A request past the limit for all requests would never find room.
            max_held_bytes: self.max_held_bytes.min(self.max_total_held_bytes),
            max_total_held_bytes: self.max_total_held_bytes,
            held_timeout: self.held_timeout,
            id_header: self.id_header,
            name_header: self.name_header,
            response_headers: self.response_headers,
            response_model: self.response_model,
            rejection_hook: self.rejection_hook,
        })
    }
}

impl Default for RoutingConfigBuilder {
    fn default() -> Self {
        Self {
            registry_policy: RegistryPolicy::default(),
            #[cfg(feature = "reqwest")]
            source: Source::Url {
                setting: "models_url",
                url: DEFAULT_MODELS_URL.into(),
            },
            #[cfg(not(feature = "reqwest"))]
            source: Source::Missing,
            initial_catalog: None,
            registry: None,
            registry_setting: None,
            unknown_model: UnknownModel::default(),
            missing_model: MissingModel::default(),
            fallbacks: Vec::new(),
            other_paths: OtherPaths::default(),
            endpoints: Vec::new(),
            aliases: Vec::new(),
            uri_templates: Vec::new(),
            max_held_bytes: 64 << 20,
            max_total_held_bytes: 512 << 20,
            held_timeout: Some(Duration::from_secs(30)),
            id_header: None,
            name_header: None,
            response_headers: false,
            response_model: ResponseModel::default(),
            rejection_hook: None,
        }
    }
}

/// Checks the pattern of a path.
pub(super) fn check_endpoint(setting: &'static str, pattern: &str) -> Result<(), ConfigError> {
    let path = pattern.strip_prefix('=').unwrap_or(pattern);
    let is_path = path.starts_with('/') && path.len() > 1 && !path.contains(['?', '#']);
    if is_path && normalize(path) == path {
        return Ok(());
    }
    let reason = format!(
        "is {pattern:?}; it must begin with '/' or \"=/\", not end with '/', and have no escapes, \
         parameters, query, empty or dot segments"
    );
    Err(ConfigError::new(setting, reason))
}

pub(super) fn build_aliases(
    setting: &'static str,
    named: &[(String, String)],
) -> Result<Aliases, ConfigError> {
    let mut aliases = Aliases::default();
    for (name, model) in named {
        if let Err(rule) = aliases.add(name, model) {
            let reason = format!("has {name:?} for {model:?}; an alias {rule}");
            return Err(ConfigError::new(setting, reason));
        }
    }
    Ok(aliases)
}

fn build_fallbacks(
    has_morpheus_models: bool,
    named: Vec<(Endpoint, Option<String>)>,
) -> Result<Fallbacks, ConfigError> {
    let mut fallbacks = if has_morpheus_models {
        Fallbacks::morpheus()
    } else {
        Fallbacks::default()
    };
    for (endpoint, name) in named {
        if name.as_deref() == Some("") {
            let reason = "is an empty name; call `without_fallback` for no fallback";
            return Err(ConfigError::new("fallback", reason));
        }
        match fallbacks.get_mut(endpoint) {
            Some(fallback) => *fallback = name,
            None if name.is_none() => {}
            None => {
                let reason = format!(
                    "is set for {endpoint} paths, which can have none: nothing falls back to a \
                     model of another kind; add the path to an endpoint by `add_endpoint`"
                );
                return Err(ConfigError::new("fallback", reason));
            }
        }
    }
    Ok(fallbacks)
}
