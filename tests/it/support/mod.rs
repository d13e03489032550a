//! What several tests need.

#![allow(dead_code, reason = "not every feature set has tests for all of it")]

pub(crate) mod body;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod encoding;
pub(crate) mod fault;
pub(crate) mod gateway;
pub(crate) mod members;
pub(crate) mod process;
pub(crate) mod registry_server;
pub(crate) mod runtime_api;
pub(crate) mod source;
pub(crate) mod upstream;
pub(crate) mod wire;
