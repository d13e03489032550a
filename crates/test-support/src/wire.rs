//! HTTP/1.1 as it is on the wire, for tests that care about each byte.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The head of a message.
#[derive(Debug, Clone)]
pub struct Head {
    /// The request line or the status line.
    pub start: String,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The next head; `None` when the connection ends before it.
    pub async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        let start = line(from).await?;
        if start.is_empty() {
            return Ok(None);
        }
        let headers = fields(from).await?;
        Ok(Some(Self { start, headers }))
    }

    /// The value of a header that is there at most once; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().copied()
    }

    /// All values of a header; its name in lower case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    pub fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }
}

/// The body of a message, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// The first bytes, up to the limit.
    pub bytes: Vec<u8>,
    /// How many there were in all.
    pub length: u64,
    pub trailers: Vec<(String, String)>,
    /// Whether it came whole, so that a server would act upon it.
    pub is_complete: bool,
}

impl Payload {
    /// The body that follows `head`. `open_ended`: without a length it ends with
    /// the connection, as that of a response does.
    pub async fn read(
        from: &mut (impl AsyncBufRead + Unpin),
        head: &Head,
        open_ended: bool,
        limit: usize,
    ) -> Self {
        let mut payload = Self::default();
        // An error means that the rest did not come.
        let result = if head.header("transfer-encoding") == Some("chunked") {
            payload.read_chunks(from, limit).await
        } else if let Some(length) = head.header("content-length") {
            payload
                .read_exact(from, length.parse().unwrap(), limit)
                .await
        } else if open_ended {
            payload.read_exact(from, u64::MAX, limit).await.or(Ok(()))
        } else {
            Ok(())
        };
        payload.is_complete = result.is_ok();
        payload
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
