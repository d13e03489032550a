//! Tower middleware that routes LLM requests by their `model`.

mod json;
mod multipart;
mod registry;
