//! A scripted upstream on a real socket, which records what it is sent.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    client::PATIENCE,
    wire::{Head, Payload},
};

/// An upstream that answers as told, until it is dropped.
pub struct Upstream {
    address: SocketAddr,
    script: Arc<Mutex<Vec<Act>>>,
    heads: tokio::sync::Mutex<mpsc::UnboundedReceiver<Head>>,
    requests: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    gone: Arc<Semaphore>,
    task: JoinHandle<()>,
}

/// A request as it came, whole or not.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: Head,
    pub payload: Payload,
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body, which must be complete.
    pub fn text(&self) -> &str {
        assert!(self.payload.is_complete, "cut off: {self:?}");
        std::str::from_utf8(&self.payload.bytes).unwrap()
    }
}

/// What the upstream does with a request, one after the other.
#[derive(Clone)]
pub enum Act {
    /// Answers before it reads the body; must come first.
    Early,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits for a permit.
    Wait(Arc<Semaphore>),
    /// Waits until the other side has gone, and tells it.
    WaitUntilGone,
    /// Closes the connection.
    Close,
}

impl Act {
    /// Sends a whole answer.
    pub fn answer(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Scripted\r\n{headers}content-length: {length}\r\n");
        Self::Send(format!("{head}\r\n{body}").into())
    }

    pub fn send(text: &str) -> Self {
        Self::Send(text.into())
    }
}

impl Upstream {
    /// Answers 200 with some JSON to every request.
    pub async fn start() -> Self {
        let json = "content-type: application/json\r\n";
        Self::with_script(vec![Act::answer(200, json, r#"{"ok":true}"#)]).await
    }

    /// Does this with every request.
    pub async fn with_script(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script));
        let gone = Arc::new(Semaphore::new(0));
        let (heads_in, heads) = mpsc::unbounded_channel();
        let (requests_in, requests) = mpsc::unbounded_channel();
        let recorder = Recorder {
            script: Arc::clone(&script),
            heads: heads_in,
            requests: requests_in,
            gone: Arc::clone(&gone),
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = recorder.clone();
                // A client that goes away is no concern of the script.
                tokio::spawn(async move { recorder.serve(stream).await.ok() });
            }
        });
        Self {
            address,
            script,
            heads: heads.into(),
            requests: requests.into(),
            gone,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this with every request from now on.
    pub fn script(&self, script: Vec<Act>) {
        *self.script.lock().unwrap() = script;
    }

    /// The next request, once its body has ended in one way or another.
    pub async fn request(&self) -> Received {
        let mut requests = self.requests.lock().await;
        let request = timeout(PATIENCE, requests.recv()).await;
        request.expect("a request in time").unwrap()
    }

    /// The next head of a request; its body may still be coming.
    pub async fn head(&self) -> Head {
        let mut heads = self.heads.lock().await;
        let head = timeout(PATIENCE, heads.recv()).await;
        head.expect("a head in time").unwrap()
    }

    /// Whether requests have come that [`request`](Self::request) has not told of.
    pub async fn has_request(&self) -> bool {
        !self.requests.lock().await.is_empty()
    }

    /// Returns when a connection has gone in an [`Act::WaitUntilGone`].
    pub async fn until_gone(&self) {
        let gone = timeout(PATIENCE, self.gone.acquire()).await;
        gone.expect("the end of the connection in time")
            .unwrap()
            .forget();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Recorder {
    script: Arc<Mutex<Vec<Act>>>,
    heads: mpsc::UnboundedSender<Head>,
    requests: mpsc::UnboundedSender<Received>,
    gone: Arc<Semaphore>,
}

impl Recorder {
    /// More of a body than this is counted, but not kept.
    const KEPT: usize = 8 * 1024 * 1024;

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::with_capacity(256 * 1024, read);
        while let Some(head) = Head::read(&mut read).await? {
            // The test may have ended.
            let _ = self.heads.send(head.clone());
            let mut script = self.script.lock().unwrap().clone();
            let is_early = matches!(script.first(), Some(Act::Early));
            if is_early {
                script.remove(0);
                let mut acts = script.drain(..);
                if let Some(Act::Send(bytes)) = acts.next() {
                    write.write_all(&bytes).await?;
                }
                script = acts.collect();
            }
            let payload = Payload::read(&mut read, &head, false, Self::KEPT).await;
            let is_complete = payload.is_complete;
            let _ = self.requests.send(Received { head, payload });
            if !is_complete {
                return Ok(());
            }
            for act in script {
                if !self.act(act, &mut read, &mut write).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn act(
        &self,
        act: Act,
        read: &mut (impl tokio::io::AsyncRead + Unpin),
        write: &mut OwnedWriteHalf,
    ) -> io::Result<bool> {
        match act {
            Act::Early => {}
            Act::Send(bytes) => write.write_all(&bytes).await?,
            Act::Wait(permits) => permits.acquire().await.map_err(io::Error::other)?.forget(),
            Act::WaitUntilGone => {
                // Its end, or a reset.
                let _ = read.read(&mut [0]).await;
                self.gone.add_permits(1);
                return Ok(false);
            }
            Act::Close => return Ok(false),
        }
        Ok(true)
    }
}
