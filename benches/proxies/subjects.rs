//! The proxies, and how to start them.

use std::{
    env,
    fs::{self, File},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use benches::{
    is_measuring,
    openai::{KEY, MODELS},
    process::Process,
    proxy,
};
use tempfile::TempDir;

use crate::hyper_proxies;

/// How long a proxy may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A kind of proxy, in the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    This,
    Plain,
    Naive,
    Nginx,
    Lua,
    LiteLlm,
    /// No proxy, for what the client and the upstream take themselves.
    Direct,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::This,
        Self::Plain,
        Self::Naive,
        Self::Nginx,
        Self::Lua,
        Self::LiteLlm,
        Self::Direct,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::This => "this proxy",
            Self::Plain => "plain hyper proxy",
            Self::Naive => "naive hyper proxy",
            Self::Nginx => "nginx",
            Self::Lua => "nginx with Lua",
            Self::LiteLlm => "LiteLLM",
            Self::Direct => "no proxy",
        }
    }

    /// Returns whether it replaces the model.
    pub(crate) fn routes(self) -> bool {
        matches!(self, Self::This | Self::Naive | Self::Lua | Self::LiteLlm)
    }
}

pub(crate) struct Subject {
    pub(crate) kind: Kind,
    /// `None` if it is not installed.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) process: Option<Process>,
    /// Removed after the process has ended.
    _files: Option<TempDir>,
}

/// The path at which nginx returns its version of Lua.
pub(crate) const LUA_VERSION_PATH: &str = "/lua-version";
const LUA_VERSION: &str = "location = /lua-version { access_by_lua_block { return } \
     content_by_lua_block { \
     ngx.print(string.format(\"%d.%d.%d\", ngx.config.ngx_lua_version / 1000000, \
     ngx.config.ngx_lua_version / 1000 % 1000, ngx.config.ngx_lua_version % 1000), \
     \" with cjson \", require(\"cjson\")._VERSION) } }";

/// Starts all subjects that are installed, but LiteLLM only to measure it, because its start takes
/// a quarter of a minute.
pub(crate) fn start(upstream: SocketAddr) -> io::Result<Vec<Subject>> {
    let subject = |kind| {
        let started = match kind {
            Kind::This => start_this(upstream),
            Kind::Plain => start_program(hyper_proxies::PLAIN, upstream),
            Kind::Naive => start_program(hyper_proxies::NAIVE, upstream),
            Kind::Nginx => start_nginx(upstream, TempDir::new()?, [""; 3]),
            Kind::Lua => start_nginx_with_lua(upstream),
            Kind::LiteLlm => start_litellm(upstream),
            Kind::Direct => {
                return Ok(Subject {
                    kind,
                    address: Some(upstream),
                    process: None,
                    _files: None,
                });
            }
        };
        let (process, files) = match started {
            Ok((process, files)) => (Some(process), files),
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => return Err(error),
        };
        Ok(Subject {
            kind,
            address: process.as_ref().map(|process| process.address),
            process,
            _files: files,
        })
    };
    let kinds = Kind::ALL.into_iter();
    kinds
        .filter(|kind| is_measuring() || *kind != Kind::LiteLlm)
        .map(subject)
        .collect()
}

type Started = (Process, Option<TempDir>);

fn start_this(upstream: SocketAddr) -> io::Result<Started> {
    let mut command = Command::new(proxy::build()?);
    command
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("UPSTREAM_URL", format!("http://{upstream}"))
        .env("ACTIVE_MODELS_URL", format!("http://{upstream}/models"))
        .env_remove("RUST_LOG");
    Ok((Process::start(&mut command)?, None))
}

/// Starts this program as one of the hyper proxies.
fn start_program(role: &str, upstream: SocketAddr) -> io::Result<Started> {
    let mut command = Command::new(env::current_exe()?);
    command.args([role, &upstream.to_string()]);
    Ok((Process::start(&mut command)?, None))
}

fn start_nginx_with_lua(upstream: SocketAddr) -> io::Result<Started> {
    let files = TempDir::new()?;
    let models = MODELS.map(|(name, id)| format!("    [\"{name}\"] = \"{id}\","));
    let script = write(
        &files,
        "model.lua",
        include_str!("nginx.lua"),
        &[("models", &models.join("\n"))],
    )?;
    let lua = [
        "load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;",
        // Without cjson it must not start.
        "init_by_lua_block { require \"cjson\" }",
        // A longer body would be written to a file first.
        &format!(
            "client_body_buffer_size 64m; access_by_lua_file {}; {LUA_VERSION}",
            script.display()
        ),
    ];
    start_nginx(upstream, files, lua)
}

fn start_nginx(
    upstream: SocketAddr,
    files: TempDir,
    [modules, http, server]: [&str; 3],
) -> io::Result<Started> {
    let address = free_address()?;
    let config = write(
        &files,
        "nginx.conf",
        include_str!("nginx.conf"),
        &[
            ("modules", modules),
            ("http", http),
            ("server", server),
            ("directory", &files.path().display().to_string()),
            ("upstream", &upstream.to_string()),
            ("address", &address.to_string()),
        ],
    )?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config);
    let missing = ["dlopen()", "module 'cjson' not found"];
    start_at(&mut command, address, files, &missing)
}

fn start_litellm(upstream: SocketAddr) -> io::Result<Started> {
    let address = free_address()?;
    let files = TempDir::new()?;
    let models = MODELS.map(|(name, id)| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: openai/{id}\n      \
             api_base: http://{upstream}/v1\n      api_key: {KEY}"
        )
    });
    let config = write(
        &files,
        "litellm.yaml",
        include_str!("litellm.yaml"),
        &[("models", &models.join("\n"))],
    )?;
    let mut command = Command::new("litellm");
    command
        .arg("--config")
        .arg(config)
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        // Connections are idle while the others run.
        .args(["--keepalive_timeout", "3600"])
        .env("LITELLM_MASTER_KEY", KEY)
        .env("LITELLM_LOG", "ERROR")
        .args(["--telemetry", "False"]);
    // It must not fetch anything.
    for name in [
        "MODEL_COST_MAP",
        "ANTHROPIC_BETA_HEADERS",
        "BLOG_POSTS",
        "POLICY_TEMPLATES",
        "AUTOROUTER_PRESETS",
    ] {
        command.env(format!("LITELLM_LOCAL_{name}"), "True");
    }
    let missing = ["ModuleNotFoundError", "ImportError"];
    start_at(&mut command, address, files, &missing)
}

/// Starts a proxy that has been told its address, and waits until it listens. The error is
/// `NotFound` if its log has one of `missing`, by which it says that a part is not installed.
fn start_at(
    command: &mut Command,
    address: SocketAddr,
    files: TempDir,
    missing: &[&str],
) -> io::Result<Started> {
    let path = files.path().join("log");
    let log = File::create(&path)?;
    let mut child = command
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        let has_ended = child.try_wait()?.is_some();
        if has_ended || start.elapsed() > START_TIMEOUT {
            drop(Process::listening(child, address));
            let log = fs::read_to_string(path)?;
            return Err(match missing.iter().any(|it| log.contains(it)) {
                true => io::Error::new(ErrorKind::NotFound, log),
                false => io::Error::other(format!("{command:?} does not listen: {log}")),
            });
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok((Process::listening(child, address), Some(files)))
}

/// Writes a file in which each `{name}` is replaced by its value.
fn write(
    files: &TempDir,
    name: &str,
    template: &str,
    values: &[(&str, &str)],
) -> io::Result<PathBuf> {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let path = files.path().join(name);
    fs::write(&path, text)?;
    Ok(path)
}

/// Returns an address that no other process is likely to take before it is used.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
