//! The kind of inference that a request's path asks for.

use std::fmt;

use crate::registry::ModelType;

/// The kind of inference that a request's path asks for.
///
/// # Examples
///
/// A rerank endpoint that embedding models serve:
///
/// ```
/// use tower_model_routing::{Endpoint, RoutingConfig};
///
/// let builder = RoutingConfig::builder()
///     .add_endpoint("/v1/rerank", Endpoint::Embedding)
///     .fallback(Endpoint::Embedding, "text-embedding-bge-m3");
/// # drop(builder);
/// assert!(Endpoint::Embedding.is_inference());
/// assert_eq!(format!("{:>10}", Endpoint::Embedding), " embedding");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// Text generation: `/chat/completions`, `/completions`, `/responses`, `/messages`.
    Llm,
    /// Embeddings: `/embeddings`.
    Embedding,
    /// Text to speech: `/audio/speech`.
    Tts,
    /// Speech to text: `/audio/transcriptions`, `/audio/translations`.
    Stt,
    /// Any other path. The layer replaces a model in a JSON body, but requires none.
    Other,
}

impl Endpoint {
    /// Returns `true` if the path asks for inference, so that a model is required.
    pub fn is_inference(self) -> bool {
        self != Self::Other
    }

    /// Returns the endpoint in lower case, as it appears in messages, logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Embedding => "embedding",
            Self::Tts => "tts",
            Self::Stt => "stt",
            Self::Other => "other",
        }
    }

    /// Returns `true` if a model of this type can serve the endpoint. A model of an unknown type
    /// can serve any.
    pub(crate) fn accepts(self, model_type: &ModelType) -> bool {
        use ModelType::{Embedding, Llm, Stt, Tts};
        !match self {
            Self::Llm => matches!(model_type, Embedding | Tts | Stt),
            Self::Embedding => matches!(model_type, Llm | Tts | Stt),
            Self::Tts | Self::Stt => matches!(model_type, Llm | Embedding),
            Self::Other => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_types_that_can_serve_it() {
        use ModelType::{Embedding, Llm, Stt, Tts};
        for (endpoint, incompatible) in [
            (Endpoint::Llm, vec![Embedding, Tts, Stt]),
            (Endpoint::Embedding, vec![Llm, Tts, Stt]),
            (Endpoint::Tts, vec![Llm, Embedding]),
            (Endpoint::Stt, vec![Llm, Embedding]),
            (Endpoint::Other, vec![]),
        ] {
            let unknown = [ModelType::Unknown, ModelType::Other("IMAGE".into())];
            for model_type in [Llm, Embedding, Tts, Stt].into_iter().chain(unknown) {
                assert_eq!(
                    endpoint.accepts(&model_type),
                    !incompatible.contains(&model_type),
                    "{endpoint} {model_type}"
                );
            }
        }
    }

    #[test]
    fn display_pads() {
        assert_eq!(
            format!("{:-<6}{:>4}", Endpoint::Llm, Endpoint::Stt),
            "llm--- stt"
        );
    }
}
