//! The HTTP client for the upstream: its connector and its connection pool.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::{net::TcpStream, time::timeout};
use tower::{Service, ServiceExt};
use tower_model_routing::BoxError;

use crate::upload::TrackedBody;

/// The limit of a connection's buffers, and of the head of a response. With hyper's
/// default of 408 KiB, a client that does not read costs twice as much memory, and
/// large messages are not faster.
const MAX_BUFFER_BYTES: usize = 128 * 1024;
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// For each worker.
const POOL_MAX_IDLE: usize = 1024;

/// Opens connections to the upstream. Clones are cheap: the client makes two for each request.
#[derive(Clone)]
pub(crate) struct Connector {
    https: Arc<HttpsConnector<HttpConnector>>,
    timeout: Duration,
}

/// An HTTP/1.1 client with a connection pool.
pub(crate) type UpstreamClient = Client<Connector, TrackedBody>;

impl Connector {
    /// Returns a connector. Its timeout covers name resolution, TCP and TLS.
    ///
    /// # Errors
    ///
    /// Returns an error if the upstream is `https` and this system has no CA certificates.
    pub(crate) fn new(upstream: &Uri, timeout: Duration) -> Result<Self, BoxError> {
        let https = Arc::new(https_connector(upstream, timeout)?);
        Ok(Self { https, timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connection = timeout(
            self.timeout,
            HttpsConnector::clone(&self.https).oneshot(uri),
        );
        Box::pin(async { connection.await? })
    }
}

/// Returns a client with a connection pool of its own, for one worker's runtime.
pub(crate) fn client(connector: Connector) -> UpstreamClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_MAX_IDLE)
        .http1_max_buf_size(MAX_BUFFER_BYTES)
        // `Forward` sets it.
        .set_host(false)
        .build(connector)
}

fn https_connector(
    upstream: &Uri,
    timeout: Duration,
) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    // Divided among the addresses of the host.
    tcp.set_connect_timeout(Some(timeout));
    let builder = HttpsConnectorBuilder::new();
    let builder = if upstream.scheme_str() == Some("https") {
        builder
            .with_native_roots()
            .map_err(|error| format!("no CA certificates for the upstream: {error}"))?
    } else {
        // Plain HTTP works without certificates.
        let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
        builder.with_tls_config(config.with_no_client_auth())
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}
