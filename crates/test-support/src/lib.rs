//! Scripted servers, raw clients and processes for the proxy's tests and the benches.

#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "an unpublished package of tests"
)]

/// A catalog with models of all types.
pub const MODELS: &str = include_str!("models.json");

pub mod client;
pub mod encoding;
pub mod fault;
pub mod members;
pub mod process;
pub mod registry_server;
pub mod upstream;
pub mod wire;
