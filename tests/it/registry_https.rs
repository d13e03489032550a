//! The HTTP source over TLS, and without any CA certificates.
//!
//! Which certificates the platform trusts is a matter of the environment, so that these tests run
//! themselves again as children with an environment of their own. The certificates in `tls/` are
//! from a CA whose key no longer exists.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tower_model_routing::{Registry, ReqwestSource};

use crate::support::{
    child,
    registry_server::{RegistryServer, Reply},
};

const CATALOG: &str = r#"{"models":[{"Id":"0x1","Name":"one"}]}"#;

/// Whether this is the child. Otherwise runs the child, which trusts only this file.
fn is_child(test: &str, trusted: &str) -> bool {
    let output = child::output_of(&format!("registry_https::{test}"), |command| {
        command
            .env("SSL_CERT_FILE", trusted)
            .env_remove("SSL_CERT_DIR")
            // No way to the machine itself, so that nobody is to take it.
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env_remove("NO_PROXY");
    });
    output.is_none()
}

/// Serves this response over TLS to whoever connects.
pub(crate) fn serve_tls(response: String) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from(&include_bytes!("tls/localhost.crt.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("tls/localhost.key.der")[..]);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket.unwrap());
            let mut head = [0; 4096];
            // A client that does not trust the certificate goes away here.
            if stream.read(&mut head).is_ok_and(|length| length > 0) {
                stream.write_all(response.as_bytes()).unwrap();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        }
    });
    address
}

pub(crate) fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

pub(crate) fn found(location: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    )
}

async fn refresh(url: &str) -> Result<usize, String> {
    let registry = Registry::new(ReqwestSource::new(url).unwrap());
    match registry.refresh().await {
        Ok(_) => Ok(registry.stats().cached_models),
        Err(error) => Err(error.report().to_string()),
    }
}

#[tokio::test]
async fn https_with_a_certificate_that_the_platform_trusts_works() {
    let trusted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
    if !is_child(
        "https_with_a_certificate_that_the_platform_trusts_works",
        trusted,
    ) {
        return;
    }
    let server = serve_tls(ok(CATALOG));
    assert_eq!(refresh(&format!("https://{server}/list")).await, Ok(1));
    let by_name = format!("https://localhost:{}/list", server.port());
    assert_eq!(refresh(&by_name).await, Ok(1));
    let to_https = RegistryServer::start(Reply::redirect(302, by_name)).await;
    assert_eq!(refresh(&to_https.url()).await, Ok(1));

    let plain = RegistryServer::start(Reply::new(200, CATALOG)).await;
    let downgrade = serve_tls(found(&plain.url()));
    let error = refresh(&format!("https://{downgrade}/")).await.unwrap_err();
    assert!(error.contains("from https to http"), "{error}");
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn https_with_a_certificate_that_nobody_trusts_is_a_failure() {
    // Whatever this machine trusts, or nothing at all.
    let server = serve_tls(ok(CATALOG));
    let error = refresh(&format!("https://{server}/")).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn without_ca_certificates_http_works_and_https_says_why_not() {
    let test = "without_ca_certificates_http_works_and_https_says_why_not";
    if !is_child(test, "/does/not/exist.pem") {
        return;
    }
    let plain = RegistryServer::start(Reply::new(200, CATALOG)).await;
    assert_eq!(refresh(&plain.url()).await, Ok(1));

    let secure = format!("https://{}/", serve_tls(ok(CATALOG)));
    plain.reply(Reply::redirect(302, &secure));
    for url in [secure, plain.url()] {
        let error = refresh(&url).await.unwrap_err();
        assert!(error.contains("no CA certificates were found"), "{error}");
    }
}
