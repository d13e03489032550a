//! The fuzz target of the JSON scanner.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::scanner(input));
