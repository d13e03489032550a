//! The proxy as a process, between clients, an upstream and a registry on real sockets.

mod admin;
mod compression;
mod cors;
mod demo;
mod encodings;
mod failures;
mod faults;
mod forward;
mod gen_ai;
mod headers;
mod limits;
mod log;
#[cfg(target_os = "linux")]
mod memory;
mod openai;
#[cfg(all(feature = "otlp", unix))]
mod otlp;
mod registry;
mod request_context;
mod responses;
mod routing;
mod secrets;
mod settings;
mod shutdown;
#[cfg(target_os = "linux")]
mod threads;
mod tls;
mod validate;
mod websocket;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{process::Command, time::sleep};

use test_support::{
    MODELS,
    client::{TIMEOUT, get},
    process::{Process, command},
    registry_server::{RegistryServer, Reply},
    upstream::{Step, Upstream},
};

/// The CA of the servers with TLS; its key no longer exists.
const TRUSTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
const CHAT: &str = "/api/v1/chat/completions";
const VENICE: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";
const MISTRAL: &str = "0x3131313131313131313131313131313131313131313131313131313131313131";

/// A proxy with its upstream and its registry.
struct Setup {
    registry: RegistryServer,
    upstream: Upstream,
    proxy: Process,
}

impl Setup {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a proxy with these settings.
    async fn with(configure: impl FnOnce(&mut Command)) -> Self {
        let registry = RegistryServer::start(models()).await;
        let upstream = Upstream::start().await;
        let mut command = proxy();
        command.env("UPSTREAM_URL", upstream.url());
        command.env("ACTIVE_MODELS_URL", registry.url());
        configure(&mut command);
        let proxy = Process::start(&mut command).await;
        Self {
            registry,
            upstream,
            proxy,
        }
    }

    /// Starts a proxy whose upstream has this script.
    async fn scripted(script: Vec<Step>) -> Self {
        let setup = Self::new().await;
        setup.upstream.script(script);
        setup
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Waits until the proxy has a catalog.
    async fn warm_up(&self) {
        assert_eq!(get(self.address(), "/v1/models").await.status(), 200);
    }
}

/// Waits for a condition.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < TIMEOUT, "timeout: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Requests a path until its JSON is as expected, and returns it.
async fn until_json(setup: &Setup, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let response = get(setup.address(), path).await.json();
        if expected(&response) {
            return response;
        }
        assert!(start.elapsed() < TIMEOUT, "{response}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the command for a proxy on a free port.
fn proxy() -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_proxy"));
    command.env("LISTEN_ADDR", "127.0.0.1:0");
    command
}

/// Returns the fixture with an ETag.
fn models() -> Reply {
    Reply::new(200, MODELS).etag("\"models-1\"")
}
