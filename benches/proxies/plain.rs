//! A proxy as anyone would write it first: hyper's server, hyper-util's client,
//! and nothing between them.

use std::net::SocketAddr;

use http::{Request, Uri, uri::PathAndQuery};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;
use tower_model_routing::BoxError;

/// The argument that makes a process this proxy; the upstream comes after it.
pub(crate) const ROLE: &str = "plain-proxy";

#[tokio::main]
pub(crate) async fn run(upstream: SocketAddr) -> Result<(), BoxError> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let target = request.uri().path_and_query().cloned();
            let uri = Uri::builder()
                .scheme("http")
                .authority(upstream.to_string())
                .path_and_query(target.unwrap_or(PathAndQuery::from_static("/")));
            let client = client.clone();
            async move {
                *request.uri_mut() = uri.build()?;
                Ok::<_, BoxError>(client.request(request).await?)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
