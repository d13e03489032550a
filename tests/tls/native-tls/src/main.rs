//! Fetches the catalog over HTTPS with a client that uses native TLS. Needs the CA in
//! `SSL_CERT_FILE`.

use std::{io, net::TcpStream};

use openssl::{
    pkey::PKey,
    ssl::{SslAcceptor, SslMethod},
    x509::X509,
};
use reqwest::Client;
use tls_support::{CERTIFICATE, KEY};
use tower_model_routing::{BoxError, RoutingConfig, registry::ReqwestSource};

fn main() -> Result<(), BoxError> {
    let url = serve_https()?;
    let client = Client::builder().tls_backend_native().build()?;
    let source = ReqwestSource::with_client(&url, client)?;
    tls_support::check(RoutingConfig::builder().source(source).build()?)
}

fn serve_https() -> Result<String, BoxError> {
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server())?;
    acceptor.set_certificate(&*X509::from_der(CERTIFICATE)?)?;
    acceptor.set_private_key(&*PKey::private_key_from_der(KEY)?)?;
    let acceptor = acceptor.build();
    let accept = move |stream: TcpStream| acceptor.accept(stream).map_err(io::Error::other);
    Ok(format!(
        "https://localhost:{}/",
        tls_support::serve(accept)?
    ))
}
