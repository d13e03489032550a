//! Tower middleware that routes LLM requests by their `model`.

#[allow(dead_code, unused_imports)]
mod json;
mod multipart;
mod registry;
