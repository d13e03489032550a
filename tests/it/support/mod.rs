//! What several tests need.

#![allow(dead_code, reason = "not every feature set has tests for all of it")]

pub(crate) mod registry_server;
