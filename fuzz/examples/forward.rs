//! Shows what the layer forwards, request by request, to a script that compares readers.
//!
//! A batch on stdin is a number of requests, and for each the method, the target, the content type
//! (empty: none) and the body. The response on stdout has for each request `ok` or the rejection's
//! code, the ID that replaced the model (empty: none), and the content type and the body that the
//! inner service received. Numbers are 32 bits, big endian, and every other field has its length
//! before it.

use std::io::{self, Read, Write};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::CONTENT_TYPE};
use http_body_util::Full;
use tower_model_routing::{Endpoint, RoutedModel, UnknownModel};
use tower_model_routing_fuzz::gateway::{Gateway, Seen, Source, paused_runtime};

/// The models that requests name, and the one that serves requests without a model.
const MODELS: &str = r#"{"models":[
    {"Id":"0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d","Name":"V"},
    {"Id":"0x00000000000000000000000000000000000000000000000000000000000000ee","Name":"EVIL"},
    {"Id":"0x00000000000000000000000000000000000000000000000000000000000000fb","Name":"fallback"}
]}"#;

fn main() -> io::Result<()> {
    let runtime = paused_runtime();
    let gateway = Gateway::new(Source::new(MODELS, ""), |config| {
        let endpoints = [
            Endpoint::Llm,
            Endpoint::Embedding,
            Endpoint::Tts,
            Endpoint::Stt,
        ];
        let config = endpoints.into_iter().fold(config, |config, endpoint| {
            config.fallback(endpoint, "fallback")
        });
        config
            .unknown_model(UnknownModel::Fallback)
            .held_timeout(None)
    });
    let refreshed = runtime.block_on(gateway.layer.registry().refresh());
    refreshed.map_err(io::Error::other)?;

    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    while let Some(count) = read_number(&mut input)? {
        let mut responses = Vec::new();
        for _ in 0..count {
            let method = read_field(&mut input)?;
            let target = read_field(&mut input)?;
            let content_type = read_field(&mut input)?;
            let body = read_field(&mut input)?;
            let fields = match request(&method, &target, &content_type, body) {
                None => [
                    Bytes::from("not_http"),
                    Bytes::new(),
                    Bytes::new(),
                    Bytes::new(),
                ],
                Some(request) => {
                    let (received, seen) = runtime.block_on(gateway.send(request));
                    forwarded(received.code(), seen)
                }
            };
            for field in fields {
                responses.extend((field.len() as u32).to_be_bytes());
                responses.extend(field);
            }
        }
        output.write_all(&responses)?;
        output.flush()?;
    }
    Ok(())
}

/// Returns `None` if HTTP has no such request.
fn request(
    method: &[u8],
    target: &[u8],
    content_type: &[u8],
    body: Vec<u8>,
) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(Method::from_bytes(method).ok()?)
        .uri(target);
    if !content_type.is_empty() {
        request = request.header(CONTENT_TYPE, HeaderValue::from_bytes(content_type).ok()?);
    }
    request.body(Full::from(body)).ok()
}

fn forwarded(code: &'static str, seen: Option<Seen>) -> [Bytes; 4] {
    let rejected = [code.into(), Bytes::new(), Bytes::new(), Bytes::new()];
    let (Some(seen), "ok") = (seen, code) else {
        return rejected;
    };
    let Ok(body) = seen.body else {
        // The layer must have replaced the response.
        return [
            "body_failed".into(),
            Bytes::new(),
            Bytes::new(),
            Bytes::new(),
        ];
    };
    let routed = seen.head.extensions.get::<RoutedModel>();
    let id = routed.map_or("", RoutedModel::id).to_owned();
    let content_type = seen.head.headers.get(CONTENT_TYPE);
    let content_type = content_type.map_or(&[][..], HeaderValue::as_bytes);
    [
        code.into(),
        id.into(),
        Bytes::copy_from_slice(content_type),
        body,
    ]
}

/// Returns `None` at the end of the input.
fn read_number(input: &mut impl Read) -> io::Result<Option<u32>> {
    let mut number = [0; 4];
    match input.read_exact(&mut number) {
        Ok(()) => Ok(Some(u32::from_be_bytes(number))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_field(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = read_number(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut field = vec![0; length as usize];
    input.read_exact(&mut field)?;
    Ok(field)
}
