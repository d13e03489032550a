//! Encoded bodies.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::{CompressionLevel, compression::CompressionLayer};

/// The content codings that the layer decodes.
pub(crate) const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// Compresses a body of at least 32 bytes by this content coding.
pub(crate) async fn compress(coding: &str, body: impl Into<Bytes>) -> Bytes {
    let body = body.into();
    let service = ServiceBuilder::new()
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .service(service_fn(move |_: Request<()>| {
            let response = Response::new(Full::new(body.clone()));
            async { Ok::<_, Infallible>(response) }
        }));
    let request = Request::get("/").header("accept-encoding", coding);
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], coding);
    response.into_body().collect().await.unwrap().to_bytes()
}
