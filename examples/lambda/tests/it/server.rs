//! A scripted HTTP server that records its requests.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex as StdMutex},
};

use axum::{Router, body::Body, extract::Request};
use http::{Response, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::TIMEOUT;

type Respond = Arc<dyn Fn() -> Response<Body> + Send + Sync>;

/// A server, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    script: Arc<StdMutex<Script>>,
    requests: Mutex<mpsc::UnboundedReceiver<Received>>,
    task: JoinHandle<()>,
}

struct Script {
    queued: VecDeque<Response<Body>>,
    default: Respond,
    count: usize,
}

/// A request.
pub(crate) struct Received {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

impl Server {
    /// Listens on a free port and sends what `respond` returns.
    pub(crate) async fn start(
        respond: impl Fn() -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(StdMutex::new(Script {
            queued: VecDeque::new(),
            default: Arc::new(respond),
            count: 0,
        }));
        let (sender, requests) = mpsc::unbounded_channel();
        let shared = Arc::clone(&script);
        let app = Router::new().fallback(move |request: Request| async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let body = body.to_bytes();
                let _ = sender.send(Received { head, body });
            }
            let respond = {
                let mut script = shared.lock().unwrap();
                script.count += 1;
                if let Some(response) = script.queued.pop_front() {
                    return response;
                }
                Arc::clone(&script.default)
            };
            respond()
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            script,
            requests: requests.into(),
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests.
    pub(crate) fn count(&self) -> usize {
        self.script.lock().unwrap().count
    }

    /// Sends what `respond` returns from now on.
    pub(crate) fn respond_with(
        &self,
        respond: impl Fn() -> Response<Body> + Send + Sync + 'static,
    ) {
        self.script.lock().unwrap().default = Arc::new(respond);
    }

    /// Queues a response for one request.
    pub(crate) fn respond_once(&self, response: Response<Body>) {
        self.script.lock().unwrap().queued.push_back(response);
    }

    /// Returns the next request.
    pub(crate) async fn request(&self) -> Received {
        let mut requests = self.requests.lock().await;
        let request = timeout(TIMEOUT, requests.recv()).await;
        request.expect("no request").unwrap()
    }

    /// Whether there are requests that [`request`](Self::request) has not returned.
    pub(crate) async fn has_request(&self) -> bool {
        !self.requests.lock().await.is_empty()
    }
}

/// Closes the connection without a response: a panic ends the connection's task.
pub(crate) fn disconnect() -> Response<Body> {
    std::panic::resume_unwind(Box::new("disconnect"))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
