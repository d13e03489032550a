//! HTTP/1.1 messages as they are on the wire.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The head of a message.
#[derive(Debug, Clone)]
pub struct Head {
    /// The request line or the status line.
    pub start_line: String,
    /// In the order of the message, with names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head. Returns `None` if the connection ends before it.
    pub async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        let start_line = line(from).await?;
        if start_line.is_empty() {
            return Ok(None);
        }
        let headers = fields(from).await?;
        Ok(Some(Self {
            start_line,
            headers,
        }))
    }

    /// Returns the value of a header that must not be repeated, given its name in lower
    /// case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().copied()
    }

    /// Returns all values of a header, given its name in lower case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the method of a request.
    pub fn method(&self) -> &str {
        self.part(0)
    }

    /// Returns the target of a request.
    pub fn target(&self) -> &str {
        self.part(1)
    }

    /// Returns the status of a response.
    pub fn status(&self) -> u16 {
        self.part(1).parse().unwrap()
    }

    fn part(&self, index: usize) -> &str {
        self.start_line.split(' ').nth(index).unwrap_or_default()
    }
}

/// The received part of a message's body.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The first bytes, up to a limit.
    pub bytes: Vec<u8>,
    /// The number of all bytes.
    pub length: u64,
    pub trailers: Vec<(String, String)>,
    /// Whether the body ended as its framing says.
    pub is_complete: bool,
}

impl Body {
    /// Reads the body after `head`, and keeps its first `limit` bytes. If `open_ended`, as
    /// for responses, a body without framing ends with the connection.
    pub async fn read(
        from: &mut (impl AsyncBufRead + Unpin),
        head: &Head,
        open_ended: bool,
        limit: usize,
    ) -> Self {
        let mut body = Self::default();
        // An error means that the body is incomplete.
        let result = if head.header("transfer-encoding") == Some("chunked") {
            body.read_chunks(from, limit).await
        } else if let Some(length) = head.header("content-length") {
            body.read_exact(from, length.parse().unwrap(), limit).await
        } else if open_ended {
            body.read_exact(from, u64::MAX, limit).await.or(Ok(()))
        } else {
            Ok(())
        };
        body.is_complete = result.is_ok();
        body
    }

    async fn read_chunks(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        limit: usize,
    ) -> io::Result<()> {
        loop {
            let size = line(from).await?;
            let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
            if size == 0 {
                self.trailers = fields(from).await?;
                return Ok(());
            }
            self.read_exact(from, size, limit).await?;
            line(from).await?;
        }
    }

    async fn read_exact(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        length: u64,
        limit: usize,
    ) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let piece = from.fill_buf().await?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            let room = limit.saturating_sub(self.bytes.len()).min(count);
            self.bytes.extend_from_slice(&piece[..room]);
            from.consume(count);
            left -= count as u64;
            self.length += count as u64;
        }
        Ok(())
    }
}

async fn fields(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(from).await?;
        let Some((name, value)) = line.split_once(':') else {
            return match line.as_str() {
                "" => Ok(fields),
                _ => Err(io::Error::other(line)),
            };
        };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(1024 * 1024).read_until(b'\n', &mut line).await?;
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    Ok(line.trim_end().to_owned())
}
