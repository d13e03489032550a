//! Which paths ask for which endpoint.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::endpoint::Endpoint;

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
    pub(crate) accepts_multipart: bool,
    /// What OpenTelemetry's semantic conventions for generative AI call it.
    pub(crate) operation: &'static str,
    /// Where else than at the top of an event of the answer the model's name
    /// is.
    pub(crate) event_model_parent: Option<&'static str>,
}

impl Target {
    const OTHER: Self = Self {
        endpoint: Endpoint::Other,
        accepts_multipart: false,
        operation: "other",
        event_model_parent: None,
    };

    /// What paths with this ending ask for, if that is this endpoint.
    fn new(suffix: &str, endpoint: Endpoint) -> Self {
        let chat = ends_with(suffix, "/chat/completions") || !ends_with(suffix, "/completions");
        Self {
            endpoint,
            accepts_multipart: endpoint.is_inference(),
            operation: match endpoint {
                Endpoint::Llm if chat => "chat",
                Endpoint::Llm => "text_completion",
                Endpoint::Embedding => "embeddings",
                // The conventions have no name for these.
                Endpoint::Tts => "text_to_speech",
                Endpoint::Stt => "speech_to_text",
                Endpoint::Other => Self::OTHER.operation,
            },
            event_model_parent: [("/responses", "response"), ("/messages", "message")]
                .into_iter()
                .find_map(|(ending, event_model_parent)| {
                    ends_with(suffix, ending).then_some(event_model_parent)
                }),
        }
    }
}

impl EndpointTable {
    /// Makes paths that end in `suffix` (which begins with `/`) ask for
    /// `endpoint`, whatever they did before.
    pub(crate) fn set(&mut self, suffix: String, endpoint: Endpoint) {
        let target = Target::new(&suffix, endpoint);
        self.insert(suffix, target);
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
            .map_or(Target::OTHER, |row| row.target)
    }
}

/// Whether a normalized path ends so, in any letter case.
fn ends_with(path: &str, suffix: &str) -> bool {
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

/// Whether there is nothing in the path to normalize, in one pass.
fn is_normal(path: &str) -> bool {
    let mut last = 0;
    path.bytes().all(|byte| {
        let odd = matches!((last, byte), (_, b'%' | b';' | b'\\') | (b'/', b'/' | b'.'));
        last = byte;
        !odd
    })
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
                accepts_multipart: true,
                ..Target::OTHER
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
        for (path, accepts_multipart) in [
            ("/v1/audio/transcriptions", true),
            ("/v1/images/edits", true),
            ("/v1/images/variations", true),
            ("/v1/uploads", false),
            ("/v1/files", false),
        ] {
            assert_eq!(
                table.find(path).accepts_multipart,
                accepts_multipart,
                "{path}"
            );
        }
    }

    #[test]
    fn the_ending_tells_the_operation_and_where_answers_name_the_model() {
        let mut table = EndpointTable::default();
        table.set("/threads/messages".into(), Endpoint::Other);
        table.set("/v2/completions".into(), Endpoint::Llm);
        for (path, operation, event_model_parent) in [
            ("/v1/chat/completions", "chat", None),
            ("/v1/completions", "text_completion", None),
            ("/v2/completions/", "text_completion", None),
            ("/v1/Responses", "chat", Some("response")),
            ("/v1//messages", "chat", Some("message")),
            ("/v1/threads/messages", "other", Some("message")),
            ("/v1/embeddings", "embeddings", None),
            ("/v1/audio/speech", "text_to_speech", None),
            ("/v1/audio/translations", "speech_to_text", None),
            ("/v1/images/edits", "other", None),
            ("/v1/files", "other", None),
        ] {
            let target = table.find(path);
            assert_eq!(
                (target.operation, target.event_model_parent),
                (operation, event_model_parent),
                "{path}"
            );
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
}
