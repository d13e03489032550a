//! What kind of inference a request's path asks for.

use std::fmt;

use crate::registry::ModelType;

/// What kind of inference a request's path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// Text generation: `/chat/completions`, `/completions`, `/responses`,
    /// `/messages`.
    Llm,
    /// `/embeddings`.
    Embedding,
    /// Text to speech: `/audio/speech`.
    Tts,
    /// Speech to text: `/audio/transcriptions`, `/audio/translations`.
    Stt,
    /// Any other path. A model in a JSON body is replaced, but none is
    /// required.
    Other,
}

impl Endpoint {
    /// Whether the path asks for inference, so that a model must be there.
    pub fn is_inference(self) -> bool {
        self != Self::Other
    }

    /// The endpoint in lower case, for messages, logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Embedding => "embedding",
            Self::Tts => "tts",
            Self::Stt => "stt",
            Self::Other => "other",
        }
    }

    /// Whether a model of this type can serve the endpoint. A type that is
    /// unknown or unheard of can serve any.
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
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_refuses_the_types_that_cannot_serve_it() {
        use ModelType::{Embedding, Llm, Stt, Tts};
        for (endpoint, refused) in [
            (Endpoint::Llm, vec![Embedding, Tts, Stt]),
            (Endpoint::Embedding, vec![Llm, Tts, Stt]),
            (Endpoint::Tts, vec![Llm, Embedding]),
            (Endpoint::Stt, vec![Llm, Embedding]),
            (Endpoint::Other, vec![]),
        ] {
            for model_type in [
                Llm,
                Embedding,
                Tts,
                Stt,
                ModelType::Unknown,
                ModelType::Other("IMAGE".into()),
            ] {
                let accepted = endpoint.accepts(&model_type);
                assert_eq!(
                    accepted,
                    !refused.contains(&model_type),
                    "{endpoint} {model_type}"
                );
            }
        }
    }
}
