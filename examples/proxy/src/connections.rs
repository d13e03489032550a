//! The connections to the upstream: made, and kept for the next requests.
//!
//! hyper-util's client does the same for any number of hosts, for an eighth of the
//! instructions that a small request takes. What it is to be built from one day,
//! `hyper_util::client::pool`, keeps connections that are still busy with a
//! request that was given up. Here, as in nginx and unlike in both, a request for
//! which a connection is being made takes no other one that comes free meanwhile.

use std::{error::Error, sync::Arc, time::Duration};

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
use tokio::{io::BufWriter, time::timeout};
use tower::ServiceExt;
use tower_model_routing::BoxError;

use super::{
    kept::{Connection, Kept},
    timers::Timer,
};

/// What a connection of HTTP/1 buffers each way, and the largest head of its
/// answers. A client that does not read costs half as much memory as with hyper's
/// 408 KiB, and large messages take no more time.
const MAX_BUFFER_BYTES: usize = 128 * 1024;

/// Why there is no answer from the upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// It has seen nothing of the request.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// It may have received the request.
    #[error("no answer")]
    Exchange(#[source] hyper::Error),
}

impl NoAnswer {
    fn of<B>(mut error: TrySendError<Request<B>>) -> Self {
        match error.take_message() {
            Some(_unsent) => Self::Connect(error.into_error().into()),
            None => Self::Exchange(error.into_error()),
        }
    }
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
    /// The runtime on which this is called closes what is not used any more.
    ///
    /// # Errors
    ///
    /// The upstream is `https`, and this system has no CA certificates.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn new(upstream: Uri, connect_timeout: Duration) -> Result<Self, BoxError> {
        let connector = connector(&upstream, connect_timeout)?;
        let kept = Arc::new(Kept::new());
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
    /// # Errors
    ///
    /// No connection could be made, or it ended before the answer began.
    ///
    /// # Cancel safety
    ///
    /// A request that is given up is cancelled at the upstream as well: it takes
    /// its connection of HTTP/1 along.
    pub(crate) async fn request(
        &self,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        if let Some(connection) = self.kept.take() {
            match self.exchange(connection, request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(mut unsent) => {
                        *unsent.uri_mut() = path(unsent.uri());
                        request = unsent;
                    }
                    None => return Err(NoAnswer::Exchange(error.into_error())),
                },
            }
        }
        // Boxed, because it is large and rarely needed.
        let connecting = Box::pin(self.connect());
        let connection = connecting.await.map_err(NoAnswer::Connect)?;
        let exchanged = self.exchange(connection, request).await;
        exchanged.map_err(NoAnswer::of)
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
            Ok(Connection::Http2(self.kept.share(sender)))
        } else {
            // A head and the start of its body leave together, by a cheaper call of
            // the system than the one for several buffers.
            let stream = BufWriter::with_capacity(16 * 1024, TokioIo::new(stream));
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_BUFFER_BYTES)
                .handshake(TokioIo::new(stream))
                .await?;
            run(connection);
            Ok(Connection::Http1(sender))
        }
    }
}

/// What HTTP/1 has for an absolute URI.
fn path(absolute: &Uri) -> Uri {
    let path = absolute.path_and_query().cloned();
    path.map(Uri::from).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Version;
    use http_body_util::{BodyExt, Empty};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        task::yield_now,
    };
    use tokio_test::{assert_pending, task::spawn};

    use super::{super::kept::tests::http2_peer, *};

    const SECOND: Duration = Duration::from_secs(1);

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
            self.request_for("/").await
        }

        async fn request_for(&self, path: &str) -> Response<Incoming> {
            let request = Request::get(path).header("host", "a").body(Empty::new());
            let answer = self.connections.request(request.unwrap());
            within(answer).await.unwrap()
        }
    }

    /// Reads the head of a request.
    async fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn answer(stream: &mut TcpStream, answer: &str) {
        read_head(stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Lets all tasks do what they can.
    async fn settle() {
        for _ in 0..100 {
            yield_now().await;
        }
    }

    /// What never ends is to fail.
    async fn within<T>(exchange: impl Future<Output = T>) -> T {
        timeout(10 * SECOND, exchange).await.unwrap()
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
        within(async { tokio::join!(serve, ask) }).await;
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
            tokio::join!(answer(&mut first, start), answer(&mut second, start));
            (first, second)
        };
        let ask = async {
            let first = upstream.request().await;
            upstream.request().await;
            assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "12");
            settle().await;
            tokio::join!(upstream.request(), upstream.request())
        };
        within(async { tokio::join!(serve, ask) }).await;
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
        within(async { tokio::join!(serve, upstream.request()) }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn all_requests_share_a_connection_of_http2() {
        let upstream = Upstream::new().await;
        let (sender, _stop) = http2_peer().await;
        upstream.connections.kept.share(sender);
        let held = upstream.request_for("/held");
        let others = async { [upstream.request().await, upstream.request().await] };
        tokio::select! {
            _ = held => panic!("it is never answered"),
            others = timeout(SECOND, others) => for response in others.unwrap() {
                assert_eq!(response.version(), Version::HTTP_2);
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_longer_than_its_connection_is_kept() {
        let upstream = Upstream::new().await;
        let kept = &upstream.connections.kept;
        let (sender, _stop) = http2_peer().await;
        drop(kept.share(sender));
        let body = upstream.request().await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
        assert!(kept.take().is_none());
    }

    #[tokio::test]
    async fn what_http2_takes_no_more_is_sent_over_another_connection() {
        let upstream = Upstream::new().await;
        let (sender, stop) = http2_peer().await;
        upstream.connections.kept.share(sender);
        let mut held = spawn(upstream.request_for("/held"));
        assert_pending!(held.poll());
        upstream.request().await;
        stop.send(()).unwrap();
        settle().await;
        assert_pending!(held.poll());
        let serve = async {
            let mut stream = upstream.accept().await;
            let head = read_head(&mut stream).await;
            assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
            stream.write_all(NOTHING.as_bytes()).await.unwrap();
            stream
        };
        let exchange = async { tokio::join!(serve, upstream.request()) };
        let (_stream, response) = within(exchange).await;
        assert_eq!(response.version(), Version::HTTP_11);
    }
}
