//! The table of path endings, and the path normalization that it is matched by.

use std::{borrow::Cow, cmp::Reverse};

use percent_encoding::percent_decode_str;

use crate::endpoint::Endpoint;

/// A table of path endings, of which the longest match decides the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointTable(Vec<Row>);

#[derive(Clone, Debug)]
struct Row {
    suffix: String,
    target: Target,
}

/// The endpoint of a path and its consequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// Whether the `model` part of a form is inspected.
    pub(crate) accepts_multipart: bool,
    /// The operation name in OpenTelemetry's semantic conventions for generative AI.
    pub(crate) operation: &'static str,
    /// The key of the object that has the `model` in a response event, besides the top level.
    pub(crate) event_model_parent: Option<&'static str>,
}

impl Target {
    const OTHER: Self = Self {
        endpoint: Endpoint::Other,
        accepts_multipart: false,
        operation: "other",
        event_model_parent: None,
    };

    fn new(suffix: &str, endpoint: Endpoint) -> Self {
        let is_chat = ends_with(suffix, "/chat/completions") || !ends_with(suffix, "/completions");
        Self {
            endpoint,
            accepts_multipart: endpoint.is_inference(),
            operation: match endpoint {
                Endpoint::Llm if is_chat => "chat",
                Endpoint::Llm => "text_completion",
                Endpoint::Embedding => "embeddings",
                // The conventions define no name for these.
                Endpoint::Tts => "text_to_speech",
                Endpoint::Stt => "speech_to_text",
                Endpoint::Other => Self::OTHER.operation,
            },
            event_model_parent: [("/responses", "response"), ("/messages", "message")]
                .into_iter()
                .find_map(|(ending, parent)| ends_with(suffix, ending).then_some(parent)),
        }
    }
}

impl EndpointTable {
    /// Maps paths that end in `suffix`, which starts with `/`, to `endpoint`. Replaces an existing
    /// row.
    pub(crate) fn set(&mut self, suffix: String, endpoint: Endpoint) {
        let target = Target::new(&suffix, endpoint);
        self.insert(suffix, target);
    }

    fn insert(&mut self, suffix: String, target: Target) {
        self.0
            .retain(|row| !row.suffix.eq_ignore_ascii_case(&suffix));
        self.0.push(Row { suffix, target });
        self.0.sort_by_key(|row| Reverse(row.suffix.len()));
    }

    pub(crate) fn find(&self, path: &str) -> Target {
        let path = normalize(path);
        self.0
            .iter()
            .find(|row| ends_with(&path, &row.suffix))
            .map_or(Target::OTHER, |row| row.target)
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
        ] {
            table.set(suffix.into(), endpoint);
        }
        // The catalog has no model type for images, but these forms name a model.
        for suffix in ["/images/edits", "/images/variations"] {
            let target = Target {
                accepts_multipart: true,
                ..Target::OTHER
            };
            table.insert(suffix.into(), target);
        }
        table
    }
}

/// Compares the end of a normalized path, ignoring case.
fn ends_with(path: &str, suffix: &str) -> bool {
    let (path, suffix) = (path.as_bytes(), suffix.as_bytes());
    path.len()
        .checked_sub(suffix.len())
        .is_some_and(|at| path[at..].eq_ignore_ascii_case(suffix))
}

/// Normalizes a path as the most lenient server would: percent-decoded, without empty and dot
/// segments (RFC 3986, 6.2.2) and without the parameters of segments. A stricter reading would be
/// a way around the layer.
pub(crate) fn normalize(path: &str) -> Cow<'_, str> {
    let trimmed = path.trim_end_matches('/');
    if is_normal(trimmed) {
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

/// Returns `true` if [`normalize`] has nothing to do, in one pass.
fn is_normal(path: &str) -> bool {
    let mut last = 0;
    path.bytes().all(|byte| {
        let is_special = matches!((last, byte), (_, b'%' | b';' | b'\\') | (b'/', b'/' | b'.'));
        last = byte;
        !is_special
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the default rows, and some of an operator's.
    fn extended_table() -> EndpointTable {
        let mut table = EndpointTable::default();
        for (suffix, endpoint) in [
            ("/threads/messages", Endpoint::Other),
            ("/v2/completions", Endpoint::Llm),
            ("/rerank", Endpoint::Embedding),
            ("/Audio/Speech", Endpoint::Llm),
            ("/uploads", Endpoint::Other),
        ] {
            table.set(suffix.into(), endpoint);
        }
        table
    }

    #[test]
    fn normalized_ending_decides() {
        let table = EndpointTable::default();
        for (path, endpoint) in [
            ("/v1/chat/completions", Endpoint::Llm),
            ("/chat/completions", Endpoint::Llm),
            ("/api/v1/chat/completions/", Endpoint::Llm),
            ("/v1/chat/completion%73", Endpoint::Llm),
            ("/v1/chat%2Fcompletions", Endpoint::Llm),
            ("/v1\\responses", Endpoint::Llm),
            ("/anthropic/v1/messages", Endpoint::Llm),
            ("/v1/Embeddings", Endpoint::Embedding),
            ("/v1/embeddings/.", Endpoint::Embedding),
            ("/v1/x/../embeddings//", Endpoint::Embedding),
            ("/v1/embeddings;x=y", Endpoint::Embedding),
            ("/v1/audio//speech", Endpoint::Tts),
            ("/v1/audio/transcriptions", Endpoint::Stt),
            ("/v1/audio/translations", Endpoint::Stt),
            ("/v1/speech", Endpoint::Other),
            ("/v1/xcompletions", Endpoint::Other),
            ("/v1/chat/completions/7", Endpoint::Other),
            ("/v1/embeddings/..", Endpoint::Other),
            ("/v1/embeddings%", Endpoint::Other),
            ("/", Endpoint::Other),
            ("", Endpoint::Other),
            ("*", Endpoint::Other),
        ] {
            assert_eq!(table.find(path).endpoint, endpoint, "{path}");
        }
    }

    #[test]
    fn longest_ending_decides_the_target() {
        use Endpoint::{Embedding, Llm, Other, Stt};

        let table = extended_table();
        for (path, endpoint, accepts_multipart, operation, parent) in [
            ("/v1/chat/completions", Llm, true, "chat", None),
            ("/v1/completions", Llm, true, "text_completion", None),
            ("/v2/completions/", Llm, true, "text_completion", None),
            ("/v1/Responses", Llm, true, "chat", Some("response")),
            ("/v1//messages", Llm, true, "chat", Some("message")),
            ("/threads/messages", Other, false, "other", Some("message")),
            ("/v1/embeddings", Embedding, true, "embeddings", None),
            ("/v1/rerank", Embedding, true, "embeddings", None),
            // The operator's row replaces the default one.
            ("/v1/audio/speech", Llm, true, "chat", None),
            ("/audio/translations", Stt, true, "speech_to_text", None),
            ("/v1/images/edits", Other, true, "other", None),
            ("/v1/images/variations", Other, true, "other", None),
            ("/v1/uploads", Other, false, "other", None),
            ("/v1/files", Other, false, "other", None),
        ] {
            let expected = Target {
                endpoint,
                accepts_multipart,
                operation,
                event_model_parent: parent,
            };
            assert_eq!(table.find(path), expected, "{path}");
        }
        let speech = EndpointTable::default().find("/v1/audio/speech");
        assert_eq!(speech.operation, "text_to_speech");
    }
}
