//! Compressed bodies.

use bytes::Bytes;
use http::{Request, Response, header::ACCEPT_ENCODING};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;

/// Compresses a body with this content coding.
pub async fn compress(coding: &str, body: impl Into<Bytes>) -> Bytes {
    let body = body.into();
    let mut service = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .service(service_fn(move |_: Request<()>| {
            let body = Full::new(body.clone());
            async { Ok::<_, BoxError>(Response::new(body)) }
        }));
    let request = Request::builder()
        .header(ACCEPT_ENCODING, coding)
        .body(())
        .unwrap();
    let response = (&mut service).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], coding);
    let compressed = response.into_body().collect().await;
    compressed.unwrap_or_else(|_| panic!("{coding}")).to_bytes()
}
