//! Tower middleware that routes LLM requests by their `model`.

mod json;
#[allow(dead_code, unused_imports)]
mod multipart;
mod registry;
