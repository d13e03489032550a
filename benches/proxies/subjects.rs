//! The proxies, and how to start them.

use std::{
    env,
    io::{self, ErrorKind},
    net::SocketAddr,
    process::Command,
};

use benches::{is_measuring, process::Process, proxy};
use tempfile::TempDir;

use crate::{hyper_proxies, servers};

/// A kind of proxy, in the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    This,
    Plain,
    Naive,
    Nginx,
    NginxLua,
    HaproxyLua,
    EnvoyLua,
    LiteLlm,
    /// No proxy, for what the client and the upstream take themselves.
    Direct,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::This,
        Self::Plain,
        Self::Naive,
        Self::Nginx,
        Self::NginxLua,
        Self::HaproxyLua,
        Self::EnvoyLua,
        Self::LiteLlm,
        Self::Direct,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::This => "this proxy",
            Self::Plain => "plain hyper proxy",
            Self::Naive => "naive hyper proxy",
            Self::Nginx => "nginx",
            Self::NginxLua => "nginx with Lua",
            Self::HaproxyLua => "HAProxy with Lua",
            Self::EnvoyLua => "Envoy with Lua",
            Self::LiteLlm => "LiteLLM",
            Self::Direct => "no proxy",
        }
    }

    /// Returns whether it replaces the model.
    pub(crate) fn routes(self) -> bool {
        !matches!(self, Self::Plain | Self::Nginx | Self::Direct)
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

/// Starts all subjects that are installed, but LiteLLM only to measure it, because its start takes
/// a quarter of a minute.
pub(crate) fn start(upstream: SocketAddr) -> io::Result<Vec<Subject>> {
    let subject = |kind| {
        let started = match kind {
            Kind::This => start_this(upstream),
            Kind::Plain => start_program(hyper_proxies::PLAIN, upstream),
            Kind::Naive => start_program(hyper_proxies::NAIVE, upstream),
            Kind::Nginx => servers::start_nginx(upstream),
            Kind::NginxLua => servers::start_nginx_with_lua(upstream),
            Kind::HaproxyLua => servers::start_haproxy(upstream),
            Kind::EnvoyLua => servers::start_envoy(upstream),
            Kind::LiteLlm => servers::start_litellm(upstream),
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

/// A proxy and its files.
pub(crate) type Started = (Process, Option<TempDir>);

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
