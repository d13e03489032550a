//! Uses reqwest without TLS features of its own, as it would without the layer.

use tower_model_routing::{BoxError, RoutingConfig};

fn main() -> Result<(), BoxError> {
    // Panics if a dependency turned on TLS in reqwest without a crypto provider.
    let _client = reqwest::Client::new();
    let url = tls_support::serve_http()?;
    tls_support::check(RoutingConfig::builder().models_url(url).build()?)
}
