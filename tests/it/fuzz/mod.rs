//! What holds whatever the input. The targets in `fuzz/` run these checks too,
//! on inputs that a fuzzer finds.

pub(crate) mod catalog;
pub(crate) mod input;
pub(crate) mod names;
#[cfg(test)]
mod properties;
pub(crate) mod request;
