//! The kind of inference that a request's path asks for, and the policy for other paths.

use std::fmt;

use crate::registry::ModelType;

/// The verbs of Gemini's and Vertex's `/models/{model}:{verb}`, and what they ask for.
pub(crate) const MODEL_VERBS: [(&str, Endpoint); 8] = [
    ("generateContent", Endpoint::Llm),
    ("streamGenerateContent", Endpoint::Llm),
    ("countTokens", Endpoint::Llm),
    ("embedContent", Endpoint::Embedding),
    ("batchEmbedContents", Endpoint::Embedding),
    ("predict", Endpoint::Other),
    ("rawPredict", Endpoint::Other),
    ("streamRawPredict", Endpoint::Other),
];

/// The kind of inference that a request's path asks for.
///
/// The [guide](crate::guide::where_the_model_is) has the table of paths.
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
    /// Text generation, such as `/chat/completions`, `/v1/messages`, `/v1/responses`.
    Llm,
    /// Embeddings, such as `/embeddings`.
    Embedding,
    /// Text to speech: `/audio/speech`.
    Tts,
    /// Speech to text: `/audio/transcriptions`, `/audio/translations`.
    Stt,
    /// Any other path: see [`OtherPaths`]. It has no fallback model, and any model can serve it.
    Other,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 5] = [
        Self::Llm,
        Self::Embedding,
        Self::Tts,
        Self::Stt,
        Self::Other,
    ];

    /// Returns `true` if the path asks for inference, so that every request is inspected.
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

/// The policy for `POST` requests whose path is no inference endpoint.
///
/// It does not concern `/images/edits`, `/images/variations` and `/videos`, whose bodies must be
/// valid.
///
/// # Examples
///
/// ```
/// use tower_model_routing::{OtherPaths, RoutingConfig};
///
/// let builder = RoutingConfig::builder().other_paths(OtherPaths::Pass);
/// # drop(builder);
/// assert_eq!(OtherPaths::default().to_string(), "inspect");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtherPaths {
    /// Replace the model of a JSON body if it is in the catalog, and forward every other request
    /// unchanged.
    ///
    /// Nothing is rejected because its model cannot be found: not an unknown, missing or ambiguous
    /// one, not an invalid body. At most 64 KiB are read, and a request waits at most a second for
    /// its body and the catalog. Once a model is replaced, the rest of the body must be valid.
    #[default]
    Inspect,
    /// Forward every request unread.
    Pass,
}

impl OtherPaths {
    /// Returns the policy in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Pass => "pass",
        }
    }
}

impl fmt::Display for OtherPaths {
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
            format!(
                "{:-<6}{:>4}{:>5}",
                Endpoint::Llm,
                Endpoint::Stt,
                OtherPaths::Pass
            ),
            "llm--- stt pass"
        );
    }
}
