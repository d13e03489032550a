//! Memory bounds.

use std::{fs, num::NonZeroUsize, thread::available_parallelism};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Duration, Instant, sleep},
};

use super::{Setup, VENICE};
use test_support::client::{TIMEOUT, get, post, read_response};

const MIB: u64 = 1024 * 1024;

/// Reads a line of `/proc/PID/status`, in bytes.
fn memory(setup: &Setup, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", setup.proxy.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line
        .unwrap()
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// Starts a proxy, sends some requests, and returns its memory.
async fn warm(settings: &[&str]) -> (Setup, u64) {
    let setup = Setup::with(|proxy| {
        proxy.args(settings);
    })
    .await;
    setup.warm_up().await;
    for _ in 0..3 {
        let body = format!(r#"{{"model":"code","a":"{}"}}"#, "x".repeat(MIB as usize));
        assert_eq!(
            post(setup.address(), "/v1/completions", body)
                .await
                .status(),
            200
        );
        setup.upstream.request().await;
    }
    let resident = memory(&setup, "VmRSS");
    (setup, resident)
}

/// Sends a chunked request: `start`, `mebibytes` of padding, and `end`. Returns how much
/// the peak memory grew.
async fn growth(start: &str, mebibytes: u64, end: &str) -> u64 {
    growth_in_chunks(start, mebibytes, end, MIB as usize).await
}

/// Does the same with chunks of this size.
async fn growth_in_chunks(start: &str, mebibytes: u64, end: &str, size: usize) -> u64 {
    // A million chunks take long in a debug build.
    let (setup, before) = warm(&["--held-timeout", "600"]).await;
    let mut stream = TcpStream::connect(setup.address()).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                content-type: application/json\r\n\r\n";
    let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
    let padding = chunk(&"x".repeat(size)).repeat(MIB as usize / size);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(chunk(start).as_bytes()).await.unwrap();
    for _ in 0..mebibytes {
        stream.write_all(padding.as_bytes()).await.unwrap();
    }
    stream.write_all(chunk(end).as_bytes()).await.unwrap();
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let response = read_response(&mut BufReader::new(stream)).await.unwrap();
    assert_eq!(response.header("x-model-id"), Some(VENICE), "{response:?}");
    let request = setup.upstream.request().await;
    assert!(request.body.is_complete);
    assert!(request.body.length > mebibytes * MIB);
    let growth = memory(&setup, "VmHWM").saturating_sub(before);
    println!("{} KiB for {mebibytes} MiB", growth / 1024);
    growth
}

#[tokio::test]
async fn large_requests_stream() {
    let start = r#"{"model":"venice-uncensored","a":""#;
    let growth = growth(start, 512, "\"}").await;
    assert!(growth < 24 * MIB, "{} MiB", growth / MIB);
}

#[tokio::test]
async fn requests_are_held_once() {
    let end = r#"","model":"venice-uncensored"}"#;
    let growth = growth(r#"{"a":""#, 40, end).await;
    assert!(growth < 60 * MIB, "{} MiB", growth / MIB);
}

#[tokio::test]
async fn tiny_chunks_are_held_once() {
    let end = r#"","model":"venice-uncensored"}"#;
    let growth = growth_in_chunks(r#"{"a":""#, 1, end, 1).await;
    assert!(growth < 16 * MIB, "{} MiB", growth / MIB);
}

/// Waits until this many bytes are held.
async fn until_held(setup: &Setup, bytes: usize) {
    let line = format!("model_routing_held_bytes {bytes}");
    let start = Instant::now();
    loop {
        let page = get(setup.address(), "/metrics").await.text();
        if page.lines().any(|it| it == line) {
            return;
        }
        assert!(start.elapsed() < TIMEOUT, "{line} is not in {page}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Connections with slow bodies without a model.
struct SlowBodies {
    streams: Vec<TcpStream>,
    held: usize,
}

impl SlowBodies {
    const START: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\
                         transfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n\
                         2\r\n{\"\r\n";

    async fn start(setup: &Setup, connections: usize) -> Self {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(setup.address()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(Self::START.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        let held = 2 * connections;
        until_held(setup, held).await;
        Self { streams, held }
    }

    /// Sends a byte on each connection, and waits until the proxy has read it.
    async fn send_byte(&mut self, setup: &Setup) {
        for stream in &mut self.streams {
            stream.write_all(b"1\r\nx\r\n").await.unwrap();
        }
        self.held += self.streams.len();
        until_held(setup, self.held).await;
    }
}

/// The number of connections that hold bodies.
const CONNECTIONS: u64 = 100;

/// Fails if these connections take too much memory besides the held bytes.
fn assert_connections_are_small(growth: u64) {
    const CONNECTION: u64 = 96 * 1024;
    // When it starts to serve.
    const WORKER: u64 = 512 * 1024;

    let workers = available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let each = growth.saturating_sub(workers * WORKER) / CONNECTIONS;
    println!("{} KiB for each connection", each / 1024);
    assert!(each < CONNECTION, "{} KiB", each / 1024);
}

#[tokio::test]
async fn slow_bodies_take_little_memory() {
    let (setup, before) = warm(&["--held-timeout", "600"]).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        files.push(
            fs::read_dir(format!("/proc/{}/fd", setup.proxy.id()))
                .unwrap()
                .count(),
        );
        let mut bodies = SlowBodies::start(&setup, CONNECTIONS as usize).await;
        for _ in 0..50 {
            bodies.send_byte(&setup).await;
        }
        let small = post(setup.address(), "/v1/completions", r#"{"model":"code"}"#).await;
        assert_eq!(small.status(), 200);
        setup.upstream.request().await;
        assert_connections_are_small(memory(&setup, "VmRSS").saturating_sub(before));
        drop(bodies);
        until_held(&setup, 0).await;
    }
    let start = Instant::now();
    while fs::read_dir(format!("/proc/{}/fd", setup.proxy.id()))
        .unwrap()
        .count()
        > files[0] + 4
    {
        assert!(start.elapsed() < TIMEOUT, "open connections: {files:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Read buffers grow with bodies that arrive fast.
#[tokio::test]
async fn stalled_bodies_take_little_memory() {
    let (setup, before) = warm(&["--held-timeout", "600"]).await;
    let start = format!("{{\"a\":\"{}", "x".repeat(300_000));
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: 1000000\r\n\r\n{start}"
    );
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(setup.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let held = start.len() as u64 * CONNECTIONS;
    until_held(&setup, held as usize).await;
    assert_connections_are_small(memory(&setup, "VmRSS").saturating_sub(before + held));
}

#[tokio::test]
async fn total_held_bytes_are_limited() {
    let (setup, _) = warm(&["--max-total-held-bytes", "100", "--held-timeout", "600"]).await;
    let bodies = SlowBodies::start(&setup, 50).await;
    let mut one_more = TcpStream::connect(setup.address()).await.unwrap();
    one_more
        .write_all(SlowBodies::START.as_bytes())
        .await
        .unwrap();
    let rejected = read_response(&mut BufReader::new(one_more)).await.unwrap();
    assert_eq!(rejected.error(), (503, "overloaded".to_owned()));
    assert_eq!(rejected.header("retry-after"), Some("1"));
    let small = post(setup.address(), "/v1/completions", r#"{"model":"code"}"#).await;
    assert_eq!(small.status(), 200);
    drop(bodies);
    until_held(&setup, 0).await;
}
