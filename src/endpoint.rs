//! What kind of inference a request's path asks for.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

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
pub(crate) struct EndpointTable(Vec<Row>);

#[derive(Clone, Debug)]
struct Row {
    suffix: String,
    target: Target,
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// Whether a form's `model` part is looked for.
    pub(crate) takes_forms: bool,
}

impl EndpointTable {
    /// Makes paths that end in `suffix` (which begins with `/`) ask for
    /// `endpoint`, whatever they did before.
    pub(crate) fn set(&mut self, suffix: String, endpoint: Endpoint) {
        let takes_forms = endpoint.is_inference();
        self.insert(
            suffix,
            Target {
                endpoint,
                takes_forms,
            },
        );
    }

    fn insert(&mut self, suffix: String, target: Target) {
        self.0
            .retain(|row| !row.suffix.eq_ignore_ascii_case(&suffix));
        self.0.push(Row { suffix, target });
        self.0
            .sort_by_key(|row| std::cmp::Reverse(row.suffix.len()));
    }

    pub(crate) fn find(&self, path: &str) -> Target {
        let path = normalize(path);
        self.0
            .iter()
            .find(|row| ends_with(&path, &row.suffix))
            .map_or(
                Target {
                    endpoint: Endpoint::Other,
                    takes_forms: false,
                },
                |row| row.target,
            )
    }
}

/// Whether a normalized path ends so, in any letter case.
pub(crate) fn ends_with(path: &str, suffix: &str) -> bool {
    let (path, suffix) = (path.as_bytes(), suffix.as_bytes());
    path.len()
        .checked_sub(suffix.len())
        .is_some_and(|at| path[at..].eq_ignore_ascii_case(suffix))
}

/// The path as the most lenient of servers reads it: percent-decoded, without
/// empty and dot segments (RFC 3986, 6.2.2) and without the parameters of
/// segments. A spelling that only we take for another path would be a way
/// around the layer.
pub(crate) fn normalize(path: &str) -> Cow<'_, str> {
    let is_plain = |path: &str| {
        !path.contains(['%', ';', '\\']) && !path.contains("//") && !path.contains("/.")
    };
    let trimmed = path.trim_end_matches('/');
    if is_plain(trimmed) {
        return Cow::Borrowed(trimmed);
    }
    let decoded = percent_decode_str(trimmed).decode_utf8_lossy();
    let mut segments = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
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
        ] {
            table.set(suffix.into(), endpoint);
        }
        // No kind of inference that the catalog knows, but forms with a model.
        for suffix in ["/images/edits", "/images/variations"] {
            let target = Target {
                endpoint: Endpoint::Other,
                takes_forms: true,
            };
            table.insert(suffix.into(), target);
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
            ("/v1/chat/completions", Endpoint::Llm),
            ("/chat/completions", Endpoint::Llm),
            ("/api/v1/chat/completions/", Endpoint::Llm),
            ("/v1/completions", Endpoint::Llm),
            ("/v1/responses", Endpoint::Llm),
            ("/anthropic/v1/messages", Endpoint::Llm),
            ("/v1/embeddings", Endpoint::Embedding),
            ("/v1/audio/speech", Endpoint::Tts),
            ("/v1/audio/transcriptions", Endpoint::Stt),
            ("/v1/audio/translations", Endpoint::Stt),
            ("/v1/speech", Endpoint::Other),
            ("/v1/xcompletions", Endpoint::Other),
            ("/v1/chat/completions/7", Endpoint::Other),
            ("/v1/Embeddings", Endpoint::Embedding),
            ("/v1/chat/completion%73", Endpoint::Llm),
            ("/v1/chat%2Fcompletions", Endpoint::Llm),
            ("/v1/audio//speech", Endpoint::Tts),
            ("/v1/embeddings/.", Endpoint::Embedding),
            ("/v1/x/../embeddings//", Endpoint::Embedding),
            ("/v1/embeddings;x=y", Endpoint::Embedding),
            ("/v1/embeddings/..", Endpoint::Other),
            ("/v1/embeddings%", Endpoint::Other),
            ("/", Endpoint::Other),
            ("", Endpoint::Other),
            ("*", Endpoint::Other),
            ("/v1/images/edits", Endpoint::Other),
            ("/v1/images/variations", Endpoint::Other),
        ] {
            assert_eq!(table.find(path).endpoint, endpoint, "{path}");
        }
    }

    #[test]
    fn forms_are_looked_into_where_the_apis_take_them() {
        let mut table = EndpointTable::default();
        table.set("/uploads".into(), Endpoint::Other);
        for (path, takes_forms) in [
            ("/v1/audio/transcriptions", true),
            ("/v1/images/edits", true),
            ("/v1/images/variations", true),
            ("/v1/uploads", false),
            ("/v1/files", false),
        ] {
            assert_eq!(table.find(path).takes_forms, takes_forms, "{path}");
        }
    }

    #[test]
    fn the_table_can_be_extended_and_the_longest_ending_decides() {
        let mut table = EndpointTable::default();
        table.set("/threads/messages".into(), Endpoint::Other);
        table.set("/rerank".into(), Endpoint::Embedding);
        table.set("/Embeddings".into(), Endpoint::Llm);
        assert_eq!(table.find("/v1/threads/messages").endpoint, Endpoint::Other);
        assert_eq!(table.find("/v1/messages").endpoint, Endpoint::Llm);
        assert_eq!(table.find("/v1/rerank").endpoint, Endpoint::Embedding);
        assert_eq!(table.find("/v1/embeddings").endpoint, Endpoint::Llm);
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
