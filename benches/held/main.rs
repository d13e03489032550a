//! The proxy while many clients drip bodies without a model, as a table.
//!
//! Each attack opens its connections, sends a piece on each of them once a second, and closes them.
//! Meanwhile another client sends small requests one after the other. The process fails when a
//! target is missed. It reads the memory of the proxy from Linux.

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use benches::{
    catalogs::runtime,
    http::{connect, get},
    is_measuring,
    openai::sdk_request,
    process::{Process, open_files, status},
    proxy::{self, metric},
    rounds::quantile,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tower_model_routing::BoxError;

const MAX_TOTAL_HELD: u64 = 64 * MIB;
/// The most memory of a connection besides what it holds: mostly its read buffer, which grows with
/// what arrives at once, and the buffers that its first small frames keep alive.
const MAX_OVERHEAD: u64 = 96 * 1024;
/// How much longer the slowest 1 % of small requests may take under attack.
const MAX_SLOWDOWN: f64 = 3.0;
const MIB: u64 = 1024 * 1024;

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: held\r\n\
                    content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
                    6\r\n{\"a\":\"\r\n";

/// What every connection of an attack sends once a second.
struct Attack {
    name: &'static str,
    piece: usize,
}

const ATTACKS: [Attack; 3] = [
    Attack {
        name: "1 byte each",
        piece: 1,
    },
    // The size of a packet; it reaches the limit for all.
    Attack {
        name: "1,400 bytes each",
        piece: 1_400,
    },
    Attack {
        name: "16 KiB each",
        piece: 16 * 1024,
    },
];

fn main() -> Result<ExitCode, BoxError> {
    if !cfg!(target_os = "linux") {
        println!("skipped: it reads the proxy's memory from Linux's /proc");
        return Ok(ExitCode::SUCCESS);
    }
    let (connections, seconds, requests) = match is_measuring() {
        true => (2_000.min(max_connections()?), 25, 2_000),
        false => (20, 3, 20),
    };
    let proxy = Proxy::start()?;
    let never = AtomicBool::new(false);
    time_requests(proxy.address(), requests, &never)?;
    let idle = time_requests(proxy.address(), requests, &never)?;
    let (before, files) = (proxy.memory()?, proxy.files()?);

    println!(
        "| {connections} connections | p99, ms | × idle | held, MiB | memory, MiB | KiB each |"
    );
    println!("|---|---|---|---|---|---|");
    println!(
        "| none | {:.2} | 1.00 | 0.0 | {:.1} | |",
        idle * 1e3,
        mib(before)
    );
    let mut missed = Vec::new();
    for attack in ATTACKS {
        let peak = proxy.attack(&attack, connections, seconds)?;
        let slowdown = peak.p99 / idle;
        let overhead = peak.memory.saturating_sub(before + peak.held) / connections as u64;
        println!(
            "| {} | {:.2} | {slowdown:.2} | {:.1} | {:.1} | {} |",
            attack.name,
            peak.p99 * 1e3,
            mib(peak.held),
            mib(peak.memory),
            overhead / 1024,
        );
        let mut expect = |holds: bool, target: &str| {
            if !holds {
                missed.push(format!("{}: {target}", attack.name));
            }
        };
        expect(peak.held <= MAX_TOTAL_HELD, "the limit of held bytes");
        expect(proxy.frees_everything(files)?, "everything is freed");
        if is_measuring() {
            expect(slowdown <= MAX_SLOWDOWN, "p99 within 3 × idle");
            expect(overhead <= MAX_OVERHEAD, "96 KiB a connection");
        }
    }
    for target in &missed {
        println!("missed: {target}");
    }
    Ok(match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// The proxy in its demo mode.
struct Proxy(Process);

/// The highest figures of an attack.
struct Peak {
    p99: f64,
    held: u64,
    memory: u64,
}

impl Proxy {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(proxy::build()?);
        command
            .args(["--listen", "127.0.0.1:0", "--held-timeout", "3600"])
            .args(["--max-total-held-bytes", &MAX_TOTAL_HELD.to_string()])
            .env("RUST_LOG", "off")
            .stderr(Stdio::null());
        Process::start(&mut command).map(Self)
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }

    fn attack(&self, attack: &Attack, connections: usize, seconds: u64) -> Result<Peak, BoxError> {
        let is_over = &AtomicBool::new(false);
        thread::scope(|scope| {
            let client = scope.spawn(|| time_requests(self.address(), usize::MAX, is_over));
            let (mut held, mut memory) = (0, 0);
            let streams = &mut open(self.address(), connections)?;
            for _ in 0..seconds {
                drip(streams, attack.piece);
                held = held.max(self.held()?);
                memory = memory.max(self.memory()?);
            }
            is_over.store(true, Ordering::Relaxed);
            let p99 = client.join().expect("no panic")?;
            Ok(Peak { p99, held, memory })
        })
    }

    /// Returns whether everything is freed within 30 s.
    fn frees_everything(&self, files: usize) -> Result<bool, BoxError> {
        let start = Instant::now();
        while self.held()? > 0 || self.files()? > files + 8 {
            if start.elapsed() > Duration::from_secs(30) {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(true)
    }

    fn held(&self) -> Result<u64, BoxError> {
        let page = runtime().block_on(get(self.address(), "/metrics"))?;
        let page = String::from_utf8_lossy(page.body());
        Ok(metric(&page, "model_routing_held_bytes").unwrap_or(0.0) as u64)
    }

    fn memory(&self) -> io::Result<u64> {
        status(self.0.id(), "VmRSS")
    }

    fn files(&self) -> io::Result<usize> {
        open_files(self.0.id())
    }
}

/// Returns how many files this process may have open, less some for itself.
fn max_connections() -> io::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(soft.map_or(usize::MAX, |soft: usize| soft.saturating_sub(100)))
}

fn open(address: SocketAddr, connections: usize) -> io::Result<Vec<Option<TcpStream>>> {
    let open = |_| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        // A rejected client must not block the others.
        stream.set_nonblocking(true)?;
        stream.write_all(HEAD.as_bytes())?;
        Ok(Some(stream))
    };
    (0..connections).map(open).collect()
}

/// Sends a piece on each connection, spread over a second.
fn drip(streams: &mut [Option<TcpStream>], piece: usize) {
    let chunk = format!("{piece:x}\r\n{}\r\n", "x".repeat(piece));
    let (start, count) = (Instant::now(), streams.len());
    for (index, slot) in streams.iter_mut().enumerate() {
        let sent = slot
            .as_mut()
            .map(|stream| stream.write_all(chunk.as_bytes()));
        // The proxy has rejected this one.
        if matches!(sent, Some(Err(_))) {
            *slot = None;
        }
        let due = Duration::from_secs(1) * index as u32 / count as u32;
        if is_measuring() {
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

/// Sends small requests one after the other, and returns the 99th percentile of their times in
/// seconds.
fn time_requests(address: SocketAddr, count: usize, is_over: &AtomicBool) -> Result<f64, BoxError> {
    runtime().block_on(async {
        let mut client = connect(address).await?;
        let mut times = Vec::new();
        while times.is_empty() || (times.len() < count && !is_over.load(Ordering::Relaxed)) {
            let request = sdk_request(Full::<Bytes>::from(r#"{"model":"code"}"#));
            let start = Instant::now();
            client.ready().await?;
            let response = client.send_request(request).await?;
            if !response.status().is_success() {
                return Err(format!("{response:?}").into());
            }
            response.into_body().collect().await?;
            times.push(start.elapsed().as_secs_f64());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(quantile(times, 0.99))
    })
}
