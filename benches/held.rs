//! The example proxy while clients drip bodies without a model, as a table.
//!
//! Each attack opens its connections, sends a piece on each of them once a
//! second, and goes away. Meanwhile another client sends small requests one
//! after the other, as it does before anybody attacks. The process ends with 1
//! when a target is missed. What memory a process takes is asked of Linux.

mod support;

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use support::{example, is_measuring, process};

const MAX_TOTAL_HELD: u64 = 64 * MIB;
/// What a connection may take besides what it holds: mostly its read buffer,
/// which grows with what comes at once, and those that its first small frames
/// keep alive.
const MAX_OVERHEAD: u64 = 96 * 1024;
/// How much longer the slowest 1 % of small requests may take under attack.
const MAX_SLOWDOWN: f64 = 3.0;
const MIB: u64 = 1024 * 1024;
const HELD_BYTES: &str = "model_routing_held_bytes ";

const ATTACK: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: held\r\n\
                      content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
                      6\r\n{\"a\":\"\r\n";
const SMALL: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: held\r\n\
                     content-type: application/json\r\ncontent-length: 16\r\n\r\n\
                     {\"model\":\"code\"}";

/// What every connection of an attack sends once a second.
struct Attack {
    name: &'static str,
    piece: usize,
}

const ATTACKS: [Attack; 3] = [
    Attack {
        name: "a byte each",
        piece: 1,
    },
    // What a packet takes; it meets the bound for all.
    Attack {
        name: "1,400 bytes each",
        piece: 1_400,
    },
    Attack {
        name: "16 KiB each",
        piece: 16 * 1024,
    },
];

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("what a process takes is asked of Linux only");
        return ExitCode::SUCCESS;
    }
    let (connections, rounds, requests) = match is_measuring() {
        true => (2_000.min(max_connections()), 25, 2_000),
        false => (20, 3, 20),
    };
    let proxy = Proxy::start();
    time_requests(proxy.address, requests, &AtomicBool::new(false));
    let idle = time_requests(proxy.address, requests, &AtomicBool::new(false));
    let (before, files) = (proxy.memory(), proxy.files());

    println!(
        "| {connections} connections | p99, ms | x idle | held, MiB | memory, MiB | KiB each |"
    );
    println!("|---|---|---|---|---|---|");
    println!(
        "| none | {:.2} | 1.00 | 0.0 | {:.1} | |",
        idle * 1e3,
        mib(before)
    );
    let mut missed = Vec::new();
    for attack in ATTACKS {
        let seen = proxy.attacked(&attack, connections, rounds);
        let slowdown = seen.p99 / idle;
        let overhead = seen.memory.saturating_sub(before + seen.held) / connections as u64;
        println!(
            "| {} | {:.2} | {slowdown:.2} | {:.1} | {:.1} | {} |",
            attack.name,
            seen.p99 * 1e3,
            mib(seen.held),
            mib(seen.memory),
            overhead / 1024,
        );
        let mut expect = |holds: bool, target: &str| {
            if !holds {
                missed.push(format!("{}: {target}", attack.name));
            }
        };
        expect(seen.held <= MAX_TOTAL_HELD, "the bound on held bytes");
        expect(proxy.is_clear(files), "everything is freed");
        if is_measuring() {
            expect(slowdown <= MAX_SLOWDOWN, "p99 within 3 x idle");
            expect(overhead <= MAX_OVERHEAD, "96 KiB a connection");
        }
    }
    for target in &missed {
        println!("missed: {target}");
    }
    match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// The proxy in its demo mode, until it is dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

/// What an attack did, at its worst.
struct Seen {
    p99: f64,
    held: u64,
    memory: u64,
}

impl Proxy {
    fn start() -> Self {
        let path = example::build(is_measuring()).unwrap();
        let mut child = Command::new(path)
            .args(["--listen", "127.0.0.1:0", "--held-timeout", "3600"])
            .args(["--max-total-held-bytes", &MAX_TOTAL_HELD.to_string()])
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap();
        Self {
            address: address.parse().unwrap(),
            child,
        }
    }

    fn attacked(&self, attack: &Attack, connections: usize, rounds: usize) -> Seen {
        let is_over = &AtomicBool::new(false);
        thread::scope(|scope| {
            let client = scope.spawn(|| time_requests(self.address, usize::MAX, is_over));
            let (mut held, mut memory) = (0, 0);
            let streams = &mut connect(self.address, connections);
            for _ in 0..rounds {
                drip(streams, attack.piece);
                held = held.max(self.held());
                memory = memory.max(self.memory());
            }
            is_over.store(true, Ordering::Relaxed);
            let p99 = client.join().unwrap();
            Seen { p99, held, memory }
        })
    }

    /// Whether all that was held is given back soon.
    fn is_clear(&self, files: usize) -> bool {
        let start = Instant::now();
        while self.held() > 0 || self.files() > files + 8 {
            if start.elapsed() > Duration::from_secs(30) {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        true
    }

    fn held(&self) -> u64 {
        let request = "GET /metrics HTTP/1.1\r\nhost: held\r\nconnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(HELD_BYTES));
        value.map_or(0, |value| value.trim().parse::<f64>().unwrap() as u64)
    }

    fn memory(&self) -> u64 {
        process::status(self.child.id(), "VmRSS")
    }

    fn files(&self) -> usize {
        process::files(self.child.id())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As many as this process may have files open, less some for itself.
fn max_connections() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.unwrap().split_whitespace().next().unwrap();
    soft.parse::<usize>()
        .map_or(usize::MAX, |soft| soft.saturating_sub(100))
}

fn connect(address: SocketAddr, connections: usize) -> Vec<Option<TcpStream>> {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        // A client that is refused must not block the others.
        stream.set_nonblocking(true).unwrap();
        stream.write_all(ATTACK.as_bytes()).unwrap();
        Some(stream)
    };
    (0..connections).map(connect).collect()
}

/// Sends a piece on each connection, spread over a second.
fn drip(streams: &mut [Option<TcpStream>], piece: usize) {
    let chunk = format!("{piece:x}\r\n{}\r\n", "x".repeat(piece));
    let (start, count) = (Instant::now(), streams.len());
    for (index, slot) in streams.iter_mut().enumerate() {
        let sent = slot
            .as_mut()
            .map(|stream| stream.write_all(chunk.as_bytes()));
        // Those that were refused stay away.
        if matches!(sent, Some(Err(_))) {
            *slot = None;
        }
        let due = Duration::from_secs(1) * index as u32 / count as u32;
        if is_measuring() {
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

/// Sends small requests one after the other; the 99th percentile, in seconds.
fn time_requests(address: SocketAddr, count: usize, is_over: &AtomicBool) -> f64 {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < count && !is_over.load(Ordering::Relaxed)) {
        let start = Instant::now();
        stream.get_mut().write_all(SMALL.as_bytes()).unwrap();
        read_answer(&mut stream).unwrap();
        times.push(start.elapsed().as_secs_f64());
        thread::sleep(Duration::from_millis(2));
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

/// Reads an answer, which must be a good one in chunks.
fn read_answer(stream: &mut impl BufRead) -> io::Result<()> {
    let mut line = String::new();
    let mut next = |stream: &mut dyn BufRead| {
        line.clear();
        stream.read_line(&mut line)?;
        Ok::<_, io::Error>(line.trim_end().to_ascii_lowercase())
    };
    let status = next(stream)?;
    assert!(status.starts_with("http/1.1 200"), "{status}");
    let mut length = None;
    loop {
        let header = next(stream)?;
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    if let Some(length) = length {
        return stream.read_exact(&mut vec![0; length]);
    }
    loop {
        let size = usize::from_str_radix(&next(stream)?, 16).map_err(io::Error::other)?;
        stream.read_exact(&mut vec![0; size + 2])?;
        if size == 0 {
            return Ok(());
        }
    }
}
