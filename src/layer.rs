//! The layer: the settings, the registry and the limits that its services share.

use std::sync::Arc;

use tower_layer::Layer;

use crate::{
    config::RoutingConfig, models::ModelListService, registry::Registry, request::BufferBudget,
    service::ModelRouting, shared::Shared,
};

/// A layer that applies [`ModelRouting`] to services.
///
/// Clones, and all services that they make, share one registry and one limit on held bytes.
///
/// # Examples
///
/// Any Tower service over HTTP can be wrapped:
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_model_routing::{
///     BoxError, ModelRoutingLayer, RoutedBody, RoutingConfig, registry::Catalog,
/// };
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), BoxError> {
/// let catalog = Catalog::parse(br#"{"models":[{"Name":"venice-uncensored","Id":"0xb603"}]}"#)?;
/// // Usually `RoutingConfig::from_env()?`.
/// let config = RoutingConfig::builder().fixed_catalog(catalog).build()?;
/// let mut service = ServiceBuilder::new()
///     .layer(ModelRoutingLayer::new(config))
///     .service_fn(|request: Request<RoutedBody<Full<Bytes>>>| async {
///         let body = request.into_body().collect().await?.to_bytes();
///         Ok::<_, BoxError>(Response::new(Full::new(body)))
///     });
///
/// let request = Request::post("/v1/chat/completions")
///     .body(Full::from(r#"{"model": "venice-uncensored", "n": 1e400}"#))?;
/// let response = service.ready().await?.call(request).await?;
/// let body = response.into_body().collect().await?.to_bytes();
/// assert_eq!(body, r#"{"model": "0xb603", "n": 1e400}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ModelRoutingLayer {
    shared: Arc<Shared>,
}

impl ModelRoutingLayer {
    /// Returns a layer with these settings. Does no I/O and needs no runtime.
    ///
    /// The first request fetches the catalog, unless [`Registry::refresh`] was called before it.
    pub fn new(config: RoutingConfig) -> Self {
        #[cfg(feature = "metrics")]
        crate::telemetry::describe();
        Self {
            shared: Arc::new(Shared {
                registry: config.registry,
                policy: config.policy,
                endpoints: config.endpoints,
                uri_templates: config.uri_templates,
                other_paths: config.other_paths,
                budget: Arc::new(BufferBudget::new(
                    config.max_held_bytes,
                    config.max_total_held_bytes,
                    config.held_timeout,
                )),
                model_headers: [&config.id_header, &config.name_header]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
                id_header: config.id_header,
                name_header: config.name_header,
                response_headers: config.response_headers,
                response_model: config.response_model,
                rejection_hook: config.rejection_hook,
                checked_catalog: Default::default(),
                fallback_warnings: Arc::default(),
            }),
        }
    }

    /// Returns the registry of the layer: to fetch the catalog before the first request, for health
    /// checks, and for [other layers](crate::RoutingConfigBuilder::registry).
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Returns a service for `GET …/models` with the layer's registry,
    /// [aliases](crate::RoutingConfigBuilder::alias) and
    /// [`rejection_response`](crate::RoutingConfigBuilder::rejection_response).
    pub fn model_list(&self) -> ModelListService {
        let hook = self.shared.rejection_hook.clone();
        let aliases = self.shared.policy.aliases.clone();
        ModelListService::with_settings(self.registry().clone(), aliases, hook)
    }

    /// Sets the gauges: held bytes, and the age and size of the catalog.
    ///
    /// Call it before each export of the metrics.
    #[cfg(feature = "metrics")]
    pub fn record_gauges(&self) {
        use crate::telemetry::{AGE_SECONDS, HELD_BYTES, MODELS};

        let stats = self.registry().stats();
        metrics::gauge!(HELD_BYTES).set(self.held_bytes() as f64);
        metrics::gauge!(MODELS).set(stats.models as f64);
        if let Some(age) = stats.age {
            metrics::gauge!(AGE_SECONDS).set(age.as_secs_f64());
        }
    }

    /// Returns how many bytes of request bodies are held, because their models are not known yet or
    /// the inner service is not ready or has not read them, and how much memory their decoders have
    /// reserved.
    pub fn held_bytes(&self) -> usize {
        self.shared.budget.reserved()
    }
}

impl<S> Layer<S> for ModelRoutingLayer {
    type Service = ModelRouting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ModelRouting::new(inner, Arc::clone(&self.shared))
    }
}
