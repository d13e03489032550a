//! The fuzz target of the operator's aliases.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::aliases(input));
