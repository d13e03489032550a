//! How much of a request is held.

use std::{fs, num::NonZeroUsize, thread::available_parallelism};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Duration, Instant, sleep},
};

use super::{Setup, VENICE};
use test_support::client::{PATIENCE, answer, get, post};

const MIB: u64 = 1024 * 1024;

/// A line of `/proc/PID/status`, in bytes.
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

/// A proxy that has served before, and what it takes.
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

/// Sends one chunked request: `start`, then so many MiB, then `end`. How much
/// more memory the proxy took for it at the most.
async fn growth(start: &str, mebibytes: u64, end: &str) -> u64 {
    growth_in_chunks(start, mebibytes, end, MIB as usize).await
}

/// The same with chunks of another size.
async fn growth_in_chunks(start: &str, mebibytes: u64, end: &str, size: usize) -> u64 {
    // Who reads a million chunks may take its time.
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
    let answer = answer(&mut BufReader::new(stream)).await.unwrap();
    assert_eq!(answer.header("x-model-id"), Some(VENICE), "{answer:?}");
    let request = setup.upstream.request().await;
    assert!(request.payload.is_complete);
    assert!(request.payload.length > mebibytes * MIB);
    let growth = memory(&setup, "VmHWM").saturating_sub(before);
    println!("{} KiB for {mebibytes} MiB", growth / 1024);
    growth
}

#[tokio::test]
async fn a_request_of_any_size_streams_in_little_memory() {
    let start = r#"{"model":"venice-uncensored","a":""#;
    let growth = growth(start, 512, "\"}").await;
    assert!(growth < 24 * MIB, "{} MiB", growth / MIB);
}

#[tokio::test]
async fn a_request_with_its_model_last_is_held_about_once() {
    let end = r#"","model":"venice-uncensored"}"#;
    let growth = growth(r#"{"a":""#, 40, end).await;
    assert!(growth < 60 * MIB, "{} MiB", growth / MIB);
}

#[tokio::test]
async fn a_request_in_tiny_chunks_is_held_about_once_too() {
    let end = r#"","model":"venice-uncensored"}"#;
    let growth = growth_in_chunks(r#"{"a":""#, 1, end, 1).await;
    assert!(growth < 16 * MIB, "{} MiB", growth / MIB);
}

/// Waits until so many bytes are held.
async fn until_held(setup: &Setup, bytes: usize) {
    let line = format!("model_routing_held_bytes {bytes}");
    let start = Instant::now();
    loop {
        let page = get(setup.address(), "/metrics").await.text();
        if page.lines().any(|it| it == line) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{line} is not in {page}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Connections that drip bodies without a model.
struct Dripping {
    streams: Vec<TcpStream>,
    held: usize,
}

impl Dripping {
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

    /// A byte on each connection, which the proxy reads by itself.
    async fn drip(&mut self, setup: &Setup) {
        for stream in &mut self.streams {
            stream.write_all(b"1\r\nx\r\n").await.unwrap();
        }
        self.held += self.streams.len();
        until_held(setup, self.held).await;
    }
}

/// How many connections hold bodies.
const CONNECTIONS: u64 = 100;

/// Fails if these connections take too much besides what they hold.
fn assert_little(growth: u64) {
    const CONNECTION: u64 = 96 * 1024;
    // Once it works; at first only few of them do.
    const WORKER: u64 = 512 * 1024;

    let workers = available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let each = growth.saturating_sub(workers * WORKER) / CONNECTIONS;
    println!("{} KiB for each connection", each / 1024);
    assert!(each < CONNECTION, "{} KiB", each / 1024);
}

#[tokio::test]
async fn bodies_that_drip_take_little_more_than_what_is_held_and_free_it() {
    // However long the drops take.
    let (setup, before) = warm(&["--held-timeout", "600"]).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        files.push(
            fs::read_dir(format!("/proc/{}/fd", setup.proxy.id()))
                .unwrap()
                .count(),
        );
        let mut dripping = Dripping::start(&setup, CONNECTIONS as usize).await;
        for _ in 0..50 {
            dripping.drip(&setup).await;
        }
        let small = post(setup.address(), "/v1/completions", r#"{"model":"code"}"#).await;
        assert_eq!(small.status(), 200);
        setup.upstream.request().await;
        assert_little(memory(&setup, "VmRSS").saturating_sub(before));
        drop(dripping);
        until_held(&setup, 0).await;
    }
    let start = Instant::now();
    while fs::read_dir(format!("/proc/{}/fd", setup.proxy.id()))
        .unwrap()
        .count()
        > files[0] + 4
    {
        assert!(
            start.elapsed() < PATIENCE,
            "connections are kept: {files:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// Read buffers grow with what comes at once.
#[tokio::test]
async fn bodies_that_come_fast_and_stop_take_little_more_than_what_is_held() {
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
    assert_little(memory(&setup, "VmRSS").saturating_sub(before + held));
}

#[tokio::test]
async fn dripping_bodies_stay_within_the_bound_for_all() {
    let (setup, _) = warm(&["--max-total-held-bytes", "100", "--held-timeout", "600"]).await;
    let dripping = Dripping::start(&setup, 50).await;
    let mut one_more = TcpStream::connect(setup.address()).await.unwrap();
    one_more
        .write_all(Dripping::START.as_bytes())
        .await
        .unwrap();
    let refused = answer(&mut BufReader::new(one_more)).await.unwrap();
    assert_eq!(refused.error(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let small = post(setup.address(), "/v1/completions", r#"{"model":"code"}"#).await;
    assert_eq!(small.status(), 200);
    drop(dripping);
    until_held(&setup, 0).await;
}
