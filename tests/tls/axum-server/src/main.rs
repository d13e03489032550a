//! Serves HTTPS by axum-server, and fetches the catalog from itself. Needs the CA in
//! `SSL_CERT_FILE`.

use std::net::{Ipv4Addr, TcpListener};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use axum_server::tls_rustls::RustlsConfig;
use tls_support::{CATALOG, CERTIFICATE, KEY, REQUEST, ROUTED};
use tower_model_routing::{BoxError, ModelRoutingLayer, RoutingConfig};

fn main() -> Result<(), BoxError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run())
}

async fn run() -> Result<(), BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let server = format!("https://localhost:{}", listener.local_addr()?.port());

    // Panics if a dependency brought a second crypto provider.
    let tls = RustlsConfig::from_der(vec![CERTIFICATE.to_vec()], KEY.to_vec()).await?;
    let config = RoutingConfig::builder().models_url(format!("{server}/active_models.json"));
    let app = Router::new()
        .route("/v1/chat/completions", post(async |body: Body| body))
        .layer(ModelRoutingLayer::new(config.build()?))
        .route("/active_models.json", get(CATALOG));
    tokio::spawn(axum_server::from_tcp_rustls(listener, tls)?.serve(app.into_make_service()));

    let request = reqwest::Client::new().post(format!("{server}/v1/chat/completions"));
    let response = request.body(REQUEST).send().await?;
    assert_eq!(response.text().await?, ROUTED);
    Ok(())
}
