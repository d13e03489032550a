//! A scripted upstream that records its requests.

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
    client::TIMEOUT,
    wire::{Body, Head},
};

/// An upstream with scripted responses, until it is dropped.
pub struct Upstream {
    address: SocketAddr,
    script: Arc<Mutex<Vec<Step>>>,
    heads: tokio::sync::Mutex<mpsc::UnboundedReceiver<Head>>,
    requests: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    disconnects: Arc<Semaphore>,
    task: JoinHandle<()>,
}

/// A received request, complete or not.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: Head,
    pub body: Body,
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.method()
    }

    pub fn target(&self) -> &str {
        self.head.target()
    }

    /// Returns the value of a header, given its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Returns the body, which must be complete.
    pub fn text(&self) -> &str {
        assert!(self.body.is_complete, "incomplete: {self:?}");
        std::str::from_utf8(&self.body.bytes).unwrap()
    }
}

/// A step of the script for a request.
#[derive(Clone)]
pub enum Step {
    /// Takes the next step before the body is read; must come first.
    Early,
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits for a permit.
    Wait(Arc<Semaphore>),
    /// Sends back what the client sends, until it closes its side.
    Echo,
    /// Waits until the client disconnects, and reports it.
    WaitForDisconnect,
    /// Closes the connection.
    Close,
}

impl Step {
    /// Sends a response with a body.
    pub fn response(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Scripted\r\n{headers}content-length: {length}\r\n");
        Self::Send(format!("{head}\r\n{body}").into())
    }

    /// Sends a text.
    pub fn send(text: &str) -> Self {
        Self::Send(text.into())
    }
}

impl Upstream {
    /// Starts an upstream that responds to every request with 200 and JSON.
    pub async fn start() -> Self {
        let json = "content-type: application/json\r\n";
        Self::with_script(vec![Step::response(200, json, r#"{"ok":true}"#)]).await
    }

    /// Starts an upstream with this script for every request.
    pub async fn with_script(script: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script));
        let disconnects = Arc::new(Semaphore::new(0));
        let (heads_in, heads) = mpsc::unbounded_channel();
        let (requests_in, requests) = mpsc::unbounded_channel();
        let recorder = Recorder {
            script: Arc::clone(&script),
            heads: heads_in,
            requests: requests_in,
            disconnects: Arc::clone(&disconnects),
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = recorder.clone();
                // Disconnects are not errors here.
                tokio::spawn(async move { recorder.serve(stream).await.ok() });
            }
        });
        Self {
            address,
            script,
            heads: heads.into(),
            requests: requests.into(),
            disconnects,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the script for every request from now on.
    pub fn script(&self, script: Vec<Step>) {
        *self.script.lock().unwrap() = script;
    }

    /// Waits for the end of the next request, complete or not, and returns it.
    pub async fn request(&self) -> Received {
        let mut requests = self.requests.lock().await;
        let request = timeout(TIMEOUT, requests.recv()).await;
        request.expect("a request in time").unwrap()
    }

    /// Waits for the head of the next request and returns it.
    pub async fn head(&self) -> Head {
        let mut heads = self.heads.lock().await;
        let head = timeout(TIMEOUT, heads.recv()).await;
        head.expect("a head in time").unwrap()
    }

    /// Returns whether there are requests that [`request`](Self::request) has not
    /// returned yet.
    pub async fn has_request(&self) -> bool {
        !self.requests.lock().await.is_empty()
    }

    /// Waits for a disconnect during a [`Step::WaitForDisconnect`].
    pub async fn wait_for_disconnect(&self) {
        let disconnects = timeout(TIMEOUT, self.disconnects.acquire()).await;
        disconnects.expect("a disconnect in time").unwrap().forget();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Recorder {
    script: Arc<Mutex<Vec<Step>>>,
    heads: mpsc::UnboundedSender<Head>,
    requests: mpsc::UnboundedSender<Received>,
    disconnects: Arc<Semaphore>,
}

impl Recorder {
    /// The limit for the bytes of a body; more are only counted.
    const BODY_LIMIT: usize = 8 * 1024 * 1024;

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::with_capacity(256 * 1024, read);
        while let Some(head) = Head::read(&mut read).await? {
            // The receiver is gone if the test has ended.
            let _ = self.heads.send(head.clone());
            let mut script = self.script.lock().unwrap().clone();
            let is_early = matches!(script.first(), Some(Step::Early));
            if is_early {
                script.remove(0);
                let mut steps = script.drain(..);
                if let Some(Step::Send(bytes)) = steps.next() {
                    write.write_all(&bytes).await?;
                }
                script = steps.collect();
            }
            let body = Body::read(&mut read, &head, false, Self::BODY_LIMIT).await;
            let is_complete = body.is_complete;
            let _ = self.requests.send(Received { head, body });
            if !is_complete {
                return Ok(());
            }
            for step in script {
                if !self.step(step, &mut read, &mut write).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn step(
        &self,
        step: Step,
        read: &mut (impl tokio::io::AsyncRead + Unpin),
        write: &mut OwnedWriteHalf,
    ) -> io::Result<bool> {
        match step {
            Step::Early => {}
            Step::Send(bytes) => write.write_all(&bytes).await?,
            Step::Wait(permits) => permits.acquire().await.map_err(io::Error::other)?.forget(),
            Step::Echo => {
                tokio::io::copy(read, write).await?;
                return Ok(false);
            }
            Step::WaitForDisconnect => {
                // An end or a reset.
                let _ = read.read(&mut [0]).await;
                self.disconnects.add_permits(1);
                return Ok(false);
            }
            Step::Close => return Ok(false),
        }
        Ok(true)
    }
}
