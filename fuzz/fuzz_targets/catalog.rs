//! The fuzz target of catalogs and lookups.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_model_routing_fuzz::catalog(input));
