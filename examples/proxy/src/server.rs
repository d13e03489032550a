//! The listening side: HTTP/1.1 and HTTP/2 over one port, and a shutdown that
//! lets requests under way finish.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{self, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{HeaderValue, Request, Response, Version, header::CONNECTION};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::watch,
    task::yield_now,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tower_model_routing::BoxError;

use crate::{gather::Gathered, headers::Client, stop::StopSignals};

/// The largest head of a request. hyper's buffers for HTTP/1 get no larger either:
/// half of this makes large bodies a tenth more expensive when many come together.
const MAX_HEAD_BYTES: u32 = 256 * 1024;
/// How long to wait after a connection could not be accepted: there may be too
/// many open files, and the next attempt would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may still be idle once the server is to stop. Requests
/// may be on their way, whose clients could not know; each is answered, and told
/// that it is its connection's last.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long clients may keep the server waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For the head of a request, and between two requests.
    pub(crate) header_timeout: Duration,
    /// With a part of an answer.
    pub(crate) write_timeout: Duration,
    /// For the requests under way, once the server is to stop.
    pub(crate) drain_timeout: Duration,
}

/// Serves with `answer`, which is told the client, until the first signal to stop;
/// then what is under way, until that is done, it has taken too long, or the second
/// signal comes.
pub(crate) async fn serve<A, F, B>(
    listener: TcpListener,
    workers: &[(Handle, A)],
    mut stop: StopSignals,
    limits: Limits,
) where
    A: Fn(Request<Incoming>, Client) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (close, _) = watch::channel(());
    let is_stopping = Arc::new(AtomicBool::new(false));
    let protocol = protocol(limits);
    let mut workers = workers.iter().cycle();
    let mut start = |stream, client| {
        let Some((runtime, answer)) = workers.next() else {
            return;
        };
        let connection = Connection {
            protocol: protocol.clone(),
            client,
            limits,
            is_stopping: Arc::clone(&is_stopping),
            close: close.subscribe(),
        };
        runtime.spawn(connection.serve(stream, answer.clone()));
    };
    loop {
        tokio::select! {
            biased;
            () = stop.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => start(stream.into_std(), client),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    is_stopping.store(true, Ordering::Relaxed);
    // To its clients, what waits in the backlog is connected already.
    if let Err(error) = accept_backlog(listener, start) {
        tracing::warn!(%error, "connections that waited could not be accepted");
    }
    tracing::info!(connections = close.receiver_count(), "draining");
    let drained = async {
        let _ = timeout(LAST_CALL, close.closed()).await;
        close.send_replace(());
        close.closed().await;
    };
    tokio::select! {
        () = drained => tracing::info!("drained"),
        () = sleep(limits.drain_timeout) => {
            tracing::warn!("gave up on requests that took too long to finish");
        }
        () = stop.recv() => tracing::warn!("told again to stop: at once"),
    }
}

/// Accepts without waiting, and listens no longer.
fn accept_backlog(
    listener: TcpListener,
    mut start: impl FnMut(io::Result<net::TcpStream>, SocketAddr),
) -> io::Result<()> {
    // tokio's own may not have heard of the last connections yet.
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, client)) => start(stream.set_nonblocking(true).map(|()| stream), client),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(()),
                // That client has gone.
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

struct Connection {
    protocol: auto::Builder<TokioExecutor>,
    client: SocketAddr,
    limits: Limits,
    /// Whether each answer is to be the last one of its connection.
    is_stopping: Arc<AtomicBool>,
    /// Changes when idle connections are to be closed.
    close: watch::Receiver<()>,
}

impl Connection {
    async fn serve<A, F, B>(self, stream: io::Result<net::TcpStream>, answer: A)
    where
        A: Fn(Request<Incoming>, Client) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Self {
            protocol,
            client,
            limits,
            is_stopping,
            mut close,
        } = self;
        // It was accepted elsewhere.
        let stream = match stream.and_then(TcpStream::from_std) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be served");
                return;
            }
        };
        // Small events must not wait for more of them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_timeout));
        let stream = TokioIo::new(Gathered::new(Box::pin(stream)));
        let in_use = AtomicBool::new(false);
        let sender = Client::new(client.ip());
        let service = service_fn(|request: Request<Incoming>| {
            in_use.store(true, Ordering::Relaxed);
            // HTTP/2 has a frame for what this header says.
            let has_header = request.version() < Version::HTTP_2;
            let answer = answer(request, sender.clone());
            let is_stopping = Arc::clone(&is_stopping);
            async move {
                let mut response = answer.await;
                if has_header && is_stopping.load(Ordering::Relaxed) {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        // hyper's own timeout for heads begins once the protocol is known, for which
        // a first byte must come.
        let mut patience = pin!(sleep(limits.header_timeout));
        let silent = poll_fn(|cx| match in_use.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => patience.as_mut().poll(cx),
        });
        let mut connection = pin!(protocol.serve_connection(stream, service));
        let closing = async {
            let _ = close.changed().await;
            // A new connection learns only now that something has come.
            yield_now().await;
        };
        let ended = tokio::select! {
            // What has come is read before the connection is closed.
            biased;
            ended = connection.as_mut() => ended,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = silent => {
                tracing::debug!(%client, "closing a connection on which no request came");
                return;
            }
        };
        if let Err(error) = ended {
            // The client went away, or does not speak HTTP.
            tracing::debug!(%client, error, "a connection failed");
        }
    }
}

fn protocol(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES as usize);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_concurrent_streams(256);
    protocol
}
