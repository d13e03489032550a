//! The connections to the upstream: made, and kept for the next requests.
//!
//! hyper-util's client does the same for any number of hosts, for an eighth of the
//! instructions that a small request takes. What it is to be built from one day,
//! `hyper_util::client::pool`, keeps connections that are still busy with a
//! request that was given up.

use std::{
    error::Error,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::connect::{Connection as _, HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::{
    io::BufWriter,
    time::{interval, timeout},
};
use tower::ServiceExt;
use tower_model_routing::BoxError;

use super::timers::Timer;

/// Why the upstream did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It has seen nothing of the request.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// It may have received the request.
    #[error("no answer")]
    Exchange(#[source] hyper::Error),
}

/// All connections to one upstream, for requests with bodies of one kind.
#[derive(Debug)]
pub(crate) struct Connections<B> {
    connector: HttpsConnector<HttpConnector>,
    upstream: Uri,
    connect_timeout: Duration,
    kept: Arc<Kept<B>>,
}

impl<B> Connections<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// To be called on a runtime, which closes what is not used any more.
    ///
    /// # Errors
    ///
    /// The upstream is `https`, and this system has no CA certificates.
    pub(crate) fn new(upstream: Uri, connect_timeout: Duration) -> Result<Self, BoxError> {
        let connector = connector(&upstream, connect_timeout)?;
        let kept = Arc::new(Kept(Mutex::new(Vec::new())));
        tokio::spawn(Kept::age(Arc::downgrade(&kept)));
        Ok(Self {
            connector,
            upstream,
            connect_timeout,
            kept,
        })
    }

    /// Sends a request, whose URI is a path, and waits for the head of its answer.
    ///
    /// It is sent again only if nothing of it has been sent: when a kept
    /// connection turns out to be closed already.
    ///
    /// # Cancel safety
    ///
    /// A request that is given up is cancelled at the upstream as well: it takes
    /// its connection of HTTP/1 along.
    pub(crate) async fn request(
        &self,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, Failure> {
        if let Some(connection) = self.kept.take() {
            match self.exchange(connection, request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Exchange(error.into_error())),
                },
            }
        }
        // Boxed, because it is large and rarely needed.
        let connecting = Box::pin(self.connect());
        let connection = connecting.await.map_err(Failure::Connect)?;
        let exchanged = self.exchange(connection, request).await;
        exchanged.map_err(|error| Failure::Exchange(error.into_error()))
    }

    async fn exchange(
        &self,
        connection: Connection<B>,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        let mut sender = match connection {
            Connection::Http1(sender) => sender,
            Connection::Http2(mut sender) => {
                *request.uri_mut() = self.absolute(request.uri());
                return sender.try_send_request(request).await;
            }
        };
        let response = sender.try_send_request(request).await?;
        if sender.is_ready() {
            self.kept.put(Connection::Http1(sender));
        } else {
            // The answer's body is still coming.
            let kept = Arc::clone(&self.kept);
            tokio::spawn(async move {
                if sender.ready().await.is_ok() {
                    kept.put(Connection::Http1(sender));
                }
            });
        }
        Ok(response)
    }

    /// What HTTP/2 has for a path.
    fn absolute(&self, path: &Uri) -> Uri {
        let mut parts = self.upstream.clone().into_parts();
        parts.path_and_query = path.path_and_query().cloned();
        Uri::from_parts(parts).unwrap_or_else(|_| path.clone())
    }

    async fn connect(&self) -> Result<Connection<B>, BoxError> {
        let connecting = self.connector.clone().oneshot(self.upstream.clone());
        let stream = timeout(self.connect_timeout, connecting).await??;
        if stream.connected().is_negotiated_h2() {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(Timer)
                // All requests share it: a dead one must be noticed before TCP does so.
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .handshake(stream)
                .await?;
            run(connection);
            self.kept.put(Connection::Http2(sender.clone()));
            Ok(Connection::Http2(sender))
        } else {
            // A head and the start of its body leave together, by a cheaper call of
            // the system than the one for several buffers.
            let stream = BufWriter::with_capacity(16 * 1024, TokioIo::new(stream));
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            run(connection);
            Ok(Connection::Http1(sender))
        }
    }
}

fn connector(
    upstream: &Uri,
    connect_timeout: Duration,
) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    // For each of the host's addresses its share.
    tcp.set_connect_timeout(Some(connect_timeout));
    let provider = ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if upstream.scheme_str() == Some("https") {
        builder
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("no CA certificates for the upstream: {error}"))?
    } else {
        // Nothing is to be trusted, so no certificates are needed.
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(RootCertStore::empty());
        builder.with_tls_config(config.with_no_client_auth())
    };
    Ok(builder
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp))
}

/// Lets a connection read and write until it ends.
fn run(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async {
        if let Err(error) = connection.await {
            let error = &error as &(dyn Error + 'static);
            tracing::debug!(error, "a connection to the upstream failed");
        }
    });
}

#[derive(Debug)]
enum Connection<B> {
    /// For one request at a time.
    Http1(http1::SendRequest<B>),
    /// For all requests.
    Http2(http2::SendRequest<B>),
}

/// The connections that the next request may take, the one used last at the end.
#[derive(Debug)]
struct Kept<B>(Mutex<Vec<Idle<B>>>);

#[derive(Debug)]
struct Idle<B> {
    connection: Connection<B>,
    /// Whether it was here already when all were looked through last.
    is_old: bool,
}

impl<B> Kept<B> {
    /// Twice this is how long a connection is kept at most without being used.
    const LOOK_INTERVAL: Duration = Duration::from_secs(30);

    fn take(&self) -> Option<Connection<B>> {
        let mut kept = self.lock();
        while let Some(Idle { connection, .. }) = kept.pop() {
            match connection {
                Connection::Http1(sender) if !sender.is_closed() => {
                    return Some(Connection::Http1(sender));
                }
                Connection::Http2(sender) if !sender.is_closed() => {
                    kept.push(Idle::new(Connection::Http2(sender.clone())));
                    return Some(Connection::Http2(sender));
                }
                _ => {}
            }
        }
        None
    }

    fn put(&self, connection: Connection<B>) {
        self.lock().push(Idle::new(connection));
    }

    /// Closes what nobody has taken for a while.
    async fn age(kept: Weak<Self>) {
        let mut look = interval(Self::LOOK_INTERVAL);
        loop {
            look.tick().await;
            let Some(kept) = kept.upgrade() else { return };
            kept.lock()
                .retain_mut(|idle| !mem::replace(&mut idle.is_old, true));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Idle<B> {
    fn new(connection: Connection<B>) -> Self {
        Self {
            connection,
            is_old: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        net::{TcpListener, TcpStream},
        task::yield_now,
        time::{Instant, sleep_until},
    };
    use tokio_test::{assert_pending, task::spawn};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection of HTTP/1, and its other end.
    async fn connection() -> (Connection<Empty<Bytes>>, DuplexStream) {
        let (stream, peer) = duplex(1024);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        run(connection);
        sender.ready().await.unwrap();
        (Connection::Http1(sender), peer)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_for_a_minute_is_closed() {
        let kept = Arc::new(Kept(Mutex::new(Vec::new())));
        tokio::spawn(Kept::age(Arc::downgrade(&kept)));
        let start = Instant::now();
        for (put_at, look_at, is_there) in [(1, 31, true), (32, 91, false), (92, 121, true)] {
            sleep_until(start + put_at * SECOND).await;
            let (connection, mut peer) = connection().await;
            kept.put(connection);
            sleep_until(start + (look_at * SECOND) + SECOND / 2).await;
            assert_eq!(kept.take().is_some(), is_there, "{put_at} to {look_at}");
            if !is_there {
                assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn what_the_upstream_has_closed_is_not_taken() {
        let kept = Kept(Mutex::new(Vec::new()));
        let (open, _peer) = connection().await;
        kept.put(open);
        let (closed, peer) = connection().await;
        drop(peer);
        while !matches!(&closed, Connection::Http1(sender) if sender.is_closed()) {
            yield_now().await;
        }
        kept.put(closed);
        assert!(kept.take().is_some(), "the open one");
        assert!(kept.take().is_none());
    }

    struct Upstream {
        listener: TcpListener,
        connections: Connections<Empty<Bytes>>,
    }

    impl Upstream {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("http://{}", listener.local_addr().unwrap());
            let connections = Connections::new(uri.parse().unwrap(), 10 * SECOND).unwrap();
            Self {
                listener,
                connections,
            }
        }

        async fn accept(&self) -> TcpStream {
            self.listener.accept().await.unwrap().0
        }

        async fn request(&self) -> Response<Incoming> {
            let request = Request::get("/").header("host", "a").body(Empty::new());
            self.connections.request(request.unwrap()).await.unwrap()
        }
    }

    /// Reads the head of a request.
    async fn read_head(stream: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    }

    async fn answer(stream: &mut TcpStream, answer: &str) {
        read_head(stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    const NOTHING: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test]
    async fn a_connection_serves_one_request_after_the_other() {
        let upstream = Upstream::new().await;
        let serve = async {
            let mut stream = upstream.accept().await;
            for _ in 0..3 {
                answer(&mut stream, NOTHING).await;
            }
            stream
        };
        let ask = async {
            for _ in 0..3 {
                upstream.request().await;
            }
        };
        tokio::join!(serve, ask);
    }

    #[tokio::test]
    async fn a_connection_whose_answer_is_still_coming_serves_nobody_else() {
        let upstream = Upstream::new().await;
        let start = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1";
        let serve = async {
            let mut first = upstream.accept().await;
            answer(&mut first, start).await;
            let mut second = upstream.accept().await;
            answer(&mut second, NOTHING).await;
            first.write_all(b"2").await.unwrap();
            // And then both do.
            for stream in [&mut first, &mut second] {
                answer(stream, start).await;
            }
            (first, second)
        };
        let ask = async {
            let first = upstream.request().await;
            upstream.request().await;
            assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "12");
            [upstream.request().await, upstream.request().await]
        };
        tokio::join!(serve, ask);
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_takes_its_connection_along() {
        let upstream = Upstream::new().await;
        let mut given_up = spawn(upstream.request());
        assert_pending!(given_up.poll());
        let mut stream = upstream.accept().await;
        assert_pending!(given_up.poll());
        read_head(&mut stream).await;
        drop(given_up);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        let serve = async { answer(&mut upstream.accept().await, NOTHING).await };
        tokio::join!(serve, upstream.request());
    }
}
