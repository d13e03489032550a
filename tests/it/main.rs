//! The integration tests: one binary, one file per area.

mod endpoints;
mod exactness;
mod freshness;
mod held_bytes;
mod held_timeout;
mod late_rejection;
mod multipart;
mod readiness;
#[cfg(feature = "reqwest")]
mod registry_http;
mod rejections;
mod request_body;
mod response;
mod routing;
#[cfg(feature = "reqwest")]
mod secrets;
mod services;
mod support;
mod telemetry;
mod tower_contract;
mod tower_http;
mod untrusted_text;
