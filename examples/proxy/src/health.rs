//! The proxy's own pages: the list of models, the state of its registry, and
//! its metrics.

use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tower::ServiceExt;
use tower_model_routing::{
    Catalog, Endpoint, ModelListService, ModelRoutingLayer, Registry, RegistryHealth,
    RegistryStats, RoutingConfig,
};

use crate::{body::Body, reply, tasks::Tasks};

/// How long a health page waits for a list that is being fetched.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Which of the proxy's own pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Page {
    /// The list of models, or one of them.
    Models,
    Health,
    ModelsHealth,
    Metrics,
}

impl Page {
    /// The page at this path; `None`: it is the upstream's.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/models" | "/api/v1/models" => Some(Self::Models),
            "/metrics" => Some(Self::Metrics),
            _ if path.starts_with("/v1/models/") || path.starts_with("/api/v1/models/") => {
                Some(Self::Models)
            }
            "/health" => Some(Self::Health),
            "/health/models" => Some(Self::ModelsHealth),
            _ => None,
        }
    }
}

/// Answers for the pages.
#[derive(Debug)]
pub(crate) struct Pages {
    layer: ModelRoutingLayer,
    models: ModelListService,
    fallbacks: Fallbacks,
    metrics: PrometheusHandle,
    tasks: Tasks,
}

/// The configured fallback models.
#[derive(Debug)]
pub(crate) struct Fallbacks {
    llm: Option<String>,
    embeddings: Option<String>,
    tts: Option<String>,
    stt: Option<String>,
}

impl Fallbacks {
    pub(crate) fn of(config: &RoutingConfig) -> Self {
        let name = |endpoint| config.fallback(endpoint).map(str::to_owned);
        Self {
            llm: name(Endpoint::Llm),
            embeddings: name(Endpoint::Embedding),
            tts: name(Endpoint::Tts),
            stt: name(Endpoint::Stt),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.llm, &self.embeddings, &self.tts, &self.stt]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

impl Pages {
    pub(crate) fn new(
        layer: ModelRoutingLayer,
        fallbacks: Fallbacks,
        metrics: PrometheusHandle,
        tasks: Tasks,
    ) -> Self {
        Self {
            models: ModelListService::new(layer.registry().clone()),
            layer,
            fallbacks,
            metrics,
            tasks,
        }
    }

    pub(crate) async fn answer(&self, page: Page, request: Request<Incoming>) -> Response<Body> {
        if page == Page::Models {
            let Ok(response) = self.models.clone().oneshot(request).await;
            return response.map(reply::whole);
        }
        // hyper leaves the body of an answer to HEAD out.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        match page {
            Page::ModelsHealth => self.health(|stats| self.details(stats)).await,
            Page::Metrics => self.metrics(),
            Page::Health | Page::Models => self.health(|stats| self.overview(stats)).await,
        }
    }

    fn registry(&self) -> &Registry {
        self.layer.registry()
    }

    fn metrics(&self) -> Response<Body> {
        self.layer.record_gauges();
        self.tasks.record_gauge();
        let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        let mut response = Response::new(reply::whole(Full::from(self.metrics.render())));
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    }

    async fn health(&self, page: impl FnOnce(&RegistryStats) -> Value) -> Response<Body> {
        // As a request does: an instance without traffic refreshes its list,
        // and recovers, by its health checks. The outcome shows in the stats.
        let _ = timeout(MAX_WAIT, self.registry().catalog()).await;
        let stats = self.registry().stats();
        let status = match stats.health() {
            RegistryHealth::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let mut response = reply::json(status, &page(&stats));
        let no_store = HeaderValue::from_static("no-store");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_store);
        response
    }

    fn overview(&self, stats: &RegistryStats) -> Value {
        let status = stats.health().as_str();
        json!({
            "status": status,
            "model_service": {
                "status": status,
                "model_count": stats.cached_models,
                "cache_info": stats,
                "active_models_url": self.registry().location(),
                "default_fallback_model": self.fallbacks.llm,
            },
        })
    }

    fn details(&self, stats: &RegistryStats) -> Value {
        let catalog = self.registry().snapshot();
        let catalog = catalog.as_deref();
        let policy = self.registry().policy();
        json!({
            "status": stats.health().as_str(),
            "service_config": {
                "active_models_url": self.registry().location(),
                "default_fallback_model": self.fallbacks.llm,
                "default_fallback_embeddings_model": self.fallbacks.embeddings,
                "default_fallback_tts_model": self.fallbacks.tts,
                "default_fallback_stt_model": self.fallbacks.stt,
                "cache_duration_seconds": policy.ttl.as_secs_f64(),
                "fetch_timeout_seconds": policy.fetch_timeout.as_secs_f64(),
                "miss_refresh_seconds": policy.miss_refresh.as_secs_f64(),
            },
            "cache_stats": stats,
            "model_counts": {
                "total_models": catalog.map_or(0, Catalog::len),
                "active_mappings": catalog.map_or(0, Catalog::name_count),
                "blockchain_ids": catalog.map_or(0, Catalog::id_count),
            },
            "available_models": catalog.map_or_else(Vec::new, names),
            "test_results": self.test_results(catalog),
        })
    }

    /// Whether a few well-known names lead to a model.
    fn test_results(&self, catalog: Option<&Catalog>) -> Map<String, Value> {
        let names = ["venice-uncensored"]
            .into_iter()
            .chain(self.fallbacks.names());
        names
            .map(|name| {
                let found = catalog.and_then(|catalog| catalog.find(name));
                let result = match found {
                    Some((entry, _)) => {
                        json!({ "status": "resolved", "blockchain_id": entry.id() })
                    }
                    None => json!({ "status": "not_found", "blockchain_id": null }),
                };
                (name.to_owned(), result)
            })
            .collect()
    }
}

fn names(catalog: &Catalog) -> Vec<&str> {
    catalog.named_entries().map(|entry| entry.name()).collect()
}

fn method_not_allowed() -> Response<Body> {
    let mut response = reply::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This page is the gateway's own and can only be read. Use GET.",
    );
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
