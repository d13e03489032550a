//! What the benchmarks share.

#![allow(dead_code)]

pub(crate) mod contestants;
pub(crate) mod example;
pub(crate) mod feed;
pub(crate) mod gateway;
pub(crate) mod payloads;
pub(crate) mod process;
pub(crate) mod sdk;

// The scanner is private to the crate, and depends on nothing in it.
#[allow(unused, unreachable_pub)]
#[path = "../../src/json/mod.rs"]
pub(crate) mod json;

/// Whether to measure, and not only to try if all works, as `cargo test` does.
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
