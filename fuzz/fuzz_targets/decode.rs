//! The fuzz target of encoded requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::decode(input));
