//! The integration tests: one binary, one file per area.

#[cfg(feature = "reqwest")]
mod registry_http;
mod support;
