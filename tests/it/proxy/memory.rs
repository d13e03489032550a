//! How much of a request is held.

use std::fs;

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Setup, VENICE};
use crate::support::client::{answer, post};

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
async fn warm() -> (Setup, u64) {
    let setup = Setup::new().await;
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
    let (setup, before) = warm().await;
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
