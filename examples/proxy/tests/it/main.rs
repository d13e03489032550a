//! The example proxy as a process, with a registry and an upstream on real
//! sockets.

mod answers;
mod demo;
mod encodings;
mod failures;
mod faults;
mod forward;
mod headers;
mod health;
mod manners;
#[cfg(target_os = "linux")]
mod memory;
mod openai;
mod registry;
mod secrets;
mod settings;
mod shutdown;
mod story;
#[cfg(target_os = "linux")]
mod threads;
mod tls;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{process::Command, time::sleep};

use test_support::{
    MODELS,
    client::{PATIENCE, get},
    process::{Process, command},
    registry_server::{RegistryServer, Reply},
    upstream::{Act, Upstream},
};

/// The CA of the servers with TLS; its key no longer exists.
const TRUSTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
const CHAT: &str = "/api/v1/chat/completions";
const VENICE: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";
const MISTRAL: &str = "0x3131313131313131313131313131313131313131313131313131313131313131";

/// The whole: client → proxy → upstream, and the registry beside.
struct Setup {
    registry: RegistryServer,
    upstream: Upstream,
    proxy: Process,
}

impl Setup {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With these further settings.
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

    /// With an upstream that does this.
    async fn scripted(script: Vec<Act>) -> Self {
        let setup = Self::new().await;
        setup.upstream.script(script);
        setup
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Waits until the proxy has a list of models.
    async fn warm_up(&self) {
        assert_eq!(get(self.address(), "/v1/models").await.status(), 200);
    }
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "{what}: in vain");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Asks until the answer is as expected: a registry is tried again after a
/// pause of its own.
async fn until_page(setup: &Setup, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = get(setup.address(), path).await.json();
        if expected(&answer) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{answer}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The proxy, to listen on a free port.
fn proxy() -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_proxy"));
    command.env("LISTEN_ADDR", "127.0.0.1:0");
    command
}

/// The fixture, with an ETag.
fn models() -> Reply {
    Reply::new(200, MODELS).etag("\"models-1\"")
}
