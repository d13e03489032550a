//! The fuzz target of requests through the middleware.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::request(input));
