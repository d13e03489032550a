//! The client in front of the proxies.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_model_routing::BoxError;

use super::{
    scenario::Play,
    sdk::sdk_request,
    upstream::{Upstream, events},
};

/// A connection to a proxy.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, BoxError> {
        Ok(Self(connect(address).await?))
    }

    /// Asks, and reads the answer to its end; its headers.
    pub(crate) async fn ask(
        &mut self,
        upstream: &Upstream,
        play: &Play,
    ) -> Result<HeaderMap, BoxError> {
        self.0.ready().await?;
        let request = sdk_request(play.request.clone())?;
        let response = self.0.send_request(request).await?;
        if !response.status().is_success() {
            return Err(format!("{response:?}").into());
        }
        let (head, mut body) = response.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            length += data.len();
            if play.one_by_one {
                upstream.received(events(data));
            }
        }
        if length == 0 {
            return Err("an empty answer".into());
        }
        Ok(head.headers)
    }
}

/// Sends one request on a connection of its own; the whole answer.
pub(crate) async fn exchange<B>(
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

async fn connect<B>(address: SocketAddr) -> Result<SendRequest<B>, BoxError>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(client)
}
