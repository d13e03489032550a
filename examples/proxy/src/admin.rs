//! The admin routes: models, health and metrics.

use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tower::ServiceExt;
use tower_model_routing::{
    Endpoint, ModelListService, ModelRoutingLayer, RoutingConfig,
    registry::{Catalog, Registry, RegistryHealth, RegistryStats},
};

use crate::{body::Body, cache_stats, log::DroppedLines, response, tasks::TaskGauge};

/// How long a health response waits for a catalog that is being fetched.
const MAX_CATALOG_WAIT: Duration = Duration::from_secs(2);

/// One of the proxy's own routes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// All models, or one of them.
    Models,
    Health,
    /// The status of [`Route::Health`] only.
    Status,
    ModelsHealth,
    Metrics,
}

impl Route {
    /// Returns the route of this request, or `None` for requests to the upstream.
    pub(crate) fn new(method: &Method, path: &str) -> Option<Self> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
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

    /// Returns this route as it is beside an admin listener, or `None` if it is only there.
    pub(crate) fn public(self) -> Option<Self> {
        match self {
            Self::Models => Some(Self::Models),
            Self::Health | Self::Status => Some(Self::Status),
            Self::ModelsHealth | Self::Metrics => None,
        }
    }
}

/// The names that `/health/models` lists at most.
const MAX_LISTED_NAMES: usize = 1000;

/// Handles the admin routes.
#[derive(Debug)]
pub(crate) struct AdminRoutes {
    layer: ModelRoutingLayer,
    models: ModelListService,
    fallbacks: Fallbacks,
    metrics: PrometheusHandle,
    tasks: TaskGauge,
    dropped_lines: DroppedLines,
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
    pub(crate) fn new(config: &RoutingConfig) -> Self {
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

impl AdminRoutes {
    pub(crate) fn new(
        layer: ModelRoutingLayer,
        fallbacks: Fallbacks,
        metrics: PrometheusHandle,
        tasks: TaskGauge,
        dropped_lines: DroppedLines,
    ) -> Self {
        Self {
            models: layer.model_list(),
            layer,
            fallbacks,
            metrics,
            tasks,
            dropped_lines,
        }
    }

    /// Handles a request to the admin listener.
    pub(crate) async fn handle_all(&self, request: Request<Incoming>) -> Response<Body> {
        match Route::new(request.method(), request.uri().path()) {
            Some(route) => self.handle(route, request).await,
            None => response::error(
                request.uri().path(),
                StatusCode::NOT_FOUND,
                "not_found",
                "This is the admin listener of the gateway, which has no such page.",
            ),
        }
    }

    pub(crate) async fn handle(&self, route: Route, request: Request<Incoming>) -> Response<Body> {
        match route {
            Route::Models => {
                let Ok(response) = self.models.clone().oneshot(request).await;
                response.map(response::boxed)
            }
            // hyper omits the body of a response to HEAD.
            Route::ModelsHealth => self.health(|stats| self.details(stats)).await,
            Route::Metrics => self.metrics(),
            Route::Health => self.health(|stats| self.overview(stats)).await,
            Route::Status => self.health(status).await,
        }
    }

    fn registry(&self) -> &Registry {
        self.layer.registry()
    }

    fn metrics(&self) -> Response<Body> {
        self.layer.record_gauges();
        self.tasks.record();
        self.dropped_lines.record();
        let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        let mut response = Response::new(response::boxed(Full::from(self.metrics.render())));
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    }

    async fn health(&self, content: impl FnOnce(&RegistryStats) -> Value) -> Response<Body> {
        // Health checks refresh the catalog like requests, so that an instance without
        // traffic recovers. The outcome shows in the stats.
        let _ = timeout(MAX_CATALOG_WAIT, self.registry().catalog()).await;
        let stats = self.registry().stats();
        let status = match stats.health() {
            RegistryHealth::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let mut response = response::json(status, &content(&stats));
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
                "model_count": stats.models,
                "cache_info": cache_stats::json(stats),
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
            "cache_stats": cache_stats::json(stats),
            "model_counts": {
                "total_models": catalog.map_or(0, Catalog::len),
                "active_mappings": catalog.map_or(0, Catalog::name_count),
                "blockchain_ids": catalog.map_or(0, Catalog::id_count),
            },
            "available_models": catalog.map_or_else(Vec::new, names),
            "test_results": self.test_results(catalog),
        })
    }

    /// Resolves a few well-known names.
    fn test_results(&self, catalog: Option<&Catalog>) -> Map<String, Value> {
        let names = ["venice-uncensored"]
            .into_iter()
            .chain(self.fallbacks.names());
        names
            .map(|name| {
                let found = catalog.and_then(|catalog| catalog.find(name));
                let result = match found {
                    Some(found) => {
                        json!({ "status": "resolved", "blockchain_id": found.entry.id() })
                    }
                    None => json!({ "status": "not_found", "blockchain_id": null }),
                };
                (name.to_owned(), result)
            })
            .collect()
    }
}

fn status(stats: &RegistryStats) -> Value {
    json!({ "status": stats.health().as_str() })
}

fn names(catalog: &Catalog) -> Vec<&str> {
    let entries = catalog.named_entries().take(MAX_LISTED_NAMES);
    entries.map(|entry| entry.name()).collect()
}
