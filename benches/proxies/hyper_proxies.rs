//! Two proxies of hyper's server and hyper-util's client, each a process of this program.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use benches::{
    http::{forward, serve},
    openai::MODELS,
};
use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use serde_json::Value;
use tokio::net::TcpListener;
use tower_model_routing::BoxError;

/// The argument that makes this program the plain proxy. The upstream's address follows.
pub(crate) const PLAIN: &str = "plain-proxy";
/// The same for the naive one.
pub(crate) const NAIVE: &str = "naive-proxy";

/// Runs a proxy that passes everything on.
#[tokio::main]
pub(crate) async fn run_plain(upstream: SocketAddr) -> Result<(), BoxError> {
    let service = service_fn(forward::<Incoming>(upstream));
    serve(listen().await?, http1::Builder::new(), service).await
}

/// Runs a proxy that collects the body, parses it, sets the model, and serializes the result.
#[tokio::main]
pub(crate) async fn run_naive(upstream: SocketAddr) -> Result<(), BoxError> {
    let forward = forward::<Full<Bytes>>(upstream);
    let models = Arc::new(HashMap::from(MODELS));
    let service = service_fn(move |request: Request<Incoming>| {
        let (forward, models) = (forward.clone(), Arc::clone(&models));
        async move {
            let (mut head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let Ok(mut body) = serde_json::from_slice::<Value>(&body) else {
                return reject(StatusCode::BAD_REQUEST);
            };
            let Some(id) = body["model"].as_str().and_then(|name| models.get(name)) else {
                return reject(StatusCode::NOT_FOUND);
            };
            body["model"] = Value::from(*id);
            let body = serde_json::to_vec(&body)?;
            head.headers.remove(TRANSFER_ENCODING);
            head.headers.insert(CONTENT_LENGTH, body.len().into());
            let request = Request::from_parts(head, Full::from(body));
            Ok(forward(request).await?.map(Either::Left))
        }
    });
    serve(listen().await?, http1::Builder::new(), service).await
}

async fn listen() -> Result<TcpListener, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}

fn reject(status: StatusCode) -> Result<Response<Either<Incoming, Empty<Bytes>>>, BoxError> {
    let response = Response::builder().status(status);
    Ok(response.body(Either::Right(Empty::new()))?)
}
