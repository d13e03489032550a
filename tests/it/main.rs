//! The integration tests: one binary, one file per area.

mod answers;
mod bodies;
mod bounds;
mod contract;
mod exactness;
#[cfg(feature = "reqwest")]
mod examples;
mod freshness;
mod held_timeout;
mod injection;
mod inspect;
#[cfg(feature = "reqwest")]
mod lambda;
mod limits;
mod multipart;
mod observability;
// The example proxy needs both.
#[cfg(all(feature = "metrics", feature = "reqwest"))]
mod proxy;
mod readiness;
#[cfg(feature = "reqwest")]
mod registry_http;
// The environment decides about certificates on this platform only.
#[cfg(all(feature = "reqwest", target_os = "linux"))]
mod registry_https;
mod rejections;
mod routing;
#[cfg(all(feature = "reqwest", target_os = "linux"))]
mod secrets;
mod security;
mod support;
mod violations;
