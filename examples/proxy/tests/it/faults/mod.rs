//! Faults of clients, upstreams and registries, as the rows of a table in FAULTS.md.
//!
//! A row has what the client sees and what the upstream sees. After each row the proxy
//! must serve the next request, no request arrives twice, and no bytes stay held.

mod clients;
mod registry;
mod upstream;

use std::{
    fmt,
    future::{Future, ready},
    net::SocketAddr,
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{CHAT, VENICE, models, proxy, until};
use test_support::{
    client::{Response, TIMEOUT, get, post},
    fault::{Fault, Link},
    process::Process,
    registry_server::RegistryServer,
    upstream::{Step, Upstream},
    wire::{Body, Head},
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;
/// An upstream that refuses connections.
const REFUSING_UPSTREAM: &str = "UPSTREAM_URL=http://127.0.0.1:1";
/// The path of the request after each fault.
const AFTER: &str = "/v1/after";

/// The requests that the upstream sees.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sees {
    Nothing,
    Complete(usize),
    /// A request without its end.
    Incomplete,
}

impl fmt::Display for Sees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Complete(1) => f.write_str("the request, once"),
            Self::Complete(count) => write!(f, "{count} requests, each once"),
            Self::Incomplete => f.write_str("an incomplete request"),
        }
    }
}

/// A proxy with a fault-injecting link to its upstream and its registry.
struct Lab {
    registry: RegistryServer,
    registry_link: Link,
    upstream: Upstream,
    upstream_link: Link,
    /// Whether the upstream is reachable after the fault.
    can_recover: bool,
    proxy: Process,
}

impl Lab {
    /// Starts a proxy with these flags, and variables with `=`.
    async fn start(settings: &[&str]) -> Self {
        Self::with_registry(settings, Fault::None, RegistryServer::start(models()).await).await
    }

    async fn with_registry(settings: &[&str], fault: Fault, registry: RegistryServer) -> Self {
        let upstream = Upstream::with_script(good_response()).await;
        let registry_link = Link::to(registry.address(), fault).await;
        let upstream_link = Link::to(upstream.address(), Fault::None).await;
        let models = format!("http://{}{}", registry_link.address(), RegistryServer::PATH);
        let mut command = proxy();
        command.env(
            "UPSTREAM_URL",
            format!("http://{}", upstream_link.address()),
        );
        command.env("ACTIVE_MODELS_URL", models);
        for setting in settings {
            match setting.split_once('=') {
                Some((variable, value)) => command.env(variable, value),
                None => command.args(setting.split(' ')),
            };
        }
        let proxy = Process::start(&mut command).await;
        Self {
            registry,
            registry_link,
            upstream,
            upstream_link,
            can_recover: !settings.contains(&REFUSING_UPSTREAM),
            proxy,
        }
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Waits until the proxy has a catalog.
    async fn warm_up(&self) {
        until("a catalog", async || {
            get(self.address(), "/v1/models").await.status() == 200
        })
        .await;
    }

    /// Checks what the upstream has seen, and that the proxy has recovered.
    async fn check(&self, fault: &str, sees: Sees) {
        self.upstream_link.fault(Fault::None);
        self.upstream.script(good_response());
        let after = get(self.address(), AFTER).await;
        let expected = match self.can_recover {
            true => "200",
            false => "502 `upstream_unavailable`",
        };
        assert_eq!(
            client_sees(Some(after)),
            expected,
            "{fault}: the next request"
        );
        let (mut complete, mut incomplete) = (0, 0);
        let count = match sees {
            Sees::Nothing => 0,
            Sees::Complete(count) => count,
            Sees::Incomplete => 1,
        };
        for _ in 0..count + usize::from(self.can_recover) {
            let request = AssertUnwindSafe(self.upstream.request())
                .catch_unwind()
                .await;
            let request =
                request.unwrap_or_else(|_| panic!("{fault}: the upstream misses a request"));
            let framings =
                ["content-length", "transfer-encoding"].map(|name| request.head.all(name).len());
            assert!(framings.iter().sum::<usize>() <= 1, "{fault}: {request:?}");
            match request.body.is_complete {
                _ if request.target() == AFTER => {}
                true => {
                    let spliced = format!(r#"{{"model":"{VENICE}"}}"#);
                    assert_eq!(request.text(), spliced, "{fault}");
                    complete += 1;
                }
                false => incomplete += 1,
            }
        }
        let expected = match sees {
            Sees::Incomplete => (0, 1),
            _ => (count, 0),
        };
        assert_eq!(
            (complete, incomplete),
            expected,
            "{fault}: what the upstream sees"
        );
        assert!(
            !self.upstream.has_request().await,
            "{fault}: one request too many"
        );
        self.until_nothing_is_held(fault).await;
        let log = self.proxy.log();
        assert!(!log.contains("panicked"), "{fault}: {log}");
    }

    async fn until_nothing_is_held(&self, fault: &str) {
        until(fault, async || {
            let page = get(self.address(), "/metrics").await.text();
            page.lines()
                .any(|line| line == "model_routing_held_bytes 0")
        })
        .await;
    }
}

fn good_response() -> Vec<Step> {
    // Each row starts with a new connection.
    let headers = "content-type: application/json\r\nconnection: close\r\n";
    vec![Step::response(200, headers, r#"{"ok":true}"#), Step::Close]
}

/// Checks all rows, some concurrently, and fails if any fails.
async fn each<R, F: Future<Output = ()>>(
    rows: impl IntoIterator<Item = R>,
    check: impl Fn(R) -> F,
) {
    let tried = stream::iter(rows)
        .map(|row| AssertUnwindSafe(check(row)).catch_unwind())
        .buffer_unordered(4);
    let failed = tried.filter(|result| ready(result.is_err())).count().await;
    assert_eq!(failed, 0, "failed rows; see above");
}

/// Describes a response as the table does.
fn client_sees(response: Option<Response>) -> String {
    let Some(response) = response else {
        return "a closed connection".to_owned();
    };
    let status = response.status();
    if !response.body.is_complete {
        return format!("{status}, cut off");
    }
    if response.body.length == 0 {
        return status.to_string();
    }
    if status == 200 {
        // The bodies that upstreams send here.
        assert!(
            [r#"{"ok":true}"#, "ok", "abc"].contains(&&*response.text()),
            "{response:?}"
        );
        return status.to_string();
    }
    let (status, code) = response.error();
    format!("{status} `{code}`")
}

/// Reads a response, and lets the link continue after its head.
async fn response_on(stream: &mut BufReader<TcpStream>, link: &Link) -> Option<Response> {
    let read = async {
        let head = Head::read(stream).await.ok()??;
        link.allow();
        let body = Body::read(stream, &head, true, usize::MAX).await;
        Some(Response { head, body })
    };
    timeout(TIMEOUT, read).await.expect("a response in time")
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Returns a POST of JSON.
fn request(body: &str) -> String {
    let length = body.len();
    format!("{}content-length: {length}\r\n\r\n{body}", head(CHAT))
}

/// Returns the head of a POST, without its framing and its end.
fn head(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n")
}

#[test]
fn the_table_has_all_rows() {
    let document = include_str!("../../../FAULTS.md");
    let row = |side: &str, fault: &str, client: &str, upstream: String| {
        format!("| {side} {fault} | {client} | {upstream} |\n")
    };
    let mut table = "| fault | client | upstream |\n|---|---|---|\n".to_owned();
    for it in upstream::rows() {
        table += &row("the upstream", it.fault, it.client, it.upstream.to_string());
    }
    for it in registry::rows() {
        let (client, upstream) = it.shown();
        table += &row("the registry", it.fault, client, upstream.to_owned());
    }
    for it in clients::rows() {
        table += &row("the client", it.fault, it.client, it.upstream.to_string());
    }
    assert!(
        document.contains(&table),
        "the table in FAULTS.md must be:\n\n{table}"
    );
}
