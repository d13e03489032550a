//! One registry for several layers, and catalogs that are handed over or fixed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, routing::post};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_model_routing::{
    Endpoint, ModelRoutingLayer, RoutedBody, RoutedModel, RoutingConfig, UnknownModel,
    registry::{Catalog, ModelEntry, Refreshed, Registry, RegistryHealth},
};

use crate::support::{
    gateway::{CHAT, registry},
    source::{Outcome, ScriptedSource},
};

fn layer(registry: &Registry, policy: UnknownModel) -> ModelRoutingLayer {
    let config = RoutingConfig::builder()
        .registry(registry.clone())
        .fallback(Endpoint::Llm, "mistral-31-24b")
        .unknown_model(policy);
    ModelRoutingLayer::new(config.build().unwrap())
}

async fn send(app: &Router, path: &str, model: &str) -> StatusCode {
    let body = Body::from(format!(r#"{{"model":"{model}"}}"#));
    let request = Request::post(path).body(body).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn routes_with_one_registry_share_each_fetch_and_differ_in_policy() {
    let source = ScriptedSource::with_models();
    let registry = registry(source.clone());
    let route = |policy| post(async |body: Body| body).layer(layer(&registry, policy));
    let app = Router::new()
        .route("/strict/chat/completions", route(UnknownModel::Reject))
        .route("/lenient/chat/completions", route(UnknownModel::Fallback));
    let ttl = registry.policy().ttl;
    for fetches in 1..=3 {
        for path in ["/strict/chat/completions", "/lenient/chat/completions"] {
            assert_eq!(send(&app, path, "venice-uncensored").await, StatusCode::OK);
        }
        let strict = send(&app, "/strict/chat/completions", "unknown").await;
        assert_eq!(strict, StatusCode::NOT_FOUND);
        let lenient = send(&app, "/lenient/chat/completions", "unknown").await;
        assert_eq!(lenient, StatusCode::OK);
        assert_eq!(source.fetches(), fetches);
        advance(ttl).await;
    }
}

#[tokio::test(start_paused = true)]
async fn warm_catalog_is_handed_over() {
    let warm = registry(ScriptedSource::with_models());
    warm.refresh().await.unwrap();
    let catalog = warm.snapshot().unwrap();

    let other = Registry::builder(ScriptedSource::new(Outcome::Pending))
        .initial_catalog(Arc::clone(&catalog))
        .build()
        .unwrap();
    let handed = other.catalog().now_or_never().unwrap().unwrap();
    assert!(Arc::ptr_eq(&handed, &catalog));
}

fn fixed() -> ModelRoutingLayer {
    let entry = ModelEntry::new("venice-uncensored", "0xb603");
    let catalog = Catalog::from_entries([entry]).unwrap();
    let config = RoutingConfig::builder()
        .fixed_catalog(catalog)
        .unknown_model(UnknownModel::Reject);
    ModelRoutingLayer::new(config.build().unwrap())
}

/// Sends a request to a layer around a service that returns the ID of the routed model.
async fn routed_id(layer: &ModelRoutingLayer, model: &str) -> Result<String, StatusCode> {
    let service = layer.layer(service_fn(
        async |request: Request<RoutedBody<Full<Bytes>>>| {
            let model = request.extensions().get::<RoutedModel>();
            let id = model.map_or_else(String::new, |model| model.id().to_owned());
            Ok::<_, Infallible>(Response::new(id))
        },
    ));
    let body = Full::from(format!(r#"{{"model":"{model}"}}"#));
    let request = Request::post(CHAT).body(body).unwrap();
    let response = service.oneshot(request).await.unwrap();
    match response.status() {
        StatusCode::OK => {
            let body = http_body_util::BodyExt::collect(response.into_body()).await;
            Ok(String::from_utf8_lossy(&body.unwrap().to_bytes()).into_owned())
        }
        status => Err(status),
    }
}

#[test]
fn fixed_catalog_needs_no_runtime() {
    let layer = fixed();
    let send = |model| routed_id(&layer, model).now_or_never().unwrap();
    assert_eq!(send("venice-uncensored"), Ok("0xb603".to_owned()));
    assert_eq!(send("unknown"), Err(StatusCode::NOT_FOUND));
    let refreshed = layer.registry().refresh().now_or_never().unwrap();
    assert_eq!(refreshed.unwrap(), Refreshed::Unchanged);
    assert_eq!(layer.registry().stats().fetches, 0);
}

#[tokio::test(start_paused = true)]
async fn fixed_catalog_is_never_stale() {
    let layer = fixed();
    for _ in 0..3 {
        advance(Duration::from_secs(400 * 24 * 60 * 60)).await;
        let known = routed_id(&layer, "venice-uncensored").now_or_never();
        assert_eq!(known.unwrap(), Ok("0xb603".to_owned()));
        let unknown = routed_id(&layer, "unknown").now_or_never();
        assert_eq!(unknown.unwrap(), Err(StatusCode::NOT_FOUND));
        let stats = layer.registry().stats();
        assert_eq!(stats.health(), RegistryHealth::Healthy);
        assert_eq!(stats.fetches, 0);
    }
}
