//! Fetches the catalog over HTTP; HTTPS is an error of the configuration.

use tower_model_routing::{BoxError, RoutingConfig};

fn main() -> Result<(), BoxError> {
    let https = RoutingConfig::builder()
        .models_url("https://localhost/")
        .build();
    let error = https.unwrap_err();
    assert_eq!(error.setting(), "models_url");
    assert!(error.to_string().contains("feature `rustls`"), "{error}");

    let url = tls_support::serve_http()?;
    tls_support::check(RoutingConfig::builder().models_url(url).build()?)
}
