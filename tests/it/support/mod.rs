//! What several tests need.

#![allow(dead_code, reason = "not every feature set has tests for all of it")]

pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod registry_server;
pub(crate) mod upstream;
pub(crate) mod wire;
