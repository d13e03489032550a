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
mod untrusted_text;
