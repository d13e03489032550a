//! The integration tests: one binary, one file per area.

#[cfg(feature = "reqwest")]
mod examples;
#[cfg(feature = "reqwest")]
mod proxy;
#[cfg(feature = "reqwest")]
mod registry_http;
// The environment decides about certificates on this platform only.
#[cfg(all(feature = "reqwest", target_os = "linux"))]
mod registry_https;
mod support;
