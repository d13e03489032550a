//! The settings: flags and environment variables.

use std::{env, net::SocketAddr, time::Duration};

use clap::{Parser, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::sync::Semaphore;
use tower_model_routing::{
    ConfigError, Endpoint, MissingModel, ResponseModel, RoutingConfig, RoutingConfigBuilder,
    UnknownModel, registry::ReqwestSource,
};

use crate::{forward::Timeouts, log, upstream_headers};

/// A reverse proxy for LLM APIs that routes by model name.
///
/// It replaces the `model` of each request by the model's ID from a published
/// catalog of active models, and forwards everything else unchanged. Without an
/// upstream it runs a demo with an embedded one.
#[derive(Debug, Parser)]
#[command(
    name = "proxy",
    version,
    after_help = "More settings come from the environment: DEFAULT_FALLBACK_MODEL, \
                  DEFAULT_FALLBACK_EMBEDDINGS_MODEL, DEFAULT_FALLBACK_TTS_MODEL, \
                  DEFAULT_FALLBACK_STT_MODEL (empty disables), MODELS_TTL_SECONDS, \
                  MODELS_FETCH_TIMEOUT_SECONDS, MODELS_MISS_REFRESH_SECONDS, RUST_LOG (such as \
                  info,proxy=debug), UPSTREAM_AUTHORIZATION: the Authorization header of upstream \
                  requests, in place of the client's, UPSTREAM_HEADERS: other such headers, as \
                  lines of Name: value, SSL_CERT_FILE and SSL_CERT_DIR: the CA \
                  certificates to trust, such as a private CA's, in place of the system's, and, \
                  if built with the feature otlp, OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's \
                  other variables: the export of traces.\n\n\
                  SIGTERM and Ctrl-C drain and stop; SIGHUP refreshes the catalog."
)]
struct Cli {
    /// Address to listen on; port 0 selects a free port.
    #[arg(
        long,
        env = "LISTEN_ADDR",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    listen: String,

    /// Address for /metrics, /health/models and the details of /health, which are
    /// then only there [default: the address to listen on].
    #[arg(long, env = "ADMIN_LISTEN_ADDR", value_name = "HOST:PORT")]
    admin_listen: Option<String>,

    /// Server to forward to; its path is prepended to each request's path
    /// [default: the demo upstream].
    #[arg(long, env = "UPSTREAM_URL", value_name = "URL", hide_env_values = true)]
    upstream: Option<String>,

    /// URL of the catalog of active models [default: the Morpheus
    /// marketplace's; without an upstream the demo's].
    #[arg(
        long,
        env = "ACTIVE_MODELS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    models_url: Option<String>,

    /// What happens to a model that is not in the catalog: fallback; suggest (404
    /// if a similar name is, else fallback); reject (404); or forward
    /// [env: UNKNOWN_MODEL] [default: suggest].
    #[arg(long, value_name = "POLICY")]
    unknown_model: Option<UnknownModel>,

    /// What happens to a request without a model: fallback; reject (400); or
    /// forward [env: MISSING_MODEL] [default: fallback].
    #[arg(long, value_name = "POLICY")]
    missing_model: Option<MissingModel>,

    /// Another name for a model of the catalog, with at most one * in it; also in
    /// MODEL_ALIASES, separated by commas [default: none].
    #[arg(long, value_name = "NAME=MODEL", value_parser = alias)]
    alias: Vec<(String, String)>,

    /// The kind of paths that end so: llm, embedding, tts, stt or other; of the
    /// whole path behind a =, as in =/ask=llm. Also in MODEL_ENDPOINTS, separated
    /// by commas [default: those of LLM APIs].
    #[arg(long, value_name = "ENDING=KIND", value_parser = endpoint)]
    endpoint: Vec<(String, Endpoint)>,

    /// The model that a response names: requested (as the client spelled it); served
    /// (the catalog name); or unchanged (the ID). A fallback is always named.
    #[arg(
        long,
        env = "RESPONSE_MODEL",
        value_name = "MODEL",
        default_value_t = ResponseModel::Requested,
        value_parser = |text: &str| {
            let model = text.parse::<ResponseModel>();
            model.map_err(|error| format!("{error}, also in RESPONSE_MODEL"))
        }
    )]
    response_model: ResponseModel,

    /// Also send the model's ID in this request header, such as the model_id by
    /// which Morpheus nodes route; clients' own copies are removed.
    #[arg(long, value_name = "NAME")]
    id_header: Option<HeaderName>,

    /// Also send the model's name in the catalog in this request header; clients'
    /// own copies are removed.
    #[arg(long, value_name = "NAME")]
    name_header: Option<HeaderName>,

    /// Origin whose pages may read responses in browsers, such as
    /// https://app.example.com, or * for all [default: the upstream decides].
    #[arg(
        long,
        env = "CORS_ORIGIN",
        value_name = "ORIGIN",
        value_parser = cors_origin
    )]
    cors_origin: Option<HeaderValue>,

    /// Maximum bytes held of one request until its model is known; larger
    /// requests get 413.
    #[arg(
        long,
        env = "MAX_HELD_BYTES",
        value_name = "BYTES",
        default_value = "67108864",
        value_parser = |text: &str| bytes(text, "MAX_HELD_BYTES")
    )]
    max_held_bytes: usize,

    /// Maximum bytes held of all requests together; further requests get 503.
    #[arg(
        long,
        env = "MAX_TOTAL_HELD_BYTES",
        value_name = "BYTES",
        default_value = "536870912",
        value_parser = |text: &str| bytes(text, "MAX_TOTAL_HELD_BYTES")
    )]
    max_total_held_bytes: usize,

    /// Maximum connections of clients; further ones wait.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "16384",
        value_parser = count
    )]
    max_connections: usize,

    /// Maximum requests in flight; further ones get 503.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "16384",
        value_parser = count
    )]
    max_requests: usize,

    /// Timeout until a request's model is known, unless the body arrives at 16
    /// KiB per second or more; slower requests get 408.
    #[arg(
        long,
        env = "HELD_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = |text: &str| {
            seconds(text).map_err(|error| format!("{error}, also in HELD_TIMEOUT_SECONDS"))
        }
    )]
    held_timeout: Duration,

    /// Timeout for a connection to the upstream; the client gets 504.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    upstream_connect_timeout: Duration,

    /// Timeout for the upstream's response to begin once it has the request; the
    /// client gets 504.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    upstream_first_byte_timeout: Duration,

    /// Timeout between two parts of the upstream's response, or of a WebSocket in
    /// either direction, which is then cut off.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    upstream_idle_timeout: Duration,

    /// Timeout for the head of a request, and for idle connections, which are
    /// then closed.
    // Longer than the 60 s of load balancers, which should close idle connections first.
    #[arg(long, value_name = "SECONDS", default_value = "75", value_parser = seconds)]
    client_header_timeout: Duration,

    /// Timeout between two parts of a request body; the client gets 408.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    client_idle_timeout: Duration,

    /// Timeout for a client that does not read, whose connection or HTTP/2 stream
    /// is then closed.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    client_write_timeout: Duration,

    /// Timeout for in-flight requests after SIGTERM or Ctrl-C.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    drain_timeout: Duration,

    /// Log a line for each response, at the level info.
    #[arg(long)]
    access_log: bool,

    /// Format of the log on stderr.
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        value_parser = log_format
    )]
    log_format: log::Format,
}

/// Validated settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) admin_listen: Option<String>,
    /// `None`: the demo upstream.
    pub(crate) upstream: Option<Uri>,
    /// Replace the client's headers of the same names.
    pub(crate) upstream_headers: HeaderMap,
    /// `None`: the demo registry in the demo, else the layer's default.
    pub(crate) models_url: Option<String>,
    /// `*` or an origin.
    pub(crate) cors_origin: Option<HeaderValue>,
    pub(crate) max_connections: usize,
    pub(crate) max_requests: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) client_header_timeout: Duration,
    pub(crate) client_idle_timeout: Duration,
    pub(crate) client_write_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) access_log: bool,
    pub(crate) log_format: log::Format,
    /// From the environment variables of `RoutingConfigBuilder`, and the flags.
    pub(crate) routing: RoutingConfigBuilder,
}

impl Settings {
    /// Reads the arguments and the environment. Exits after `--help` and on
    /// arguments that do not parse.
    ///
    /// # Errors
    ///
    /// Returns a message if a value is invalid. It names the flag and the variable,
    /// and leaves out URLs, which may contain credentials.
    pub(crate) fn from_args_and_env() -> Result<Self, String> {
        for variable in [
            "LISTEN_ADDR",
            "ADMIN_LISTEN_ADDR",
            "UPSTREAM_URL",
            "ACTIVE_MODELS_URL",
            "LOG_FORMAT",
        ] {
            if let Err(env::VarError::NotUnicode(_)) = env::var(variable) {
                return Err(format!("{variable} is not UTF-8"));
            }
        }
        let cli = Cli::parse();
        check_listen("--listen (LISTEN_ADDR)", &cli.listen)?;
        if let Some(listen) = &cli.admin_listen {
            check_listen("--admin-listen (ADMIN_LISTEN_ADDR)", listen)?;
        }
        let upstream = cli.upstream.as_deref().map(upstream).transpose();
        let mut routing = RoutingConfigBuilder::from_env().map_err(|error| error.to_string())?;
        routing = routing
            .held_timeout(Some(cli.held_timeout))
            .response_model(cli.response_model)
            .max_held_bytes(cli.max_held_bytes)
            .max_total_held_bytes(cli.max_total_held_bytes);
        if let Some(policy) = cli.unknown_model {
            routing = routing.unknown_model(policy);
        }
        if let Some(policy) = cli.missing_model {
            routing = routing.missing_model(policy);
        }
        for (name, model) in cli.alias {
            routing = routing.alias(name, model);
        }
        for (path, endpoint) in cli.endpoint {
            routing = routing.add_endpoint(path, endpoint);
        }
        if let Some(name) = cli.id_header {
            routing = routing.id_header(name);
        }
        if let Some(name) = cli.name_header {
            routing = routing.name_header(name);
        }
        if let Some(url) = &cli.models_url {
            ReqwestSource::new(url)
                .map_err(|error| format!("--models-url (ACTIVE_MODELS_URL): {error}"))?;
        }
        Ok(Self {
            upstream: upstream.map_err(|error| format!("--upstream (UPSTREAM_URL) {error}"))?,
            upstream_headers: upstream_headers::from_env()?,
            listen: cli.listen,
            admin_listen: cli.admin_listen,
            models_url: cli.models_url,
            cors_origin: cli.cors_origin,
            max_connections: cli.max_connections,
            max_requests: cli.max_requests,
            connect_timeout: cli.upstream_connect_timeout,
            timeouts: Timeouts {
                first_byte: cli.upstream_first_byte_timeout,
                idle: cli.upstream_idle_timeout,
            },
            client_header_timeout: cli.client_header_timeout,
            client_idle_timeout: cli.client_idle_timeout,
            client_write_timeout: cli.client_write_timeout,
            drain_timeout: cli.drain_timeout,
            access_log: cli.access_log,
            log_format: cli.log_format,
            routing,
        })
    }
}

fn check_listen(setting: &str, listen: &str) -> Result<(), String> {
    let host_and_port = listen.rsplit_once(':');
    let is_valid = listen.parse::<SocketAddr>().is_ok()
        || host_and_port.is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok()
        });
    is_valid.then_some(()).ok_or_else(|| {
        format!("{setting} is {listen:?}; it must be an address and a port, such as 127.0.0.1:8080")
    })
}

fn upstream(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url
        .trim()
        .parse()
        .map_err(|_| "is not a valid URL; it must be like https://host/path")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must be a URL that begins with http:// or https://");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("must not contain a user name or password; set UPSTREAM_AUTHORIZATION instead");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("has no host");
    }
    if uri.query().is_some() {
        return Err("must not have a query; each request has its own");
    }
    without_default_port(uri).ok_or("has a host that is not valid")
}

/// Removes the scheme's default port from the URL (RFC 9110, 4.2.3).
fn without_default_port(uri: Uri) -> Option<Uri> {
    let default = match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    if uri.port_u16() != Some(default) {
        return Some(uri);
    }
    let authority = uri.host()?.parse().ok()?;
    let mut parts = uri.into_parts();
    parts.authority = Some(authority);
    Uri::from_parts(parts).ok()
}

fn cors_origin(text: &str) -> Result<HeaderValue, &'static str> {
    const ERROR: &str =
        "it (or CORS_ORIGIN) must be * or an origin, such as https://app.example.com";

    // Serialised as browsers do, so that it can be equal to theirs.
    let is_origin = || {
        let uri: Uri = text.parse().ok()?;
        let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        (origin == text && !text.contains('@')).then_some(())
    };
    if text != "*" && is_origin().is_none() {
        return Err(ERROR);
    }
    HeaderValue::from_str(text).map_err(|_| ERROR)
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=Semaphore::MAX_PERMITS).contains(&count) => Ok(count),
        _ => Err("it must be a number from 1, such as 1000".to_owned()),
    }
}

fn bytes(text: &str, variable: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 1..) => Ok(bytes),
        _ => Err(format!(
            "it (or {variable}) must be a number of bytes, such as 16777216"
        )),
    }
}

fn alias(text: &str) -> Result<(String, String), String> {
    let (name, model) = text
        .split_once('=')
        .ok_or("it (or MODEL_ALIASES) must be like NAME=MODEL")?;
    let (name, model) = (name.to_owned(), model.to_owned());
    check(RoutingConfig::builder().alias(&*name, &*model))?;
    Ok((name, model))
}

fn endpoint(text: &str) -> Result<(String, Endpoint), String> {
    let (path, kind) = text
        .rsplit_once('=')
        .ok_or("it (or MODEL_ENDPOINTS) must be like /rerank=embedding")?;
    let kind = kind
        .parse()
        .map_err(|error: ConfigError| error.to_string())?;
    check(RoutingConfig::builder().add_endpoint(path, kind))?;
    Ok((path.into(), kind))
}

/// Checks one setting of the layer, so that the message names its flag.
fn check(builder: RoutingConfigBuilder) -> Result<(), String> {
    let config = builder.build().map_err(|error| error.to_string());
    config.map(drop)
}

fn log_format(text: &str) -> Result<log::Format, &'static str> {
    log::Format::from_str(text, true).map_err(|_| "it (LOG_FORMAT) must be text or json")
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    const A_YEAR: f64 = 365.0 * 24.0 * 60.0 * 60.0;

    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=A_YEAR).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it must be a number of seconds from 0.001 to a year, such as 10 or 0.5"),
    }
}
