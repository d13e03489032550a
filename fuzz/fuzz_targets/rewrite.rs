//! The fuzz target of the rewrite of responses.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::rewrite(input));
