//! The fuzz target of models in URIs.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::uri(input));
