//! Catalogs of models, the same in every run.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use tokio::runtime::Runtime;
use tower_model_routing::{
    BoxError, ModelRoutingLayer, ResponseModel, RoutingConfig,
    registry::{Catalog, FetchFuture, Fetched, Registry, RegistrySource},
};

/// A source that has one catalog after another, at once.
#[derive(Debug)]
pub struct CatalogSource {
    catalogs: Vec<Fetched>,
    fetches: AtomicUsize,
}

impl CatalogSource {
    pub fn new(catalogs: impl IntoIterator<Item = Fetched>) -> Self {
        Self {
            catalogs: catalogs.into_iter().collect(),
            fetches: AtomicUsize::new(0),
        }
    }
}

impl RegistrySource for CatalogSource {
    fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
        let fetch = self.fetches.fetch_add(1, Ordering::Relaxed);
        let catalog = self.catalogs[fetch % self.catalogs.len()].clone();
        Box::pin(async { Ok(catalog) })
    }

    fn location(&self) -> String {
        "memory".into()
    }
}

/// Returns a registry that keeps a catalog until it is refreshed.
pub fn registry(source: CatalogSource) -> Registry {
    Registry::builder(source)
        .ttl(Duration::from_secs(24 * 60 * 60))
        .max_catalog_bytes(usize::MAX)
        .build()
        .expect("a TTL within bounds")
}

/// Returns a layer with the catalog of this document.
pub fn layer(
    document: Bytes,
    response_model: ResponseModel,
) -> Result<ModelRoutingLayer, BoxError> {
    let config = RoutingConfig::builder()
        .fixed_catalog(Catalog::parse(&document)?)
        .response_model(response_model)
        .build()?;
    Ok(ModelRoutingLayer::new(config))
}

/// Returns a runtime of one thread.
pub fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Returns a document of `len` models, the first of which have these names.
pub fn document(len: usize, names: &[&str]) -> Bytes {
    let mut rng = Rng::with_seed(0x6665_6564);
    let models: Vec<_> = (0..len)
        .map(|index| {
            let name = names
                .get(index)
                .map_or_else(|| name(index), |&name| name.into());
            serde_json::json!({
                "Id": format!("0x{:064x}", u128::from(rng.u64(..)) << 64 | index as u128),
                "Owner": format!("0x{:040x}", rng.u128(..)),
                "Name": name,
                "Tags": ["LLM", "chat"],
                "CreatedAt": 1_735_000_000 + index,
                "IsDeleted": false,
                "ModelType": "LLM",
                "enrichment": { "veniceId": venice_id(index) },
            })
        })
        .collect();
    serde_json::json!({ "models": models }).to_string().into()
}

/// Returns the name of the model with this index.
pub fn name(index: usize) -> String {
    format!("Family-{}-{}b-v{index}", index % 37, index % 405)
}

/// Returns its alias.
pub fn venice_id(index: usize) -> String {
    format!("venice-model-{index}")
}

/// Numbers of models.
pub const SIZES: [usize; 3] = [40, 1_000, 100_000];

/// Returns the number of models that stands for one of [`SIZES`]: fewer unless measuring.
pub fn size(size: usize) -> usize {
    match crate::is_measuring() {
        true => size,
        false => size.min(2_000),
    }
}

/// Returns something for each model of a catalog, in a random order, so that a large catalog does
/// not benefit from the CPU's caches.
pub fn shuffled<T>(len: usize, of: impl Fn(usize) -> T) -> Vec<T> {
    let mut all: Vec<T> = (0..len).map(of).collect();
    Rng::with_seed(0x7368_7566).shuffle(&mut all);
    all
}
