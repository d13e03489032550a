//! The proxy's own pages: the list of models and the state of its registry.

use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tower_model_routing::{
    Catalog, Endpoint, Registry, RegistryHealth, RegistryStats, RoutingConfig, Unavailable,
};

use crate::{body::Body, reply};

/// How long a health page waits for a list that is being fetched.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Which of the proxy's own pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Page {
    Models,
    Health,
    ModelsHealth,
}

impl Page {
    /// The page at this path; `None`: it is the upstream's.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/models" | "/api/v1/models" => Some(Self::Models),
            "/health" => Some(Self::Health),
            "/health/models" => Some(Self::ModelsHealth),
            _ => None,
        }
    }
}

/// Answers for the pages.
#[derive(Debug)]
pub(crate) struct Pages {
    registry: Registry,
    fallbacks: Fallbacks,
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
    pub(crate) fn new(registry: Registry, fallbacks: Fallbacks) -> Self {
        Self {
            registry,
            fallbacks,
        }
    }

    pub(crate) async fn answer(&self, page: Page, method: &Method) -> Response<Body> {
        // hyper leaves the body of an answer to HEAD out.
        if !matches!(*method, Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        match page {
            Page::Models => match self.registry.catalog().await {
                Ok(catalog) => reply::json(StatusCode::OK, &models(&catalog)),
                Err(unavailable) => registry_unavailable(&unavailable),
            },
            Page::Health => self.health(|stats| self.overview(stats)).await,
            Page::ModelsHealth => self.health(|stats| self.details(stats)).await,
        }
    }

    async fn health(&self, page: impl FnOnce(&RegistryStats) -> Value) -> Response<Body> {
        // As a request does: an instance without traffic refreshes its list,
        // and recovers, by its health checks. The outcome shows in the stats.
        let _ = timeout(MAX_WAIT, self.registry.catalog()).await;
        let stats = self.registry.stats();
        let status = match stats.health() {
            RegistryHealth::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
            RegistryHealth::Healthy | RegistryHealth::Degraded => StatusCode::OK,
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
                "active_models_url": self.registry.location(),
                "default_fallback_model": self.fallbacks.llm,
            },
        })
    }

    fn details(&self, stats: &RegistryStats) -> Value {
        let catalog = self.registry.snapshot();
        let catalog = catalog.as_deref();
        let policy = self.registry.policy();
        json!({
            "status": stats.health().as_str(),
            "service_config": {
                "active_models_url": self.registry.location(),
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

/// The list of models as OpenAI clients expect it.
fn models(catalog: &Catalog) -> Value {
    let data: Vec<_> = catalog
        .named_entries()
        .map(|entry| {
            json!({
                "id": entry.name(),
                "object": "model",
                "created": entry.created_at(),
                "owned_by": entry.owner().unwrap_or("unknown"),
                "blockchainID": entry.id(),
                "tags": entry.tags(),
                "modelType": entry.model_type().as_str(),
            })
        })
        .collect();
    json!({ "object": "list", "data": data })
}

fn registry_unavailable(unavailable: &Unavailable) -> Response<Body> {
    let mut response = reply::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "model_registry_unavailable",
        "The list of active models cannot be fetched at this moment. Try again shortly.",
    );
    // Whole seconds, rounded up: not too early.
    let wait = unavailable.retry_after();
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, seconds.max(1).into());
    response
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
