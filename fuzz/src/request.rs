//! Any request at all through the middleware, and what the inner service receives of it.

use std::{collections::VecDeque, convert::Infallible, fmt, ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower_model_routing::{RoutedModel, RoutingConfigBuilder, UnknownModel};

use crate::{
    gateway::{Gateway, Hint, IDS, MODELS, Received, Script, Seen, Source, Step, paused_runtime},
    input::{Lengths, cut},
    uri::{self, MAX_PATH_LEN, ModelPlace},
};

/// Sends the request that an input spells, and asserts that nothing hangs, that the response is
/// well-formed, and that a body that reaches the inner service whole names a model of the catalog
/// for every reader, or passed through.
///
/// The input: a byte of options, lengths of frames, and a message like one of HTTP/1.1, except that
/// its lines end in line feeds.
pub(crate) fn check(input: &[u8]) {
    thread_local!(static HARNESS: Harness = Harness::new());

    if let Some(message) = Message::parse(input) {
        HARNESS.with(|harness| harness.check(&message));
    }
}

struct Harness {
    runtime: Runtime,
    gateways: [Gateway; 4],
}

impl Harness {
    fn new() -> Self {
        let runtime = paused_runtime();
        type Configure = fn(RoutingConfigBuilder) -> RoutingConfigBuilder;
        let configurations: [Configure; 4] = [
            |config| config.max_held_bytes(100),
            |config| {
                let config = config.unknown_model(UnknownModel::Reject);
                config.id_header(HeaderName::from_static("model_id"))
            },
            |config| config.unknown_model(UnknownModel::Suggest),
            |config| config.response_headers(true),
        ];
        // A request that hangs must be seen, not ended by its timeout.
        let gateways = configurations.map(|configure| {
            Gateway::new(Source::new(MODELS, ""), |config| {
                configure(config.held_timeout(None))
            })
        });
        for gateway in &gateways {
            let refreshed = runtime.block_on(gateway.layer.registry().refresh());
            refreshed.expect("the source has a catalog");
        }
        Self { runtime, gateways }
    }

    fn check(&self, message: &Message<'_>) {
        let gateway = &self.gateways[usize::from(message.options & 3)];
        // If nothing can go on, the paused clock goes on to the limit.
        let limit = Duration::from_secs(3_600);
        let sent = async { tokio::time::timeout(limit, gateway.send(message.request())).await };
        let (received, seen) = self.runtime.block_on(sent).expect("no request hangs");
        assert_eq!(gateway.layer.held_bytes(), 0);

        let code = received.code();
        if code != "ok" {
            check_rejection(&received);
            let is_whole = seen.is_some_and(|seen| seen.body.is_ok());
            assert!(!is_whole, "{code}, but the inner service has all of it");
            return;
        }
        let seen = seen.expect("what is not rejected is forwarded");
        if seen.head.headers.get(CONTENT_ENCODING) != message.headers.get(CONTENT_ENCODING) {
            // Decoded, which the target `decode` checks.
            return;
        }
        let Ok(body) = &seen.body else {
            assert!(message.fails(), "the body has failed: {:?}", seen.body);
            return;
        };
        assert!(!message.fails(), "a body that fails is not whole");
        assert_eq!(seen.trailers.is_some(), message.has_trailers());
        if message.hint() == Hint::Exact {
            assert_eq!(seen.claimed, Some(body.len() as u64));
        }
        let routed = seen.head.extensions.get::<RoutedModel>();
        match routed {
            None => check_untouched(message, &seen, body),
            Some(routed) => check_changed(message, &seen, body, routed.id()),
        }
        let models = match uri::model_place(&message.uri) {
            ModelPlace::Body if message.is_inference() => 1..=1,
            ModelPlace::Both if message.is_inference() => 0..=1,
            ModelPlace::Body | ModelPlace::Both => 0..=usize::MAX,
            ModelPlace::Uri => return,
        };
        match message.kind() {
            // Elsewhere a body passes that names no model of the catalog.
            Kind::Json if message.is_inference() || routed.is_some() => {
                check_readers(body, models);
            }
            Kind::Form(boundary) if message.is_inference() => {
                self.runtime.block_on(check_form(body, boundary, models));
            }
            Kind::None if message.is_inference() => check_readers(body, models),
            _ => {}
        }
    }
}

/// A request as an input spells it.
struct Message<'a> {
    options: u8,
    lengths: &'a Lengths,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: &'a [u8],
}

/// The format of a body, where no reader can doubt it.
enum Kind {
    None,
    Json,
    Form(String),
    Other,
}

impl<'a> Message<'a> {
    fn parse(input: &'a [u8]) -> Option<Self> {
        let (&options, input) = input.split_first()?;
        let (lengths, input) = input.split_first_chunk()?;
        let at = input.windows(2).position(|pair| pair == b"\n\n")?;
        let (head, body) = (&input[..at], &input[at + 2..]);
        let mut lines = head.split(|&byte| byte == b'\n');
        let (method, uri) = split(lines.next()?, b' ')?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = split(line, b':')?;
            headers.append(
                HeaderName::from_bytes(name).ok()?,
                HeaderValue::from_bytes(value.trim_ascii()).ok()?,
            );
        }
        Some(Self {
            options,
            lengths,
            method: Method::from_bytes(method).ok()?,
            uri: Uri::try_from(uri)
                .ok()
                .filter(|uri| uri.path().len() <= MAX_PATH_LEN)?,
            headers,
            body,
        })
    }

    fn request(&self) -> Request<Script> {
        let mut steps = VecDeque::new();
        for frame in cut(self.body, self.lengths) {
            steps.extend((self.options & 4 != 0).then_some(Step::Pending));
            steps.push_back(Step::Data(Bytes::copy_from_slice(frame)));
        }
        if self.fails() {
            steps.push_back(Step::Error("reset"));
        } else if self.has_trailers() {
            let name = HeaderName::from_static("x-sum");
            let trailers = HeaderMap::from_iter([(name, HeaderValue::from_static("7"))]);
            steps.push_back(Step::Trailers(trailers));
        }
        let mut request = Request::new(Script {
            steps,
            hint: self.hint(),
            knows_its_end: self.options & 8 != 0,
        });
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn hint(&self) -> Hint {
        match self.options >> 4 & 3 {
            0 => Hint::Exact,
            1 => Hint::Bounds,
            _ => Hint::Unknown,
        }
    }

    fn fails(&self) -> bool {
        self.options >> 6 == 1
    }

    fn has_trailers(&self) -> bool {
        self.options >> 6 == 2
    }

    fn kind(&self) -> Kind {
        if self.method != Method::POST {
            return Kind::Other;
        }
        let types: Vec<_> = self.headers.get_all("content-type").iter().collect();
        let value = match types[..] {
            [] => return Kind::None,
            [value] => value.to_str().unwrap_or_default(),
            _ => return Kind::Other,
        };
        if value.eq_ignore_ascii_case("application/json") {
            return Kind::Json;
        }
        multer::parse_boundary(value).map_or(Kind::Other, Kind::Form)
    }

    /// Whether the path is that of an inference endpoint for every server, and a request without a
    /// model gets the fallback.
    fn is_inference(&self) -> bool {
        let path = self.uri.path();
        !path.ends_with("/agents/completions")
            && [
                "/chat/completions",
                "/completions",
                "/v1/messages",
                "/embeddings",
                "/audio/speech",
                "/audio/transcriptions",
                "/audio/translations",
            ]
            .iter()
            .any(|suffix| path.ends_with(suffix))
    }

    /// Whether the head has the body's length, and it is right.
    fn has_true_length(&self) -> bool {
        let lengths: Vec<_> = self.headers.get_all(CONTENT_LENGTH).iter().collect();
        matches!(lengths[..], [length] if length == &self.body.len().to_string())
    }
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = bytes.iter().position(|&byte| byte == at)?;
    Some((&bytes[..index], &bytes[index + 1..]))
}

fn check_rejection(received: &Received) {
    assert!(received.head.status.as_u16() >= 400);
    let object: Value = serde_json::from_slice(&received.body).expect("an error is JSON");
    match &object["error"]["code"] {
        // Gemini's and Anthropic's have no code of ours.
        Value::Number(code) => {
            assert_eq!(code.as_u64(), Some(received.head.status.as_u16().into()))
        }
        Value::Null => assert_eq!(object["type"], "error"),
        code => assert_eq!(code, received.code()),
    }
    assert!(object["error"]["message"].is_string());
}

fn check_untouched(message: &Message<'_>, seen: &Seen, body: &[u8]) {
    assert_eq!(body, message.body);
    let mut headers = message.headers.clone();
    if message.options & 3 == 1 {
        headers.remove("model_id");
        headers.remove("model-id");
    }
    assert_eq!(seen.head.headers, headers);
    assert_eq!(seen.head.uri, message.uri);
}

fn check_changed(message: &Message<'_>, seen: &Seen, body: &[u8], id: &str) {
    assert!(IDS.contains(&id));
    if message.has_true_length() {
        assert_eq!(seen.head.headers[CONTENT_LENGTH], body.len().to_string());
    }
    if !matches!(message.kind(), Kind::Json | Kind::None) {
        return;
    }
    // All that is new is the ID, or a member with it. (Twice: it may begin like the bytes after.)
    let member = format!("\"model\":\"{id}\",").repeat(2);
    let pairs = || message.body.iter().zip(body);
    let prefix = pairs().take_while(|(old, new)| old == new).count();
    let pairs = message.body[prefix..]
        .iter()
        .rev()
        .zip(body[prefix..].iter().rev());
    let suffix = pairs.take_while(|(old, new)| old == new).count();
    let new = &body[prefix..body.len() - suffix];
    let is_part = member
        .as_bytes()
        .windows(new.len().max(1))
        .any(|part| part == new);
    assert!(new.is_empty() || is_part, "{} is new", new.escape_ascii());
}

/// Asserts that readers as strict as `serde_json` and as lenient as JSON5 see this many models, all
/// of the catalog, and nothing else, if they can read the body at all. One that is blank or no
/// string counts where there may be none.
fn check_readers(body: &[u8], count: RangeInclusive<usize>) {
    let text = String::from_utf8_lossy(body);
    let readings = [
        serde_json::from_slice::<Models>(body).ok(),
        json5::from_str::<Models>(&text).ok(),
    ];
    for Models(models) in readings.into_iter().flatten() {
        assert!(count.contains(&models.len()), "{models:?}");
        for (key, value) in models {
            assert_eq!(key, "model");
            match value.as_str().map(str::trim) {
                Some("") | None => assert!(count.contains(&0), "{value}"),
                Some(_) => assert!(
                    value.as_str().is_some_and(|id| IDS.contains(&id)),
                    "{value}"
                ),
            }
        }
    }
}

/// Asserts that another reader of forms sees this many models, all of the catalog.
async fn check_form(body: &Bytes, boundary: String, count: RangeInclusive<usize>) {
    let body = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut form = multer::Multipart::new(body, boundary);
    let mut models = Vec::new();
    loop {
        match form.next_field().await {
            Ok(Some(field)) if field.name() == Some("model") => match field.text().await {
                Ok(text) => models.push(text),
                Err(_) => return,
            },
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => return,
        }
    }
    assert!(count.contains(&models.len()), "{models:?}");
    for model in models {
        let is_blank = model.trim().is_empty();
        assert!(
            IDS.contains(&&*model) || is_blank && count.contains(&0),
            "{model}"
        );
    }
}

/// The members of an object that some reader may take for the model.
struct Models(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Models {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Models;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Models, A::Error> {
                let mut models = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key.eq_ignore_ascii_case("model") {
                        models.push((key, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Models(models))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
