//! Fetches the catalog over HTTPS with *ring*. Needs the CA in `SSL_CERT_FILE`.

use std::{io, net::TcpStream, sync::Arc};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tls_support::{CERTIFICATE, KEY};
use tower_model_routing::{BoxError, RoutingConfig};

fn main() -> Result<(), BoxError> {
    // No panic, at any URL.
    for url in ["http://localhost/", "https://localhost/"] {
        let error = RoutingConfig::builder()
            .models_url(url)
            .build()
            .unwrap_err();
        assert_eq!(error.setting(), "models_url");
        assert!(error.to_string().contains("install_default()"), "{error}");
    }

    ring::default_provider()
        .install_default()
        .expect("it is the first one");
    let url = tls_support::serve_http()?;
    tls_support::check(RoutingConfig::builder().models_url(url).build()?)?;
    let url = serve_https()?;
    tls_support::check(RoutingConfig::builder().models_url(url).build()?)
}

fn serve_https() -> Result<String, BoxError> {
    let key = PrivatePkcs8KeyDer::from(KEY);
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key.into())?;
    let config = Arc::new(config);
    let accept = move |stream: TcpStream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    };
    Ok(format!(
        "https://localhost:{}/",
        tls_support::serve(accept)?
    ))
}
