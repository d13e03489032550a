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

/// Which path endings ask for which endpoint: the longest that fits decides.
#[derive(Clone, Debug)]
pub(crate) struct EndpointTable(Vec<(String, Endpoint)>);

impl EndpointTable {
    /// Makes paths that end in `suffix` (which begins with `/`) ask for
    /// `endpoint`, whatever they did before.
    pub(crate) fn set(&mut self, suffix: String, endpoint: Endpoint) {
        self.0.retain(|(known, _)| *known != suffix);
        self.0.push((suffix, endpoint));
        self.0
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
    }

    /// The endpoint that the path asks for; `None` when the table has no row
    /// for it.
    pub(crate) fn find(&self, path: &str) -> Option<Endpoint> {
        // Many servers take a path with and without a slash at its end for the
        // same resource, so this must not be a way around the layer.
        let path = path.trim_end_matches('/');
        self.0
            .iter()
            .find(|(suffix, _)| path.ends_with(suffix))
            .map(|&(_, endpoint)| endpoint)
    }
}

impl Default for EndpointTable {
    fn default() -> Self {
        let mut table = Self(Vec::new());
        for (suffix, endpoint) in [
            ("/chat/completions", Endpoint::Llm),
            ("/completions", Endpoint::Llm),
            ("/responses", Endpoint::Llm),
            ("/messages", Endpoint::Llm),
            ("/embeddings", Endpoint::Embedding),
            ("/audio/speech", Endpoint::Tts),
            ("/audio/transcriptions", Endpoint::Stt),
            ("/audio/translations", Endpoint::Stt),
            // No kind of inference that the catalog knows, but forms with a model.
            ("/images/edits", Endpoint::Other),
            ("/images/variations", Endpoint::Other),
        ] {
            table.set(suffix.into(), endpoint);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_path_decides() {
        let table = EndpointTable::default();
        for (path, endpoint) in [
            ("/v1/chat/completions", Some(Endpoint::Llm)),
            ("/chat/completions", Some(Endpoint::Llm)),
            ("/api/v1/chat/completions/", Some(Endpoint::Llm)),
            ("/v1/completions", Some(Endpoint::Llm)),
            ("/v1/responses", Some(Endpoint::Llm)),
            ("/anthropic/v1/messages", Some(Endpoint::Llm)),
            ("/v1/embeddings", Some(Endpoint::Embedding)),
            ("/v1/audio/speech", Some(Endpoint::Tts)),
            ("/v1/audio/transcriptions", Some(Endpoint::Stt)),
            ("/v1/audio/translations", Some(Endpoint::Stt)),
            ("/v1/speech", None),
            ("/v1/xcompletions", None),
            ("/v1/chat/completions/7", None),
            ("/v1/Embeddings", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("/v1/images/edits", Some(Endpoint::Other)),
            ("/v1/images/variations", Some(Endpoint::Other)),
        ] {
            assert_eq!(table.find(path), endpoint, "{path}");
        }
    }

    #[test]
    fn the_table_can_be_extended_and_the_longest_ending_decides() {
        let mut table = EndpointTable::default();
        table.set("/threads/messages".into(), Endpoint::Other);
        table.set("/rerank".into(), Endpoint::Embedding);
        table.set("/embeddings".into(), Endpoint::Llm);
        assert_eq!(table.find("/v1/threads/messages"), Some(Endpoint::Other));
        assert_eq!(table.find("/v1/messages"), Some(Endpoint::Llm));
        assert_eq!(table.find("/v1/rerank"), Some(Endpoint::Embedding));
        assert_eq!(table.find("/v1/embeddings"), Some(Endpoint::Llm));
    }

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
