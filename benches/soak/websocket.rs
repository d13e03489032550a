//! WebSockets: a client that sends messages, and an upstream that echoes them.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message, client::IntoClientRequest, handshake::derive_accept_key, protocol::Role,
    },
};
use tower_model_routing::BoxError;

use crate::{
    plan::{NONCE, Plan, filler},
    upstream::{Body, Counted},
};

/// Opens a WebSocket, sends messages, and closes it. Returns the headers of the response, and
/// whether every message came back.
pub(crate) async fn talk(
    proxy: SocketAddr,
    plan: &Plan,
    messages: usize,
) -> Result<(HeaderMap, bool), BoxError> {
    let mut request = format!("ws://{proxy}{}", plan.path).into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(NONCE, plan.nonce.into());
    headers.insert("x-request-id", plan.request_id().parse()?);
    for (name, value) in &plan.headers {
        headers.insert(*name, value.parse()?);
    }
    let stream = TcpStream::connect(proxy).await?;
    // It checks `Sec-WebSocket-Accept`.
    let (mut socket, response) = client_async(request, stream).await?;
    let mut are_echoed = true;
    for index in 0..messages {
        let text = format!("{} {index} {}", plan.nonce, filler(index * 10_000));
        let message = match index % 2 {
            0 => Message::text(text),
            _ => Message::binary(text.into_bytes()),
        };
        socket.send(message.clone()).await?;
        are_echoed &= socket.next().await.transpose()? == Some(message);
    }
    socket.close(None).await?;
    // The response to the close frame, and the end.
    while let Some(message) = socket.next().await {
        are_echoed &= message?.is_close();
    }
    Ok((response.into_parts().0.headers, are_echoed))
}

/// Accepts a WebSocket, and echoes messages in a task. Returns `None` if it is none.
pub(crate) fn accept(request: Request<Incoming>, counted: Counted) -> Option<Response<Body>> {
    let key = request.headers().get("sec-websocket-key")?;
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        let _counted = counted;
        let Ok(upgraded) = upgrade::on(request).await else {
            return;
        };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            let is_data = message.is_text() || message.is_binary();
            if is_data && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let body = Empty::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept.parse().ok()?);
    Some(response)
}
