//! The HTTP client for the upstream: TLS, timeouts of connections, and pools of them.

use std::{sync::Arc, time::Duration};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::net::TcpStream;
use tower::{ServiceBuilder, util::BoxCloneSyncService};
use tower_model_routing::BoxError;

use crate::upload::Upload;

/// What a connection buffers each way, and the largest response head. A client that
/// does not read costs half as much memory as with hyper's default of 408 KiB, and
/// large messages take no more time.
const MAX_BUFFER_BYTES: usize = 128 * 1024;
/// How long an unused connection stays open.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many unused connections each worker keeps.
const POOL_MAX_IDLE: usize = 1024;

/// Opens connections to the upstream.
pub(crate) type Connector =
    BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// An HTTP/1.1 client with a pool of connections.
pub(crate) type UpstreamClient = Client<Connector, Upload>;

/// Returns a connector whose connections, TLS handshakes included, are made in time.
///
/// # Errors
///
/// Returns an error if the upstream is `https` and this system has no CA certificates.
pub(crate) fn connector(upstream: &Uri, connect_timeout: Duration) -> Result<Connector, BoxError> {
    Ok(BoxCloneSyncService::new(
        ServiceBuilder::new()
            .timeout(connect_timeout)
            .service(https_connector(upstream, connect_timeout)?),
    ))
}

/// Returns a client with a pool of its own, for the runtime of one worker.
pub(crate) fn client(connector: Connector) -> UpstreamClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_MAX_IDLE)
        .http1_max_buf_size(MAX_BUFFER_BYTES)
        // The request has the upstream's already.
        .set_host(false)
        .build(connector)
}

fn https_connector(
    upstream: &Uri,
    connect_timeout: Duration,
) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    // Each of the host's addresses gets its share.
    tcp.set_connect_timeout(Some(connect_timeout));
    let provider = ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if upstream.scheme_str() == Some("https") {
        builder
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("no CA certificates for the upstream: {error}"))?
    } else {
        // Plain HTTP needs no certificates.
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(RootCertStore::empty());
        builder.with_tls_config(config.with_no_client_auth())
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}
