//! Parts of the proxy with tests of their own, of what no client can bring about:
//! `cargo test` runs no tests of examples and builds the examples as well.

#![allow(dead_code, reason = "the parts that need these are not here")]

#[path = "../../../examples/proxy/body.rs"]
mod body;
#[path = "../../../examples/proxy/connections.rs"]
mod connections;
#[path = "../../../examples/proxy/front.rs"]
mod front;
#[path = "../../../examples/proxy/gather.rs"]
mod gather;
#[path = "../../../examples/proxy/kept.rs"]
mod kept;
#[path = "../../../examples/proxy/reply.rs"]
mod reply;
#[path = "../../../examples/proxy/timers.rs"]
mod timers;
#[path = "../../../examples/proxy/workers.rs"]
mod workers;
