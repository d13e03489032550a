//! The listening side: HTTP/1.1 and HTTP/2 over one port, and a shutdown that
//! lets requests under way finish.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{self, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::sleep,
};
use tokio_io_timeout::TimeoutStream;
use tower::{Service, ServiceExt};

use tower_model_routing::BoxError;

use crate::{gather::Gathered, stop::StopSignals};

/// The largest head of a request in HTTP/1.1.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long to wait after a connection could not be accepted: there may be too
/// many open files, and the next attempt would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Serves until the first signal to stop; then what is under way, until that is
/// done, it has taken too long, or the second signal comes.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    workers: &[(Handle, S)],
    mut stop: StopSignals,
    limits: Limits,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let connections = GracefulShutdown::new();
    let protocol = protocol(limits);
    let mut workers = workers.iter().cycle();
    loop {
        tokio::select! {
            biased;
            () = stop.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let Some((runtime, service)) = workers.next() else { return };
                    let connection = Connection {
                        protocol: protocol.clone(),
                        client,
                        limits,
                        watcher: connections.watcher(),
                    };
                    runtime.spawn(connection.serve(stream.into_std(), service.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    tracing::info!(connections = connections.count(), "draining");
    tokio::select! {
        () = connections.shutdown() => tracing::info!("drained"),
        () = sleep(limits.drain_timeout) => {
            tracing::warn!("gave up on requests that took too long to finish");
        }
        () = stop.recv() => tracing::warn!("told again to stop: at once"),
    }
}

struct Connection {
    protocol: auto::Builder<TokioExecutor>,
    client: SocketAddr,
    limits: Limits,
    watcher: Watcher,
}

impl Connection {
    async fn serve<S, B>(self, stream: io::Result<net::TcpStream>, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Self {
            protocol,
            client,
            limits,
            watcher,
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
        let in_use = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let in_use = Arc::clone(&in_use);
            move |mut request: Request<Incoming>| {
                in_use.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(client);
                service.clone().oneshot(request)
            }
        });
        let connection =
            protocol.serve_connection(TokioIo::new(Gathered::new(Box::pin(stream))), service);
        let mut connection = std::pin::pin!(watcher.watch(connection.into_owned()));
        // hyper's own timeout for heads begins once the protocol is known, for which
        // a first byte must come.
        let mut patience = std::pin::pin!(sleep(limits.header_timeout));
        let ended = poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            if in_use.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            patience.as_mut().poll(cx).map(|()| None)
        })
        .await;
        let Some(ended) = ended else {
            tracing::debug!(%client, "closing a connection on which no request came");
            return;
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
        .max_buf_size(MAX_HEAD_BYTES);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(256);
    protocol
}
