//! A scripted HTTP registry on a real socket.

use std::{
    collections::VecDeque,
    io::{self, Read},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A server that follows a script until it is dropped.
pub(crate) struct RegistryServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

struct Script {
    queued: VecDeque<ScriptedResponse>,
    default: ScriptedResponse,
    requests: Vec<ReceivedRequest>,
}

impl RegistryServer {
    pub(crate) const PATH: &'static str = "/active_models.json";

    /// Listens on a free port and sends `default` to each request for which no other response is
    /// queued.
    pub(crate) async fn start(default: ScriptedResponse) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            queued: VecDeque::new(),
            default,
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                // Errors are disconnects.
                tokio::spawn(async move { serve(stream, &script).await.ok() });
            }
        });
        Self {
            address,
            script,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(Self::PATH)
    }

    pub(crate) fn url_of(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the default response.
    pub(crate) fn set_response(&self, response: ScriptedResponse) {
        self.script.lock().unwrap().default = response;
    }

    /// Queues a response for one request.
    pub(crate) fn push(&self, response: ScriptedResponse) {
        self.script.lock().unwrap().queued.push_back(response);
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.script.lock().unwrap().requests.clone()
    }

    pub(crate) fn last_request(&self) -> ReceivedRequest {
        self.requests().pop().unwrap()
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let request = ReceivedRequest(String::from_utf8_lossy(&head).into_owned());
    let response = {
        let mut script = script.lock().unwrap();
        script.requests.push(request.clone());
        let queued = script.queued.pop_front();
        queued.unwrap_or_else(|| script.default.clone())
    };
    response.send(&mut stream, &request).await
}

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest(String);

impl ReceivedRequest {
    pub(crate) fn method(&self) -> &str {
        self.0.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.0.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(':'));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.trim())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ScriptedResponse {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    etag: Option<&'static str>,
    delay: Duration,
    delivery: Delivery,
}

/// The way in which the body is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Delivery {
    Complete,
    /// Half of the body, then the end of the connection.
    Truncated,
    /// Half of the body, then a reset.
    Reset,
    /// No bytes at all on an open connection.
    Silent,
    /// The body over and over, in chunks.
    Endless,
}

impl ScriptedResponse {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            etag: None,
            delay: Duration::ZERO,
            delivery: Delivery::Complete,
        }
    }

    /// Returns a catalog with one model.
    pub(crate) fn catalog(name: &str, id: &str) -> Self {
        let document = format!(r#"{{"models":[{{"Id":"{id}","Name":"{name}"}}]}}"#);
        Self::new(200, document)
    }

    pub(crate) fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(status, "").header("location", location)
    }

    pub(crate) fn silent() -> Self {
        Self::new(200, "").deliver(Delivery::Silent)
    }

    pub(crate) fn endless(chunk: Vec<u8>) -> Self {
        Self::new(200, chunk).deliver(Delivery::Endless)
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header. A `content-length` replaces the actual one.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds an ETag. Requests that have it in `If-None-Match` get a 304.
    pub(crate) fn etag(mut self, etag: &'static str) -> Self {
        self.etag = Some(etag);
        self
    }

    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn truncated(self) -> Self {
        self.deliver(Delivery::Truncated)
    }

    pub(crate) fn reset(self) -> Self {
        self.deliver(Delivery::Reset)
    }

    fn deliver(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    async fn send(&self, stream: &mut TcpStream, request: &ReceivedRequest) -> io::Result<()> {
        tokio::time::sleep(self.delay).await;
        if self.delivery == Delivery::Silent {
            return std::future::pending().await;
        }
        let unchanged = self.etag.is_some() && request.header("if-none-match") == self.etag;
        let status = if unchanged { 304 } else { self.status };
        let mut head = format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(etag) = self.etag {
            head += &format!("etag: {etag}\r\n");
        }
        let has_length = head.contains("\r\ncontent-length:");
        if self.delivery == Delivery::Endless {
            head += "transfer-encoding: chunked\r\n";
        } else if !has_length && !unchanged {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        stream.write_all((head + "\r\n").as_bytes()).await?;
        let half = &self.body[..self.body.len() / 2];
        match self.delivery {
            _ if unchanged => {}
            Delivery::Complete => stream.write_all(&self.body).await?,
            Delivery::Truncated => stream.write_all(half).await?,
            Delivery::Reset => {
                stream.write_all(half).await?;
                return stream.set_zero_linger();
            }
            Delivery::Endless => loop {
                let size = format!("{:x}\r\n", self.body.len());
                stream.write_all(size.as_bytes()).await?;
                stream.write_all(&self.body).await?;
                stream.write_all(b"\r\n").await?;
            },
            Delivery::Silent => {}
        }
        stream.shutdown().await
    }
}

/// Starts a server on localhost whose certificate no client trusts. It takes one connection.
pub(crate) fn start_untrusted_https_server() -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from(&include_bytes!("../tls/localhost.crt.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../tls/localhost.key.der")[..]);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
        // The client aborts the handshake.
        let _ = stream.read(&mut [0; 4096]);
    });
    address
}
