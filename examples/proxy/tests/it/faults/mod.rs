//! Faults on every side of the running proxy: each is a row of data, and the
//! README shows the rows.
//!
//! A row says what the client sees and what the upstream sees. That nothing is
//! lost is the same for all, and is checked after each: the proxy serves on, no
//! request comes twice, and no bytes are held any more.

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
    client::{Answer, PATIENCE, get, post},
    fault::{Fault, Link},
    process::Process,
    registry_server::RegistryServer,
    upstream::{Act, Upstream},
    wire::{Head, Payload},
};

const BODY: &str = r#"{"model":"venice-uncensored"}"#;
/// An upstream that is not there: nobody listens on port 1.
const NOBODY: &str = "UPSTREAM_URL=http://127.0.0.1:1";
/// The path of the request that follows each fault.
const AFTER: &str = "/v1/after";

/// What the upstream sees of the requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sees {
    Nothing,
    /// So many whole ones.
    Whole(usize),
    /// One that never becomes whole.
    BrokenOff,
}

impl fmt::Display for Sees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Whole(1) => f.write_str("the request, once"),
            Self::Whole(count) => write!(f, "{count} requests, each once"),
            Self::BrokenOff => f.write_str("a body that breaks off"),
        }
    }
}

/// The proxy with a link to each side on which faults can happen.
struct Lab {
    registry: RegistryServer,
    registry_link: Link,
    upstream: Upstream,
    upstream_link: Link,
    /// Whether the proxy is to reach the upstream, once there is no fault.
    can_recover: bool,
    proxy: Process,
}

impl Lab {
    /// With these flags, and variables where there is a `=`.
    async fn start(settings: &[&str]) -> Self {
        Self::with_registry(settings, Fault::None, RegistryServer::start(models()).await).await
    }

    async fn with_registry(settings: &[&str], fault: Fault, registry: RegistryServer) -> Self {
        let upstream = Upstream::with_script(good_answer()).await;
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
            can_recover: !settings.contains(&NOBODY),
            proxy,
        }
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Waits until the proxy has a list of models.
    async fn warm_up(&self) {
        until("a list", async || {
            get(self.address(), "/v1/models").await.status() == 200
        })
        .await;
    }

    /// Checks what the upstream has seen, and that nothing was lost.
    async fn check(&self, fault: &str, sees: Sees) {
        self.upstream_link.fault(Fault::None);
        self.upstream.script(good_answer());
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
        let (mut whole, mut broken) = (0, 0);
        let count = match sees {
            Sees::Nothing => 0,
            Sees::Whole(count) => count,
            Sees::BrokenOff => 1,
        };
        for _ in 0..count + usize::from(self.can_recover) {
            let request = AssertUnwindSafe(self.upstream.request())
                .catch_unwind()
                .await;
            let request = request.unwrap_or_else(|_| panic!("{fault}: the upstream misses one"));
            let framings =
                ["content-length", "transfer-encoding"].map(|name| request.head.all(name).len());
            assert!(framings.iter().sum::<usize>() <= 1, "{fault}: {request:?}");
            match request.payload.is_complete {
                _ if request.target() == AFTER => {}
                true => {
                    let spliced = format!(r#"{{"model":"{VENICE}"}}"#);
                    assert_eq!(request.text(), spliced, "{fault}");
                    whole += 1;
                }
                false => broken += 1,
            }
        }
        let expected = match sees {
            Sees::BrokenOff => (0, 1),
            _ => (count, 0),
        };
        assert_eq!((whole, broken), expected, "{fault}: what the upstream sees");
        assert!(!self.upstream.has_request().await, "{fault}: one too many");
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

fn good_answer() -> Vec<Act> {
    // Each row is to begin with a connection of its own.
    let headers = "content-type: application/json\r\nconnection: close\r\n";
    vec![Act::answer(200, headers, r#"{"ok":true}"#), Act::Close]
}

/// Tries all rows, some at a time, and fails if any fails.
async fn each<R, F: Future<Output = ()>>(
    rows: impl IntoIterator<Item = R>,
    check: impl Fn(R) -> F,
) {
    let tried = stream::iter(rows)
        .map(|row| AssertUnwindSafe(check(row)).catch_unwind())
        .buffer_unordered(4);
    let failed = tried.filter(|result| ready(result.is_err())).count().await;
    assert_eq!(failed, 0, "rows failed, each for the reason above");
}

/// What a client makes of an answer.
fn client_sees(answer: Option<Answer>) -> String {
    let Some(answer) = answer else {
        return "a closed connection".to_owned();
    };
    let status = answer.status();
    if !answer.payload.is_complete {
        return format!("{status}, visibly cut off");
    }
    if answer.payload.length == 0 {
        return status.to_string();
    }
    if status == 200 {
        // What upstreams and rows send.
        assert!(
            [r#"{"ok":true}"#, "ok", "abc"].contains(&&*answer.text()),
            "{answer:?}"
        );
        return status.to_string();
    }
    let (status, code) = answer.error();
    format!("{status} `{code}`")
}

/// Reads one answer, and tells the link when its head is there.
async fn answer_on(stream: &mut BufReader<TcpStream>, link: &Link) -> Option<Answer> {
    let read = async {
        let head = Head::read(stream).await.ok()??;
        link.allow();
        let payload = Payload::read(stream, &head, true, usize::MAX).await;
        Some(Answer { head, payload })
    };
    timeout(PATIENCE, read).await.expect("an end in time")
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A POST of JSON.
fn request(body: &str) -> String {
    let length = body.len();
    format!("{}content-length: {length}\r\n\r\n{body}", head(CHAT))
}

/// The head of a POST, to be followed by its framing.
fn head(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n")
}

#[test]
fn the_readme_shows_the_rows() {
    let readme = include_str!("../../../FAULTS.md");
    let row = |side: &str, fault: &str, client: &str, upstream: String| {
        format!("| {side} {fault} | {client} | {upstream} |\n")
    };
    let mut table =
        "| fault | what the client sees | what the upstream sees |\n|---|---|---|\n".to_owned();
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
        readme.contains(&table),
        "the README's table of faults is to be:\n\n{table}"
    );
}
