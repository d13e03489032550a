//! WebSockets: the headers of their handshakes, and the tunnels that follow.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::copy_bidirectional,
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
    try_join,
};
use tokio_util::io::{InspectReader, InspectWriter};
use tower_model_routing::BoxError;
use tracing::{Instrument, Span};

use crate::hop_by_hop::tokens;

const PROTOCOL: &str = "websocket";

/// Returns whether a request opens a WebSocket (RFC 6455, 4.1). HTTP/1.0 has no upgrades.
pub(crate) fn is_requested(head: &Parts) -> bool {
    let headers = &head.headers;
    head.method == Method::GET
        && head.version == Version::HTTP_11
        // The upstream could take a body for messages, or the reverse.
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
        && is_upgrade(headers)
}

/// Returns whether the headers are those of a request for a WebSocket, or of its acceptance.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let contains =
        |name, token: &str| tokens(headers, &name).any(|member| member.eq_ignore_ascii_case(token));
    contains(UPGRADE, PROTOCOL) && contains(CONNECTION, "upgrade")
}

/// Sets the hop-by-hop headers of a handshake, in either direction.
pub(crate) fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
}

/// A WebSocket between a client and the upstream, in the extensions of the response that accepts
/// it. It passes bytes, not messages.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
    idle_timeout: Duration,
    /// Of the request.
    span: Span,
    /// Of the request in its trace.
    trace: Span,
    /// Of the request, which is in flight until the tunnel ends.
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Tunnel {
    /// Returns a tunnel that ends once nothing was sent in either direction for `idle_timeout`.
    pub(crate) fn new(
        client: OnUpgrade,
        upstream: OnUpgrade,
        idle_timeout: Duration,
        span: Span,
    ) -> Self {
        Self {
            client,
            upstream,
            idle_timeout,
            span,
            trace: Span::none(),
            permit: None,
        }
    }

    /// Keeps the permit until the tunnel ends.
    pub(crate) fn keep(&mut self, permit: Option<OwnedSemaphorePermit>) {
        self.permit = permit.map(Arc::new);
    }

    /// Lets the request's span in its trace last until the tunnel ends.
    pub(crate) fn set_trace(&mut self, trace: Span) {
        self.trace = trace;
    }

    /// Copies in both directions until both sides, or one of them with an error, have closed.
    pub(crate) async fn run(self) {
        let (span, trace) = (self.span.clone(), self.trace.clone());
        let copy = async {
            match self.copy().await {
                Ok((sent, received)) => tracing::debug!(sent, received, "WebSocket closed"),
                Err(error) => tracing::debug!(error, "WebSocket closed early"),
            }
        };
        copy.instrument(span).instrument(trace).await;
    }

    /// Returns the number of bytes to the upstream and to the client.
    async fn copy(self) -> Result<(u64, u64), BoxError> {
        let (client, upstream) = try_join!(self.client, self.upstream)?;
        let (active, activity) = watch::channel(());
        let touch = |_: &[u8]| {
            active.send_replace(());
        };
        // Every byte passes the client's side.
        let client = InspectReader::new(TokioIo::new(client), touch);
        let mut client = InspectWriter::new(client, touch);
        let mut upstream = TokioIo::new(upstream);
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut upstream) => Ok(copied?),
            () = idle(activity, self.idle_timeout) => {
                Err(format!("nothing was sent for {:?}", self.idle_timeout).into())
            }
        }
    }
}

/// Waits until there was no activity for `limit`.
async fn idle(mut activity: watch::Receiver<()>, limit: Duration) {
    while let Ok(Ok(())) = timeout(limit, activity.changed()).await {}
}
