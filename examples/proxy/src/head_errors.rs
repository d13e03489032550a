//! Error objects in responses to request heads that cannot be read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_model_routing::error_response;

/// hyper's responses to heads that it cannot read, and what the error objects say.
const ERRORS: [(StatusCode, &str, &str); 3] = [
    (
        StatusCode::BAD_REQUEST,
        "invalid_request_head",
        "The request line or a header is not valid HTTP/1.1 (RFC 9112).",
    ),
    (
        StatusCode::URI_TOO_LONG,
        "uri_too_long",
        "The URI is too long. Shorten it to at most 65,534 bytes.",
    ),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "request_head_too_large",
        "The request head is too large. Send at most 128 KiB and 100 headers.",
    ),
];

/// A client's HTTP/1.1 connection on which those responses have an error object.
///
/// hyper makes them itself, without a body or a hook to change them. Each is written by itself, once
/// no request is in flight, and then the connection is closed.
#[derive(Debug)]
pub(crate) struct HeadErrorStream<S> {
    stream: S,
    /// Its owner and each request in flight have a clone.
    in_flight: Weak<()>,
    /// What is left to write of the response in place of hyper's.
    rest: Bytes,
}

impl<S: AsyncWrite + Unpin> HeadErrorStream<S> {
    /// Wraps a stream. Each request in flight holds a clone of `in_flight`.
    pub(crate) fn new(stream: S, in_flight: &Arc<()>) -> Self {
        Self {
            stream,
            in_flight: Arc::downgrade(in_flight),
            rest: Bytes::new(),
        }
    }

    /// Takes a response of hyper's, and returns its length; `None` if it is something else.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        // Most writes are during a request.
        if self.in_flight.strong_count() > 1 {
            return None;
        }
        self.rest = with_error_object(bytes)?;
        Some(bytes.len())
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.rest.has_remaining() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.rest.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns hyper's response with an error object in its body; `None` if it is not one of hyper's.
fn with_error_object(response: &[u8]) -> Option<Bytes> {
    let date = response.strip_suffix(b"\r\n\r\n")?;
    ERRORS.iter().find_map(|(status, code, message)| {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-");
        let before_date = format!("{head}length: 0\r\ndate: ");
        let date = date.strip_prefix(before_date.as_bytes())?;
        if date.contains(&b'\n') {
            return None;
        }
        // A path is not known.
        let body = error_response("/", *status, code, message).into_body();
        let length = format!(
            "{head}type: application/json\r\ncontent-length: {}\r\ndate: ",
            body.len()
        );
        Some(
            [length.as_bytes(), date, b"\r\n\r\n", &body]
                .concat()
                .into(),
        )
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadErrorStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadErrorStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        match self.take(buf) {
            Some(len) => Poll::Ready(Ok(len)),
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [buf] = bufs {
            return self.poll_write(cx, buf);
        }
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const DATE: &str = "date: Sat, 28 Nov 2026 12:00:00 GMT\r\n\r\n";

    fn too_large() -> String {
        let line = "HTTP/1.1 431 Request Header Fields Too Large";
        format!("{line}\r\nconnection: close\r\ncontent-length: 0\r\n{DATE}")
    }

    /// Returns what the client receives of a write, on a connection with or without a request.
    async fn received(write: &str, has_request: bool) -> String {
        let (stream, mut client) = duplex(16);
        let in_flight = Arc::new(());
        let request = has_request.then(|| Arc::clone(&in_flight));
        let mut stream = HeadErrorStream::new(stream, &in_flight);
        let write = async {
            stream.write_all(write.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(request);
        };
        let mut received = String::new();
        let (_, result) = tokio::join!(write, client.read_to_string(&mut received));
        result.unwrap();
        received
    }

    #[tokio::test]
    async fn response_to_a_bad_head_gets_an_error_object() {
        let response = received(&too_large(), false).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{head}");
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "request_head_too_large");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }

    #[tokio::test]
    async fn other_writes_are_unchanged() {
        let own = too_large();
        let with_header = own.replace("date", "x-request-id: 1\r\ndate");
        let not_found = own.replace("431 Request Header Fields Too Large", "404 Not Found");
        for (write, has_request) in [
            (&*own, true),
            (&own[1..], false),
            (&with_header, false),
            (&not_found, false),
            (&own.replace("date", "data"), false),
            ("", false),
        ] {
            assert_eq!(received(write, has_request).await, write);
        }
    }
}
