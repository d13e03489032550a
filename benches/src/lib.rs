//! Everything that measures tower-model-routing.
