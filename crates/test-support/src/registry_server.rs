//! A scripted registry.
//!
//! ```ignore
//! let server = RegistryServer::start(Reply::new(200, MODELS).etag("\"1\"")).await;
//! server.reply(Reply::status(500)); // from then on
//! assert_eq!(server.requests()[0].header("accept"), Some("application/json"));
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A registry with scripted responses, until it is dropped.
pub struct RegistryServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

struct Script {
    reply: Reply,
    requests: Vec<Received>,
}

impl RegistryServer {
    pub const PATH: &'static str = "/active_models.json";

    /// Starts a registry that sends this reply to every request.
    pub async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            reply,
            requests: Vec::new(),
        }));
        let task = tokio::spawn({
            let script = Arc::clone(&script);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let script = Arc::clone(&script);
                    // Disconnects are not errors here.
                    tokio::spawn(async move { serve(stream, &script).await.ok() });
                }
            }
        });
        Self {
            address,
            script,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, Self::PATH)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the reply to every request from now on.
    pub fn reply(&self, reply: Reply) {
        self.script.lock().unwrap().reply = reply;
    }

    pub fn requests(&self) -> Vec<Received> {
        self.script.lock().unwrap().requests.clone()
    }

    pub fn last_request(&self) -> Received {
        self.requests().pop().unwrap()
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Received {
    /// Returns the value of a header, given its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key == name);
        header.map(|(_, value)| value.as_str())
    }

    fn parse(head: &str) -> Self {
        let mut lines = head.lines();
        let mut start = lines.next().unwrap_or_default().split(' ');
        let headers = lines.filter_map(|line| line.split_once(':'));
        Self {
            method: start.next().unwrap_or_default().to_owned(),
            target: start.next().unwrap_or_default().to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        }
    }
}

/// A scripted reply.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    etag: Option<String>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    /// The whole body.
    Complete,
    /// Half of the body, then the end of the connection.
    Truncated,
    /// Half of the body, then a reset.
    Reset,
    /// No response on an open connection.
    Silent,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            etag: None,
            ending: Ending::Complete,
        }
    }

    pub fn status(status: u16) -> Self {
        Self::new(status, "")
    }

    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::status(status).header("location", location)
    }

    pub fn silent() -> Self {
        Self::new(200, "").ending(Ending::Silent)
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds an ETag, and sends a 304 to a request that has it.
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    pub fn truncated(self) -> Self {
        self.ending(Ending::Truncated)
    }

    pub fn reset(self) -> Self {
        self.ending(Ending::Reset)
    }

    fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    async fn send(&self, stream: &mut TcpStream, request: &Received) -> io::Result<()> {
        if self.ending == Ending::Silent {
            return std::future::pending().await;
        }
        let unchanged = self.etag.is_some() && request.header("if-none-match") == self.sent_etag();
        let status = if unchanged { 304 } else { self.status };
        let mut head = format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(etag) = self.sent_etag() {
            head += &format!("etag: {etag}\r\n");
        }
        let length = self
            .headers
            .iter()
            .any(|(name, _)| *name == "content-length");
        if !length && !unchanged {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        stream.write_all((head + "\r\n").as_bytes()).await?;
        if unchanged {
            return stream.shutdown().await;
        }
        let half = &self.body[..self.body.len() / 2];
        match self.ending {
            Ending::Complete => stream.write_all(&self.body).await?,
            Ending::Truncated => stream.write_all(half).await?,
            Ending::Reset => {
                stream.write_all(half).await?;
                stream.set_zero_linger()?;
                return Ok(());
            }
            Ending::Silent => {}
        }
        stream.shutdown().await
    }

    fn sent_etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }
}

async fn serve(mut stream: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let request = Received::parse(&String::from_utf8_lossy(&head));
    let reply = {
        let mut script = script.lock().unwrap();
        script.requests.push(request.clone());
        script.reply.clone()
    };
    reply.send(&mut stream, &request).await
}
