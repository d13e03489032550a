//! An HTTP/1.1 client that sends bytes and reads the response.

use std::{net::SocketAddr, pin::pin, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::wire::{Body, Head};

/// A timeout for whatever must happen; long, for busy machines.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A response.
#[derive(Debug)]
pub struct Response {
    pub head: Head,
    pub body: Body,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// Returns the value of a header, given its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Returns the body, which must be complete.
    pub fn text(&self) -> String {
        assert!(self.body.is_complete, "incomplete: {self:?}");
        String::from_utf8(self.body.bytes.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Checks the format of the error object, and returns the status and the code.
    pub fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        let error = body["error"].as_object().unwrap();
        let mut keys: Vec<_> = error.keys().filter(|key| *key != "suggestions").collect();
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

/// Sends a request and reads the response, even before all of it is sent.
pub async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut response = pin!(timeout(TIMEOUT, read_response(&mut read)));
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        // A server that has responded already may have closed its side.
        _ = write.write_all(request.as_ref()) => response.await,
    };
    response.expect("a response in time").expect("a response")
}

/// Reads a response. Returns `None` if the connection ends before it.
pub async fn read_response(read: &mut (impl AsyncBufRead + Unpin)) -> Option<Response> {
    let head = Head::read(read).await.ok()??;
    let body = Body::read(read, &head, true, usize::MAX).await;
    Some(Response { head, body })
}

/// Sends a GET request.
pub async fn get(address: SocketAddr, path: &str) -> Response {
    send(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"),
    )
    .await
}

/// Posts JSON.
pub async fn post(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> Response {
    post_with(address, path, &[("content-type", "application/json")], body).await
}

/// Posts a body with these headers.
pub async fn post_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Response {
    let body = body.as_ref();
    let mut request = head("POST", path, headers);
    request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    send(address, request).await
}

/// Posts a chunked body.
pub async fn post_chunked(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    chunks: &[&[u8]],
) -> Response {
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

/// Returns the head of a request, without its framing and its end.
fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head.into_bytes()
}
