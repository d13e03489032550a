//! Clients and servers of hyper.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, Uri, uri::PathAndQuery};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
    service::Service,
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::{TcpListener, TcpStream};
use tower_model_routing::BoxError;

/// Opens a connection.
pub async fn connect<B>(address: SocketAddr) -> Result<SendRequest<B>, BoxError>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Sends one request on a connection of its own, and collects the response.
pub async fn exchange<B>(
    address: SocketAddr,
    request: Request<B>,
) -> Result<Response<Bytes>, BoxError>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut client = connect(address).await?;
    let (head, body) = client.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// Sends a GET request on a connection of its own, and collects the response.
pub async fn get(address: SocketAddr, target: &str) -> Result<Response<Bytes>, BoxError> {
    let request = Request::get(target).header("host", address.to_string());
    exchange(address, request.body(Full::<Bytes>::default())?).await
}

/// Accepts connections, and serves each in a task.
pub async fn serve<S, B>(
    listener: TcpListener,
    builder: http1::Builder,
    service: S,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service.clone()));
    }
}

/// Returns a plain proxy: it forwards each request with hyper-util's client.
pub fn forward<B>(
    upstream: SocketAddr,
) -> impl Fn(Request<B>) -> legacy::ResponseFuture + Clone + Send
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
    move |mut request| {
        let target = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme("http")
            .authority(upstream.to_string())
            .path_and_query(target.unwrap_or(PathAndQuery::from_static("/")));
        *request.uri_mut() = uri.build().expect("a valid URI");
        client.request(request)
    }
}
