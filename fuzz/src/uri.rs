//! Any URI at all, with a model in it or not, and what the inner service receives of it.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower_model_routing::{Endpoint, UnknownModel};

use crate::{
    catalog,
    gateway::{Gateway, Source, paused_runtime},
};

const CATALOG: &str = r#"{"models":[
    {"Id":"0xb603","Name":"venice-uncensored","ModelType":"LLM"},
    {"Id":"0x0a","Name":"mistral-31-24b","ModelType":"LLM"},
    {"Id":"0x0b","Name":"text-embedding-bge-m3","ModelType":"EMBEDDING"},
    {"Id":"0x0c","Name":"tts-kokoro","ModelType":"TTS"},
    {"Id":"0x0d","Name":"whisper-1","ModelType":"STT"},
    {"Id":"an/ID?#%~ü","Name":"a/b:c d","enrichment":{"veniceId":"m"}}
]}"#;

/// The templates, of which the first that fits decides. Without an endpoint, [`ROWS`] has it.
const TEMPLATES: [(&str, Option<Endpoint>); 12] = [
    ("/model/{model}/converse", Some(Endpoint::Llm)),
    ("/openai/deployments/{model}/{*rest}", None),
    ("/engines/{model}/{*rest}", None),
    ("/models/{model}:generateContent", Some(Endpoint::Llm)),
    ("/models/{model}:streamGenerateContent", Some(Endpoint::Llm)),
    ("/models/{model}:countTokens", Some(Endpoint::Llm)),
    ("/models/{model}:embedContent", Some(Endpoint::Embedding)),
    (
        "/models/{model}:batchEmbedContents",
        Some(Endpoint::Embedding),
    ),
    ("/models/{model}:predict", Some(Endpoint::Other)),
    ("/models/{model}:rawPredict", Some(Endpoint::Other)),
    ("/models/{model}:streamRawPredict", Some(Endpoint::Other)),
    ("/realtime?model={model}", Some(Endpoint::Other)),
];

/// The endings of paths whose body must be valid.
const ROWS: [(&str, Endpoint); 24] = [
    ("/chat/completions", Endpoint::Llm),
    ("/completions", Endpoint::Llm),
    ("/v1/messages", Endpoint::Llm),
    ("/v1/messages/count_tokens", Endpoint::Llm),
    ("/v1/responses", Endpoint::Llm),
    ("/openai/responses", Endpoint::Llm),
    ("/responses/input_tokens", Endpoint::Llm),
    ("/responses/compact", Endpoint::Llm),
    ("/api/chat", Endpoint::Llm),
    ("/api/generate", Endpoint::Llm),
    ("/v1/chat", Endpoint::Llm),
    ("/v2/chat", Endpoint::Llm),
    ("/embeddings", Endpoint::Embedding),
    ("/api/embed", Endpoint::Embedding),
    ("/v1/embed", Endpoint::Embedding),
    ("/v2/embed", Endpoint::Embedding),
    ("/audio/speech", Endpoint::Tts),
    ("/audio/transcriptions", Endpoint::Stt),
    ("/audio/translations", Endpoint::Stt),
    ("/images/edits", Endpoint::Other),
    ("/images/variations", Endpoint::Other),
    ("/videos", Endpoint::Other),
    // No template's path is as short as these.
    ("=/messages", Endpoint::Llm),
    ("=/responses", Endpoint::Llm),
];

/// The most bytes of a path; the time of the naive reader grows with the square.
pub(crate) const MAX_PATH_LEN: usize = 500;

const POLICIES: [UnknownModel; 3] = [
    UnknownModel::Fallback,
    UnknownModel::Reject,
    UnknownModel::Forward,
];

/// Sends a request whose URI may name a model, and asserts that the inner service receives the URI
/// and the body that a naive reader of the templates expects, or that the request is rejected.
///
/// The input: a byte that selects the policy, a line with the method and the URI, and perhaps the
/// model in the body.
pub(crate) fn check(input: &[u8]) {
    thread_local!(static HARNESS: Harness = Harness::new());

    let Some((&policy, input)) = input.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(input);
    let (line, in_body) = match text.split_once('\n') {
        Some((line, model)) => (line, Some(model)),
        None => (&*text, None),
    };
    let Some((method, uri)) = line.split_once(' ') else {
        return;
    };
    if let (Ok(method), Ok(uri)) = (method.parse(), uri.parse::<Uri>())
        && uri.path().len() <= MAX_PATH_LEN
    {
        let policy = usize::from(policy) % POLICIES.len();
        HARNESS.with(|harness| harness.check(policy, &method, &uri, in_body));
    }
}

struct Harness {
    runtime: Runtime,
    gateways: [Gateway; 3],
    models: Value,
}

/// The result that a naive reader expects.
#[derive(Debug)]
enum Expected {
    /// Anything.
    Any,
    /// Anything, but the URI does not change.
    SameUri,
    Unchanged,
    Rejected(&'static str),
    Routed {
        path_and_query: String,
        body: String,
    },
}

/// The model in a URI.
struct Found {
    name: String,
    /// Its place in the path and query.
    span: Range<usize>,
    endpoint: Option<Endpoint>,
    is_in_query: bool,
}

impl Harness {
    fn new() -> Self {
        let runtime = paused_runtime();
        let gateways = POLICIES.map(|policy| {
            Gateway::new(Source::new(CATALOG, ""), |config| {
                let config = config.unknown_model(policy);
                config.add_uri_template(TEMPLATES[0].0, Endpoint::Llm)
            })
        });
        for gateway in &gateways {
            let refreshed = runtime.block_on(gateway.layer.registry().refresh());
            refreshed.expect("the source has a catalog");
        }
        Self {
            runtime,
            gateways,
            models: serde_json::from_str(CATALOG).expect("JSON"),
        }
    }

    fn check(&self, policy: usize, method: &Method, uri: &Uri, in_body: Option<&str>) {
        let body = body(in_body);
        let request = Request::builder().method(method).uri(uri);
        let request = request.body(Full::<Bytes>::from(body.clone()));
        let sent = self.gateways[policy].send(request.expect("a request"));
        let limit = Duration::from_secs(3_600);
        let sent = async { tokio::time::timeout(limit, sent).await };
        let (received, seen) = self.runtime.block_on(sent).expect("no request hangs");

        let expected = self.expected(POLICIES[policy], method, uri, in_body);
        let (path_and_query, body) = match expected {
            Expected::Any => return,
            Expected::SameUri if seen.is_none() => return,
            Expected::Rejected(code) => {
                assert_eq!(received.code(), code);
                assert!(seen.is_none());
                return;
            }
            Expected::SameUri => (path_and_query(uri), None),
            Expected::Unchanged => (path_and_query(uri), Some(body)),
            Expected::Routed {
                path_and_query,
                body,
            } => (path_and_query, Some(body)),
        };
        assert_eq!(received.code(), "ok");
        let seen = seen.expect("it was forwarded");
        assert_eq!(self::path_and_query(&seen.head.uri), path_and_query);
        assert_eq!(seen.head.uri.authority(), uri.authority());
        assert_eq!(seen.head.uri.scheme(), uri.scheme());
        if let Some(body) = body {
            assert_eq!(seen.body.as_deref(), Ok(body.as_bytes()));
        }
    }

    fn expected(
        &self,
        policy: UnknownModel,
        method: &Method,
        uri: &Uri,
        sent: Option<&str>,
    ) -> Expected {
        let has_body = !matches!(
            method.as_str(),
            "GET" | "HEAD" | "OPTIONS" | "DELETE" | "TRACE" | "CONNECT"
        );
        if !has_body && method != Method::GET {
            return Expected::Unchanged;
        }
        let found = match find(uri, has_body) {
            None => return Expected::SameUri,
            Some(Err(code)) => return Expected::Rejected(code),
            Some(Ok(found)) => found,
        };
        let row = row(uri.path());
        let is_read = row.is_some() && has_body;
        let in_body = sent.filter(|name| is_read && !name.trim().is_empty());
        if method != Method::POST && method.as_str().eq_ignore_ascii_case("POST") {
            return Expected::Rejected("ambiguous_model");
        }
        let others: Vec<_> = parameters(uri.query().unwrap_or_default())
            .filter(|(name, _)| !(found.is_in_query && name == "model"))
            .map(|(name, _)| name)
            .collect();
        if others.iter().any(|name| name == "model") {
            return Expected::Rejected("ambiguous_model");
        }
        // Which other spellings count is none of the templates' rules.
        if others
            .iter()
            .any(|name| name.to_lowercase().contains("model"))
        {
            return Expected::Any;
        }

        let entries = catalog::entries(&self.models);
        let id_of = |name: &str| catalog::find(&entries, name).map(|(entry, _)| &*entry.id);
        let endpoint = found.endpoint.or(row).unwrap_or(Endpoint::Other);
        let id = id_of(&found.name);
        let folded = |name: &str| name.trim().to_lowercase();
        if in_body.is_some_and(|name| {
            id_of(name) != id || id.is_none() && folded(name) != folded(&found.name)
        }) {
            return Expected::Rejected("ambiguous_model");
        }
        let (refused, fallback): (&[_], _) = match endpoint {
            Endpoint::Llm => (&["EMBEDDING", "TTS", "STT"], Some("0x0a")),
            Endpoint::Embedding => (&["LLM", "TTS", "STT"], Some("0x0b")),
            Endpoint::Tts => (&["LLM", "EMBEDDING"], Some("0x0c")),
            Endpoint::Stt => (&["LLM", "EMBEDDING"], Some("0x0d")),
            _ => (&[], None),
        };
        let id = match (id, policy, fallback) {
            (Some(id), ..) if refused.contains(&self.model_type(id)) => {
                return Expected::Rejected("model_type_mismatch");
            }
            (Some(id), ..) => id,
            (None, UnknownModel::Forward, _) | (None, _, None) => return Expected::Unchanged,
            (None, UnknownModel::Reject, _) => return Expected::Rejected("model_not_found"),
            (None, _, Some(fallback)) => fallback,
        };
        let mut path_and_query = path_and_query(uri);
        path_and_query.replace_range(found.span, &encoded(id));
        Expected::Routed {
            path_and_query,
            body: body(in_body.map_or(sent, |_| Some(id))),
        }
    }

    fn model_type(&self, id: &str) -> &str {
        let models = self.models["models"].as_array().expect("an array");
        let model = models.iter().find(|model| model["Id"] == id);
        model
            .and_then(|model| model["ModelType"].as_str())
            .unwrap_or_default()
    }
}

fn body(model: Option<&str>) -> String {
    match model {
        Some(model) => format!("{{\"n\":1e400,\"model\":{}}}", json!(model)),
        None => "{\"n\":1e400}".into(),
    }
}

/// The place of the model of a request with a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ModelPlace {
    Body,
    /// The URI, with which one in the body must agree.
    Both,
    /// The URI: the body is not read.
    Uri,
}

/// Returns the place of the model by a URI with at most [`MAX_PATH_LEN`] bytes in its path.
pub(crate) fn model_place(uri: &Uri) -> ModelPlace {
    match find(uri, true) {
        None => ModelPlace::Body,
        Some(Ok(found)) if found.endpoint.is_some() && row(uri.path()).is_none() => ModelPlace::Uri,
        Some(_) => ModelPlace::Both,
    }
}

/// Returns the model of the first template that fits, or the code of the rejection. Where servers
/// that decode the path first and those that split it first differ, there is none.
fn find(uri: &Uri, has_body: bool) -> Option<Result<Found, &'static str>> {
    // For those that split first, an encoded slash is like any other character.
    let split_first = ["%2F", "%2f", "%5C", "%5c"]
        .into_iter()
        .fold(uri.path().to_owned(), |path, slash| {
            path.replace(slash, "%01")
        });
    TEMPLATES.into_iter().find_map(|(template, endpoint)| {
        let find = |path: &str| match template.split_once('?') {
            Some((end, _)) if normalized(path).ends_with(end) => {
                in_query(uri, endpoint).transpose()
            }
            None if has_body => in_path(path, template, endpoint).map(Ok),
            _ => None,
        };
        match (find(uri.path()), find(&split_first)) {
            (Some(Ok(found)), Some(Ok(other))) if found.span != other.span => None,
            (found, _) => found,
        }
    })
}

fn in_query(uri: &Uri, endpoint: Option<Endpoint>) -> Result<Option<Found>, &'static str> {
    let models = parameters(uri.query().unwrap_or_default()).filter(|(name, _)| name == "model");
    let models: Vec<_> = models.collect();
    let [(_, value)] = &models[..] else {
        return if models.is_empty() {
            Ok(None)
        } else {
            Err("ambiguous_model")
        };
    };
    let text = path_and_query(uri);
    let at = text.find('?').expect("it has a query") + 1;
    let span = at + value.start..at + value.end;
    let name = decoded(&text[span.clone()].replace('+', " "));
    Ok((!name.trim().is_empty()).then_some(Found {
        name,
        span,
        endpoint,
        is_in_query: true,
    }))
}

/// Returns the last part of the path for which a path with any other text in its place fits the
/// template.
fn in_path(path: &str, template: &str, endpoint: Option<Endpoint>) -> Option<Found> {
    // No part of the path.
    let other = "x".repeat(path.len() + 1);
    let pattern = template.to_lowercase().replace("{model}", &other);
    let verb = template.split_once("{model}:").map(|(_, verb)| verb);
    for piece in pieces(path).into_iter().rev() {
        let text = &path[piece.clone()];
        let len = match verb {
            None => text.len(),
            Some(verb) => {
                let colons = [":", "%3A", "%3a"].into_iter();
                let last = colons.filter_map(|colon| Some((text.rfind(colon)?, colon.len())));
                match last.max() {
                    Some((at, len)) if decoded(&text[at + len..]).eq_ignore_ascii_case(verb) => at,
                    _ => continue,
                }
            }
        };
        let span = piece.start..piece.start + len;
        let name = decoded(&path[span.clone()]);
        let with_other = |span: &Range<usize>| {
            normalized(&format!(
                "{}{other}{}",
                &path[..span.start],
                &path[span.end..]
            ))
        };
        let fits = match pattern.strip_suffix("{*rest}") {
            Some(before) => with_other(&span).contains(before),
            None => with_other(&span).ends_with(&pattern),
        };
        // Dot segments take nothing of the piece away, and it has none that take others away.
        let has_dots = decoded(text)
            .split(['/', '\\'])
            .any(|part| part == ".." || part.starts_with("..;"));
        let own = normalized(text);
        let is_own = own.len() > 1
            && normalized(path) == with_other(&piece).replace(&format!("/{other}"), &own);
        if fits && is_own && !has_dots && !name.trim().is_empty() {
            return Some(Found {
                name,
                span,
                endpoint,
                is_in_query: false,
            });
        }
    }
    None
}

/// Returns what lies between the separators of a path, without parameters.
fn pieces(path: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    path.split(['/', '\\'])
        .map(|piece| {
            let end = start + piece.find(';').unwrap_or(piece.len());
            let range = start..end;
            start += piece.len() + 1;
            range
        })
        .collect()
}

/// Returns the endpoint of a path whose body must be valid.
fn row(path: &str) -> Option<Endpoint> {
    let path = normalized(path);
    let at = path.rfind('/').unwrap_or_default() + 1;
    let stem = match path[at..].rfind('.') {
        Some(dot) if dot > 0 => &path[..at + dot],
        _ => &path,
    };
    let fits = |pattern: &str| match pattern.strip_prefix('=') {
        Some(whole) => path == whole || stem == whole,
        None => path.ends_with(pattern) || stem.ends_with(pattern),
    };
    if fits("/agents/completions") {
        return None;
    }
    let rows = ROWS.into_iter().filter(|(pattern, _)| fits(pattern));
    rows.max_by_key(|(pattern, _)| pattern.len())
        .map(|row| row.1)
}

/// Returns a path as the most lenient server sees it, in lower case.
fn normalized(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in decoded(path).split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.to_ascii_lowercase()),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Returns the names in a query, and the places of their values.
fn parameters(query: &str) -> impl Iterator<Item = (String, Range<usize>)> {
    let mut at = 0;
    query.split(['&', ';']).map(move |parameter| {
        let (start, end) = (at, at + parameter.len());
        at = end + 1;
        let name = parameter.split('=').next().unwrap_or_default();
        let value = (start + name.len() + 1).min(end)..end;
        (decoded(&name.replace('+', " ")), value)
    })
}

fn path_and_query(uri: &Uri) -> String {
    uri.path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Encodes all but the unreserved characters (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
