//! A client that sends bytes and reads the answer.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::wire::{Head, Payload};

/// No test takes this long, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub head: Head,
    pub payload: Payload,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.word(1).parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        assert!(self.payload.is_complete, "cut off: {self:?}");
        String::from_utf8(self.payload.bytes.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Checks the form of the error object; the status and the code.
    pub fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        let error = body["error"].as_object().unwrap();
        let mut keys: Vec<_> = error.keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "message", "param", "type"], "{body}");
        assert!(!error["message"].as_str().unwrap().is_empty());
        let kind = match self.status() {
            ..500 => "invalid_request_error",
            _ => "server_error",
        };
        assert_eq!(error["type"], kind, "{body}");
        (self.status(), error["code"].as_str().unwrap().to_owned())
    }
}

/// Sends these bytes and reads one answer, even while it is still sending.
pub async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut answer = std::pin::pin!(timeout(PATIENCE, answer(&mut read)));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The server may have closed its side: it has answered already.
        _ = write.write_all(request.as_ref()) => answer.await,
    };
    answer.expect("an answer in time").expect("an answer")
}

/// Reads one answer; `None` when the connection ends before it.
pub async fn answer(read: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<Answer> {
    let head = Head::read(read).await.ok()??;
    let payload = Payload::read(read, &head, true, usize::MAX).await;
    Some(Answer { head, payload })
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"),
    )
    .await
}

/// Posts JSON.
pub async fn post(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> Answer {
    post_with(address, path, &[("content-type", "application/json")], body).await
}

pub async fn post_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Answer {
    let body = body.as_ref();
    let mut request = head("POST", path, headers);
    request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    send(address, request).await
}

/// Posts these chunks, one by one.
pub async fn post_chunked(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    chunks: &[&[u8]],
) -> Answer {
    let mut request = head("POST", path, headers);
    request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    for chunk in chunks {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    send(address, request).await
}

/// The head of a request, to be followed by its framing.
fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head.into_bytes()
}
