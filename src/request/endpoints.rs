//! The table of endpoints.

use std::cmp::Reverse;

use crate::{
    endpoint::Endpoint,
    path::{normalize, without_extension},
    response::Dialect,
};

/// A table of paths and path endings, of which the longest match decides the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointTable(Vec<Row>);

#[derive(Clone, Debug)]
struct Row {
    path: String,
    /// Whether only the whole path matches, not every one that ends so.
    is_whole: bool,
    is_default: bool,
    target: Target,
}

/// The endpoint of a path and its consequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// Whether every body, JSON or a form, must be valid. Otherwise JSON is inspected with best
    /// effort, and a request whose model cannot be replaced is forwarded unchanged.
    pub(crate) is_strict: bool,
    /// Whether a missing model is subject to the policy. Otherwise it is left missing.
    pub(crate) has_default_model: bool,
    /// The operation name in OpenTelemetry's semantic conventions for generative AI.
    pub(crate) operation: &'static str,
    /// The key of the object that has the `model` in a response event, besides the top level.
    pub(crate) event_model_parent: Option<&'static str>,
    /// The form of errors, which follows from the request's path alone.
    pub(crate) dialect: Dialect,
}

/// The default rows: an ending or, behind `=`, a whole path; its endpoint; and whether a missing
/// model is subject to the policy. Elsewhere the request need not name its model in the body.
const DEFAULTS: [(&str, Endpoint, bool); 22] = [
    ("/chat/completions", Endpoint::Llm, true),
    ("/completions", Endpoint::Llm, true),
    // Agents are no models.
    ("/agents/completions", Endpoint::Other, false),
    ("/v1/messages", Endpoint::Llm, true),
    // Another application's messages, such as `/v1/threads/7/messages`, do not match.
    ("=/messages", Endpoint::Llm, true),
    ("/v1/messages/count_tokens", Endpoint::Llm, false),
    ("/v1/responses", Endpoint::Llm, false),
    ("/openai/responses", Endpoint::Llm, false),
    ("=/responses", Endpoint::Llm, false),
    ("/responses/input_tokens", Endpoint::Llm, false),
    ("/responses/compact", Endpoint::Llm, false),
    ("/api/chat", Endpoint::Llm, false),
    ("/api/generate", Endpoint::Llm, false),
    ("/v1/chat", Endpoint::Llm, false),
    ("/v2/chat", Endpoint::Llm, false),
    ("/embeddings", Endpoint::Embedding, true),
    ("/api/embed", Endpoint::Embedding, true),
    ("/v1/embed", Endpoint::Embedding, true),
    ("/v2/embed", Endpoint::Embedding, true),
    ("/audio/speech", Endpoint::Tts, true),
    ("/audio/transcriptions", Endpoint::Stt, true),
    ("/audio/translations", Endpoint::Stt, true),
];

/// The endings of paths that take forms whose model the catalog has no type for.
const FORMS: [&str; 3] = ["/images/edits", "/images/variations", "/videos"];

/// The operations of text generation that are not a chat, by the ending of the path; the conventions
/// define no name for counting tokens.
const OPERATIONS: [(&str, &str); 8] = [
    ("/chat/completions", "chat"),
    ("/completions", "text_completion"),
    ("/api/generate", "text_completion"),
    ("/count_tokens", "count_tokens"),
    ("/input_tokens", "count_tokens"),
    (":generateContent", "generate_content"),
    (":streamGenerateContent", "generate_content"),
    (":countTokens", "count_tokens"),
];

impl Target {
    const OTHER: Self = Self {
        endpoint: Endpoint::Other,
        is_strict: false,
        has_default_model: false,
        operation: "other",
        event_model_parent: None,
        dialect: Dialect::OpenAi,
    };

    /// Returns the target of a path that asks for this kind of endpoint.
    pub(super) fn new(path: &str, endpoint: Endpoint) -> Self {
        let operation = OPERATIONS
            .into_iter()
            .find_map(|(ending, operation)| ends_with(path, ending).then_some(operation));
        Self {
            endpoint,
            is_strict: endpoint.is_inference(),
            has_default_model: endpoint.is_inference(),
            operation: match endpoint {
                Endpoint::Llm => operation.unwrap_or("chat"),
                Endpoint::Embedding => "embeddings",
                // The conventions define no name for these.
                Endpoint::Tts => "text_to_speech",
                Endpoint::Stt => "speech_to_text",
                Endpoint::Other => Self::OTHER.operation,
            },
            event_model_parent: [("/responses", "response"), ("/messages", "message")]
                .into_iter()
                .find_map(|(ending, parent)| ends_with(path, ending).then_some(parent)),
            ..Self::OTHER
        }
    }

    /// Returns the operation, or `None` if the endpoint has none of generative AI.
    pub(crate) fn gen_ai_operation(&self) -> Option<&'static str> {
        self.endpoint.is_inference().then_some(self.operation)
    }
}

impl EndpointTable {
    /// Maps paths that end in `pattern`, which starts with `/`, to `endpoint`; behind a `=` only
    /// the whole path. It takes precedence over earlier rows for the same path.
    pub(crate) fn set(&mut self, pattern: &str, endpoint: Endpoint) {
        self.0.insert(0, Row::new(pattern, endpoint));
        self.sort();
    }

    fn sort(&mut self) {
        self.0.sort_by_key(|row| {
            let len = Reverse(row.path.len());
            (len, row.is_default, !row.is_whole)
        });
    }

    pub(crate) fn find(&self, path: &str) -> Target {
        let path = normalize(path);
        let stem = without_extension(&path);
        let target = self
            .0
            .iter()
            .find(|row| row.matches(&path) || stem.is_some_and(|stem| row.matches(stem)))
            .map_or_else(
                || Target::new(stem.unwrap_or(&path), Endpoint::Other),
                |row| row.target,
            );
        Target {
            dialect: Dialect::of_normal(&path, stem),
            ..target
        }
    }
}

impl Default for EndpointTable {
    fn default() -> Self {
        let mut rows = Vec::new();
        for (pattern, endpoint, has_default_model) in DEFAULTS {
            let mut row = Row::new(pattern, endpoint);
            row.target.has_default_model &= has_default_model;
            rows.push(row);
        }
        for pattern in FORMS {
            let mut row = Row::new(pattern, Endpoint::Other);
            row.target.is_strict = true;
            rows.push(row);
        }
        for row in &mut rows {
            row.is_default = true;
        }
        let mut table = Self(rows);
        table.sort();
        table
    }
}

impl Row {
    fn new(pattern: &str, endpoint: Endpoint) -> Self {
        let whole = pattern.strip_prefix('=');
        let path = whole.unwrap_or(pattern);
        Self {
            path: path.into(),
            is_whole: whole.is_some(),
            is_default: false,
            target: Target::new(path, endpoint),
        }
    }

    /// Compares a normalized path, ignoring case.
    fn matches(&self, path: &str) -> bool {
        ends_with(path, &self.path) && !(self.is_whole && path.len() > self.path.len())
    }
}

/// Compares the end of a path, ignoring case.
fn ends_with(path: &str, suffix: &str) -> bool {
    let (path, suffix) = (path.as_bytes(), suffix.as_bytes());
    path.len()
        .checked_sub(suffix.len())
        .is_some_and(|at| path[at..].eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Endpoint::{Embedding, Llm, Other, Stt, Tts};

    #[test]
    fn table_has_every_endpoint() {
        let table = EndpointTable::default();
        for (path, endpoint, has_default_model, operation, parent) in [
            ("/v1/chat/completions", Llm, true, "chat", None),
            ("/chat/completions", Llm, true, "chat", None),
            ("/v1/completions", Llm, true, "text_completion", None),
            ("/v1/messages", Llm, true, "chat", Some("message")),
            ("/anthropic/v1/messages", Llm, true, "chat", Some("message")),
            ("/messages", Llm, true, "chat", Some("message")),
            (
                "/v1/messages/count_tokens",
                Llm,
                false,
                "count_tokens",
                None,
            ),
            ("/v1/responses", Llm, false, "chat", Some("response")),
            ("/x/openai/responses", Llm, false, "chat", Some("response")),
            ("/responses", Llm, false, "chat", Some("response")),
            (
                "/v1/responses/input_tokens",
                Llm,
                false,
                "count_tokens",
                None,
            ),
            ("/v1/responses/compact", Llm, false, "chat", None),
            ("/api/chat", Llm, false, "chat", None),
            ("/api/generate", Llm, false, "text_completion", None),
            ("/v1/chat", Llm, false, "chat", None),
            ("/v2/chat", Llm, false, "chat", None),
            ("/v1/embeddings", Embedding, true, "embeddings", None),
            ("/api/embed", Embedding, true, "embeddings", None),
            ("/v1/embed", Embedding, true, "embeddings", None),
            ("/v2/embed", Embedding, true, "embeddings", None),
            ("/v1/audio/speech", Tts, true, "text_to_speech", None),
            (
                "/v1/audio/transcriptions",
                Stt,
                true,
                "speech_to_text",
                None,
            ),
            ("/v1/audio/translations", Stt, true, "speech_to_text", None),
        ] {
            let expected = Target {
                endpoint,
                is_strict: true,
                has_default_model,
                operation,
                event_model_parent: parent,
                dialect: Dialect::of(path),
            };
            assert_eq!(table.find(path), expected, "{path}");
        }
        for path in ["/v1/images/edits", "/v1/images/variations", "/v1/videos"] {
            let expected = Target {
                is_strict: true,
                ..Target::OTHER
            };
            assert_eq!(table.find(path), expected, "{path}");
        }
        for path in [
            "/v1/agents/completions",
            // Another application's messages and responses.
            "/v1/threads/t/messages",
            "/api/v1/chat-history/chats/7/messages",
            "/x/messages",
            "/x/responses",
            "/v1/messages/batches",
            "/v1/responses/resp_1",
            "/chat",
            "/v1/images/generations",
            "/v1/speech",
            "/v1/xcompletions",
            "/v1/chat/completions/7",
            "/",
            "",
            "*",
        ] {
            // The events of other paths may name the model, too.
            let target = Target {
                event_model_parent: None,
                ..table.find(path)
            };
            let expected = Target {
                dialect: Dialect::of(path),
                ..Target::OTHER
            };
            assert_eq!(target, expected, "{path}");
        }
        let behind_a_prefix = table.find("/x/responses").event_model_parent;
        assert_eq!(behind_a_prefix, Some("response"));
    }

    #[test]
    fn path_is_read_as_the_most_lenient_server_does() {
        let table = EndpointTable::default();
        for (path, endpoint) in [
            ("/v1/Embeddings", Embedding),
            ("/V1/MESSAGES/", Llm),
            ("/v1/chat/completion%73", Llm),
            ("/v1/chat%2Fcompletions", Llm),
            ("/v1\\embeddings", Embedding),
            ("/v1/embeddings/.", Embedding),
            ("/v1/x/../embeddings//", Embedding),
            ("/v1;a/embeddings;x=y", Embedding),
            ("/v1/audio//speech", Tts),
            ("//messages", Llm),
            ("/x/../messages", Llm),
            ("/v1/chat/completions.json", Llm),
            ("/v1/chat/completions.JSON/", Llm),
            ("/v1/chat/completions%2ejson;x", Llm),
            ("/v1/audio/speech.", Tts),
            ("/messages.json", Llm),
            ("/v1/agents/completions.json", Other),
            // Only one extension.
            ("/v1/embeddings.tar.gz", Other),
            ("/v1/embeddings.d/x", Other),
            ("/v1/embeddings/.json", Other),
            ("/v1/embeddings/..", Other),
            ("/v1/embeddings%", Other),
        ] {
            assert_eq!(table.find(path).endpoint, endpoint, "{path}");
        }
    }

    #[test]
    fn longest_row_decides_and_an_added_one_before_a_default() {
        let mut table = EndpointTable::default();
        for (pattern, endpoint) in [
            ("/threads/messages", Other),
            ("/v2/completions", Llm),
            ("/rerank", Llm),
            ("/rerank", Embedding),
            ("/Audio/Speech", Llm),
            ("/embeddings", Other),
            ("/messages", Tts),
            ("=/ask", Llm),
            ("/ask", Stt),
            ("/run.php", Llm),
        ] {
            table.set(pattern, endpoint);
        }
        for (path, endpoint, operation, parent) in [
            ("/threads/messages", Other, "other", Some("message")),
            ("/v2/completions/", Llm, "text_completion", None),
            ("/v1/rerank", Embedding, "embeddings", None),
            ("/v1/audio/speech", Llm, "chat", None),
            ("/v1/embeddings", Other, "other", None),
            ("/v1/messages", Llm, "chat", Some("message")),
            ("/messages", Tts, "text_to_speech", Some("message")),
            ("/ASK/", Llm, "chat", None),
            ("/x/ask", Stt, "speech_to_text", None),
            ("/x/run.php", Llm, "chat", None),
            ("/x/run.php.json", Llm, "chat", None),
            ("/x/run", Other, "other", None),
        ] {
            let target = table.find(path);
            assert_eq!(target.endpoint, endpoint, "{path}");
            assert_eq!(target.is_strict, endpoint != Other, "{path}");
            assert_eq!(target.has_default_model, endpoint != Other, "{path}");
            assert_eq!(target.operation, operation, "{path}");
            assert_eq!(target.event_model_parent, parent, "{path}");
        }
    }
}
