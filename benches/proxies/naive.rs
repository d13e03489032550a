//! A proxy that routes by the model as anyone would write it first: it collects
//! the body, parses it, replaces the model, and serialises what it has.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tower_model_routing::BoxError;

use super::{
    hyper_proxy::{client, serve, target},
    upstream::MODELS,
};

/// The argument that makes a process this proxy; the upstream comes after it.
pub(crate) const ROLE: &str = "naive-proxy";

#[tokio::main]
pub(crate) async fn run(upstream: SocketAddr) -> Result<(), BoxError> {
    let client = client::<Full<Bytes>>();
    let models = Arc::new(HashMap::from(MODELS));
    serve(move |request: Request<Incoming>| {
        let (client, models) = (client.clone(), Arc::clone(&models));
        async move {
            let uri = target(upstream, &request)?;
            let (mut head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let Ok(mut body) = serde_json::from_slice::<Value>(&body) else {
                return refusal(StatusCode::BAD_REQUEST);
            };
            let Some(id) = body["model"].as_str().and_then(|name| models.get(name)) else {
                return refusal(StatusCode::NOT_FOUND);
            };
            body["model"] = Value::from(*id);
            let body = serde_json::to_vec(&body)?;
            head.uri = uri;
            head.headers.remove(TRANSFER_ENCODING);
            head.headers.insert(CONTENT_LENGTH, body.len().into());
            let request = Request::from_parts(head, Full::from(body));
            Ok(client.request(request).await?.map(Either::Left))
        }
    })
    .await
}

fn refusal(status: StatusCode) -> Result<Response<Either<Incoming, Empty<Bytes>>>, BoxError> {
    let response = Response::builder().status(status);
    Ok(response.body(Either::Right(Empty::new()))?)
}
