//! What the plain and the naive proxy share: hyper's server in front, hyper-util's
//! client behind.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::PathAndQuery};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;
use tower_model_routing::BoxError;

pub(crate) fn client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Where a request goes on to.
pub(crate) fn target<B>(upstream: SocketAddr, request: &Request<B>) -> http::Result<Uri> {
    let target = request.uri().path_and_query().cloned();
    Uri::builder()
        .scheme("http")
        .authority(upstream.to_string())
        .path_and_query(target.unwrap_or(PathAndQuery::from_static("/")))
        .build()
}

/// Says on stdout where it listens, and serves all connections.
pub(crate) async fn serve<F, B>(
    service: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> Result<(), BoxError>
where
    F: Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
