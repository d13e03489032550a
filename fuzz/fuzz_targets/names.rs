//! The fuzz target of names and IDs in responses.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::names(input));
