//! The fuzz target of the multipart scanner.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::multipart(input));
