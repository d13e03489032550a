//! A registry on a real socket, and a request through the layer.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{BoxError, ModelRoutingLayer, RoutedBody, RoutingConfig};

/// The document of the registry.
pub const CATALOG: &str = r#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#;
/// A request, and what the upstream gets.
pub const REQUEST: &str = r#"{"model":"venice-uncensored"}"#;
pub const ROUTED: &str = r#"{"model":"0xb603"}"#;

/// The certificate and the key of `localhost`, by the CA of `.ci/tls`.
pub const CERTIFICATE: &[u8] = include_bytes!("../../../it/tls/localhost.crt.der");
pub const KEY: &[u8] = include_bytes!("../../../it/tls/localhost.key.der");

/// Serves the catalog over HTTP, and returns its URL.
pub fn serve_http() -> io::Result<String> {
    let port = serve(Ok)?;
    Ok(format!("http://localhost:{port}/"))
}

/// Serves the catalog over what `accept` makes of a connection, and returns the port.
pub fn serve<S: Read + Write>(
    accept: impl Fn(TcpStream) -> io::Result<S> + Send + 'static,
) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may disconnect at any time.
            let _ = stream.and_then(&accept).and_then(respond);
        }
    });
    Ok(port)
}

fn respond(mut stream: impl Read + Write) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let len = CATALOG.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{CATALOG}"
    )?;
    stream.flush()
}

/// Fetches the catalog and sends a request through a layer.
pub fn check(config: RoutingConfig) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let layer = ModelRoutingLayer::new(config);
        layer
            .registry()
            .refresh()
            .await
            .map_err(|error| error.report().to_string())?;
        let upstream = service_fn(async |request: Request<RoutedBody<String>>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        let request = Request::post("/v1/chat/completions").body(REQUEST.to_owned())?;
        let response = layer.layer(upstream).oneshot(request).await?;
        assert_eq!(response.into_body().collect().await?.to_bytes(), ROUTED);
        Ok(())
    })
}
