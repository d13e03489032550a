//! The server: HTTP/1.1 and HTTP/2 on one port, and its graceful shutdown.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{self, SocketAddr},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::yield_now,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tower_model_routing::BoxError;

use crate::{
    coalesce::CoalescingWriter,
    half_close::HalfCloseStream,
    head_errors::HeadErrorStream,
    headers::ClientIp,
    stream_timeout::{StreamBody, StreamExecutor},
    websocket::Tunnel,
};

/// The largest request head of HTTP/1, and the limit of hyper's buffers.
const MAX_HTTP1_HEAD_BYTES: usize = 128 * 1024;
/// The largest request head of HTTP/2, of which a connection may have many.
const MAX_HTTP2_HEAD_BYTES: u32 = 64 * 1024;
/// The pause after a failed accept: there may be too many open files, and the next
/// attempt would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long idle connections stay open during shutdown. Their clients may have sent
/// requests already, which still get responses.
const IDLE_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Limits of clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Further connections wait in the backlog.
    pub(crate) max_connections: usize,
    /// For the head of a request, and between two requests.
    pub(crate) header_timeout: Duration,
    /// For a write to make progress.
    pub(crate) write_timeout: Duration,
    /// For in-flight requests during shutdown.
    pub(crate) drain_timeout: Duration,
}

/// Serves connections on the workers, round-robin, until `shutdown` ends. Then drains the
/// in-flight requests, until the timeout or until `shutdown` ends again.
pub(crate) async fn serve<H, F, B>(
    listener: TcpListener,
    workers: &[(Handle, H)],
    mut shutdown: impl AsyncFnMut(),
    limits: Limits,
) where
    H: Fn(Request<Incoming>, ClientIp) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (close, _) = watch::channel(());
    let is_draining = Arc::new(AtomicBool::new(false));
    let protocol = protocol(limits);
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let mut workers = workers.iter().cycle();
    let mut start = |stream, client, permit| {
        let Some((runtime, handler)) = workers.next() else {
            return;
        };
        let connection = Connection {
            protocol: protocol.clone(),
            client,
            limits,
            is_draining: Arc::clone(&is_draining),
            close: close.subscribe(),
            _permit: permit,
        };
        runtime.spawn(connection.serve(stream, handler.clone()));
    };
    loop {
        let accept = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit.ok(), listener.accept().await)
        };
        tokio::select! {
            biased;
            () = shutdown() => break,
            (permit, accepted) = accept => match accepted {
                Ok((stream, client)) => start(stream.into_std(), client, permit),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    is_draining.store(true, Ordering::Relaxed);
    // Clients see connections in the backlog as established, even past the limit.
    if let Err(error) = accept_backlog(listener, |stream, client| start(stream, client, None)) {
        tracing::warn!(%error, "failed to accept the connections in the backlog");
    }
    tracing::info!(connections = close.receiver_count(), "draining");
    let drained = async {
        let _ = timeout(IDLE_GRACE_PERIOD, close.closed()).await;
        close.send_replace(());
        close.closed().await;
    };
    tokio::select! {
        () = drained => tracing::info!("drained"),
        () = sleep(limits.drain_timeout) => {
            tracing::warn!("drain timeout: aborting the requests in flight");
        }
        () = shutdown() => {
            tracing::warn!("second signal: aborting the requests in flight");
        }
    }
}

/// Accepts the connections in the backlog, without waiting, and closes the listener.
fn accept_backlog(
    listener: TcpListener,
    mut start: impl FnMut(io::Result<net::TcpStream>, SocketAddr),
) -> io::Result<()> {
    // tokio's listener may not have been notified of the last connections.
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, client)) => start(stream.set_nonblocking(true).map(|()| stream), client),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(()),
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

/// A client's connection on its worker.
struct Connection {
    protocol: auto::Builder<StreamExecutor>,
    client: SocketAddr,
    limits: Limits,
    /// Whether every response closes its connection.
    is_draining: Arc<AtomicBool>,
    /// Changes when idle connections are to be closed.
    close: watch::Receiver<()>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    async fn serve<H, F, B>(self, stream: io::Result<net::TcpStream>, handler: H)
    where
        H: Fn(Request<Incoming>, ClientIp) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let Self {
            protocol,
            client,
            limits,
            is_draining,
            mut close,
            _permit,
        } = self;
        // Registers the socket with this worker's runtime.
        let stream = match stream.and_then(TcpStream::from_std) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to serve a connection");
                return;
            }
        };
        // Small events must not wait for more data.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_timeout));
        let in_flight = Arc::new(());
        let stream = HalfCloseStream::new(Box::pin(stream), &in_flight);
        let stream = HeadErrorStream::new(CoalescingWriter::new(stream), &in_flight);
        let stream = TokioIo::new(stream);
        let has_request = AtomicBool::new(false);
        let tunnel = Arc::new(OnceLock::new());
        let client_ip = ClientIp::new(client.ip());
        let service = service_fn(|request: Request<Incoming>| {
            has_request.store(true, Ordering::Relaxed);
            // HTTP/2 has GOAWAY instead.
            let is_http1 = request.version() < Version::HTTP_2;
            let response = handler(request, client_ip.clone());
            let is_draining = Arc::clone(&is_draining);
            // An HTTP/2 client that closes its side has disconnected.
            let in_flight = is_http1.then(|| Arc::clone(&in_flight));
            let tunnel = Arc::clone(&tunnel);
            async move {
                let mut response = response.await;
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    if let Some(accepted) = response.extensions_mut().remove::<Tunnel>() {
                        // A connection has one at most.
                        let _ = tunnel.set(accepted);
                    }
                } else if is_http1 && is_draining.load(Ordering::Relaxed) {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                // Until the end of the body.
                let hold = move |error| {
                    let _ = &in_flight;
                    error
                };
                Ok::<_, Infallible>(response.map(|body| StreamBody::new(body.map_err(hold))))
            }
        });
        // hyper's own header timeout starts once the first bytes have told the protocol.
        let mut first_request = pin!(sleep(limits.header_timeout));
        let first_request_timeout = poll_fn(|cx| match has_request.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => first_request.as_mut().poll(cx),
        });
        let closing = async {
            let _ = close.changed().await;
            // A new connection is notified of its first bytes only now.
            yield_now().await;
        };
        // Dropped before the tunnel runs, which would wait for it if the handshake failed.
        let result = {
            let mut connection = pin!(protocol.serve_connection_with_upgrades(stream, service));
            tokio::select! {
                // Reads the received bytes before it closes the connection.
                biased;
                result = connection.as_mut() => result,
                () = closing => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = first_request_timeout => {
                    tracing::debug!(%client, "closing a connection without a request");
                    return;
                }
            }
        };
        if let Err(error) = result {
            // The client disconnected, or does not speak HTTP.
            tracing::debug!(%client, error, "connection error");
            return;
        }
        // It belongs to the connection, and so delays the shutdown like a request.
        if let Some(tunnel) = tunnel.get().cloned() {
            // Boxed, because few connections have one.
            Box::pin(tunnel.run()).await;
        }
    }
}

fn protocol(limits: Limits) -> auto::Builder<StreamExecutor> {
    let mut protocol = auto::Builder::new(StreamExecutor {
        write_timeout: limits.write_timeout,
    });
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HTTP1_HEAD_BYTES);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_header_list_size(MAX_HTTP2_HEAD_BYTES)
        .max_concurrent_streams(256);
    protocol
}
