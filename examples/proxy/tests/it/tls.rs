//! TLS to the upstream and the registry, with the CA of `SSL_CERT_FILE`.

// Other platforms ignore the variable.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{CHAT, Setup, TRUSTED, VENICE, models, until_json};
use test_support::{
    client::post,
    registry_server::{RegistryServer, Reply},
};

/// Accepts TLS as `localhost`.
fn tls_acceptor(protocols: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from(&include_bytes!("tls/localhost.crt.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("tls/localhost.key.der")[..]);
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|&it| it.into()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Serves HTTP/1.1 and HTTP/2 over TLS, and echoes the version, the host and the body.
async fn tls_upstream() -> u16 {
    let acceptor = tls_acceptor(&["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = hyper::service::service_fn(|request: Request<Incoming>| async {
                let (head, body) = request.into_parts();
                let host = head.headers["host"].to_str().unwrap().to_owned();
                let body = body.collect().await?.to_bytes();
                let start = format!("{:?} {host} ", head.version);
                let echo = [start.as_bytes(), &body].concat();
                Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(echo))))
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let stream = TokioIo::new(stream);
                server.serve_connection(stream, service).await.unwrap();
            });
        }
    });
    port
}

/// Puts TLS in front of a registry and returns its URL.
async fn https_url(registry: &RegistryServer) -> String {
    let acceptor = tls_acceptor(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let registry = registry.address();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate disconnects here.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut registry = TcpStream::connect(registry).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut registry).await;
            }
        }
    });
    format!("https://localhost:{port}{}", RegistryServer::PATH)
}

/// Starts a proxy that trusts the CA certificates of this file.
async fn trusting(file: &str, registry: &str) -> Setup {
    Setup::with(|proxy| {
        proxy
            .env("ACTIVE_MODELS_URL", registry)
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR");
    })
    .await
}

/// Waits for a failed fetch and returns its error.
async fn last_error(setup: &Setup) -> String {
    let error = |health: &Value| {
        let error = health["model_service"]["cache_info"]["last_error"].as_str();
        error.map(str::to_owned)
    };
    let health = until_json(setup, "/health", |health| error(health).is_some()).await;
    assert_eq!(health["status"], "unhealthy");
    error(&health).unwrap()
}

#[tokio::test]
async fn registries_with_tls_must_be_trusted() {
    let registry = RegistryServer::start(models()).await;
    let url = https_url(&registry).await;
    trusting(TRUSTED, &url).await.warm_up().await;
    assert_eq!(registry.requests().len(), 1);

    let setup = Setup::with(|proxy| {
        proxy.env("ACTIVE_MODELS_URL", &url);
    })
    .await;
    let error = last_error(&setup).await;
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn redirects_of_registries_may_lead_to_https_but_not_back() {
    let plain = RegistryServer::start(models()).await;
    let secure = https_url(&plain).await;
    let upgrade = RegistryServer::start(Reply::redirect(302, secure)).await;
    trusting(TRUSTED, &upgrade.url()).await.warm_up().await;
    assert_eq!(plain.requests().len(), 1);

    let downgrade = RegistryServer::start(Reply::redirect(302, plain.url())).await;
    let setup = trusting(TRUSTED, &https_url(&downgrade).await).await;
    let error = last_error(&setup).await;
    assert!(error.contains("from https to http"), "{error}");
    assert_eq!(plain.requests().len(), 1);
}

#[tokio::test]
async fn only_https_registries_need_ca_certificates() {
    const MISSING: &str = "/does/not/exist.pem";

    let registry = RegistryServer::start(models()).await;
    trusting(MISSING, &registry.url()).await.warm_up().await;

    let secure = https_url(&registry).await;
    let upgrade = RegistryServer::start(Reply::redirect(302, &secure)).await;
    for url in [secure, upgrade.url()] {
        let error = last_error(&trusting(MISSING, &url).await).await;
        assert!(error.contains("needs CA certificates"), "{error}");
    }
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn upstreams_with_tls_must_be_trusted() {
    let url = format!("https://localhost:{}", tls_upstream().await);
    let setup = Setup::with(|proxy| {
        proxy
            .args(["--upstream", &url])
            .env("SSL_CERT_FILE", TRUSTED)
            .env_remove("SSL_CERT_DIR");
    })
    .await;
    let response = post(setup.address(), CHAT, r#"{"model":"venice-uncensored"}"#).await;
    let host = url.trim_start_matches("https://");
    let expected = format!(r#"HTTP/1.1 {host} {{"model":"{VENICE}"}}"#);
    assert_eq!(response.text(), expected);

    let mut setup = Setup::with(|proxy| {
        proxy.args(["--upstream", &url]);
    })
    .await;
    let response = post(setup.address(), CHAT, r#"{"model":"venice-uncensored"}"#).await;
    assert_eq!(response.error(), (502, "upstream_unavailable".to_owned()));
    let message = response.json()["error"]["message"].to_string();
    assert!(message.contains("certificate is not trusted"), "{message}");
    let parts = ["upstream request failed", "UnknownIssuer"];
    setup.proxy.wait_for_log(&parts).await;
}
