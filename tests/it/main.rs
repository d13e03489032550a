//! The integration tests: one binary, one file per area.

#[cfg(feature = "decompression")]
mod decompression;
mod endpoints;
mod exactness;
mod freshness;
mod held_bytes;
mod held_timeout;
mod late_rejection;
mod multipart;
mod other_paths;
mod policies;
mod readiness;
#[cfg(feature = "rustls")]
mod registry_http;
mod rejections;
mod request_body;
mod response;
mod routing;
#[cfg(feature = "rustls")]
mod secrets;
mod services;
mod sharing;
mod support;
mod telemetry;
mod tower_contract;
mod tower_http;
mod untrusted_text;
mod uri;
