//! What the demo brings along: a registry and an OpenAI-like upstream, both on
//! free ports of the loopback address.

use std::{
    convert::Infallible,
    fmt,
    io::{self, BufReader, Read},
    net::SocketAddr,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::OriginalUri,
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{any, get},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Uri;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

const CATALOG: &str = include_str!("demo/models.json");
const ETAG: &str = "\"demo-1\"";

/// Serves the list of models; its URL.
pub(crate) async fn start_registry() -> io::Result<String> {
    let router = Router::new().route("/active_models.json", get(active_models));
    Ok(format!(
        "http://{}/active_models.json",
        start(router).await?
    ))
}

/// Serves an upstream that says what it was sent; its URL.
pub(crate) async fn start_upstream() -> io::Result<Uri> {
    let router = Router::new().fallback(any(infer));
    let url = format!("http://{}", start(router).await?);
    url.parse().map_err(io::Error::other)
}

async fn start(router: Router) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(address)
}

async fn active_models(headers: HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|etag| etag == ETAG) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, ETAG)]).into_response();
    }
    let headers = [
        (header::ETAG, ETAG),
        (header::CONTENT_TYPE, "application/json"),
    ];
    (headers, CATALOG).into_response()
}

/// What the demo wants to know of a request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Seen {
    model: Value,
    stream: Value,
    #[serde(skip)]
    bytes: u64,
}

/// Reads a body of any size in little memory.
async fn read(body: Body) -> Seen {
    let (sender, chunks) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        let chunk = Bytes::new();
        serde_json::from_reader(BufReader::new(Chunks { chunks, chunk })).unwrap_or_default()
    });
    let mut data = body.into_data_stream();
    let mut bytes = 0;
    while let Some(Ok(chunk)) = data.next().await {
        bytes += chunk.len() as u64;
        // It may have given up on what is not JSON.
        let _ = sender.send(chunk).await;
    }
    drop(sender);
    let seen: Seen = reader.await.unwrap_or_default();
    Seen { bytes, ..seen }
}

/// Reads from a channel.
struct Chunks {
    chunks: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// Answers any path like the OpenAI API, and says which model it was sent.
async fn infer(OriginalUri(uri): OriginalUri, body: Body) -> Response {
    let Seen {
        model,
        stream,
        bytes,
    } = read(body).await;
    let text = format!("Hello from the demo upstream. Your request came here with model {model}.");
    let model = &model;
    let streams = stream == true;
    let path = uri.path();
    if path.ends_with("/chat/completions") {
        if streams {
            chat_events(model.clone(), &text)
        } else {
            axum::Json(chat(model, &text)).into_response()
        }
    } else if path.ends_with("/responses") {
        if streams {
            response_events(model, &text)
        } else {
            axum::Json(response(model, &text)).into_response()
        }
    } else if path.ends_with("/embeddings") {
        axum::Json(embeddings(model)).into_response()
    } else {
        let echo = json!({ "path": path, "bytes": bytes, "model": model, "text": text });
        axum::Json(echo).into_response()
    }
}

fn chat(model: &Value, text: &str) -> Value {
    json!({
        "id": "chatcmpl-demo",
        "object": "chat.completion",
        "created": 1_748_370_689,
        "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 7, "completion_tokens": 12, "total_tokens": 19 },
    })
}

fn chat_events(model: Value, text: &str) -> Response {
    let chunk = |delta: Value, finish_reason: Value| {
        json!({
            "id": "chatcmpl-demo",
            "object": "chat.completion.chunk",
            "created": 1_748_370_689,
            "model": model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        })
        .to_string()
    };
    let role = chunk(json!({ "role": "assistant", "content": "" }), Value::Null);
    let words = text.split_inclusive(' ');
    let words = words.map(|word| chunk(json!({ "content": word }), Value::Null));
    let end = [chunk(json!({}), "stop".into()), "[DONE]".to_owned()];
    let events = [role].into_iter().chain(words).chain(end);
    send(events.map(|data| Event::default().data(data)).collect())
}

fn response(model: &Value, text: &str) -> Value {
    json!({
        "id": "resp_demo",
        "object": "response",
        "created_at": 1_748_370_689,
        "status": "completed",
        "model": model,
        "output": [{
            "id": "msg_demo",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        }],
    })
}

fn response_events(model: &Value, text: &str) -> Response {
    let event = |name: &str, data: Value| Event::default().event(name).data(data.to_string());
    let mut events = Vec::new();
    for word in text.split_inclusive(' ') {
        let name = "response.output_text.delta";
        events.push(event(
            name,
            json!({ "type": name, "item_id": "msg_demo", "delta": word }),
        ));
    }
    let name = "response.completed";
    let data = json!({ "type": name, "response": response(model, text) });
    events.push(event(name, data));
    send(events)
}

fn embeddings(model: &Value) -> Value {
    json!({
        "object": "list",
        "model": model,
        "data": [{ "object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.75] }],
        "usage": { "prompt_tokens": 3, "total_tokens": 3 },
    })
}

/// Sends the events one by one, at the pace of a quick model.
fn send(events: Vec<Event>) -> Response {
    let events = stream::iter(events).then(|event| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, Infallible>(event)
    });
    Sse::new(events).into_response()
}

/// What to try.
pub(crate) struct Demo {
    pub(crate) address: SocketAddr,
}

impl fmt::Display for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        writeln!(
            f,
            r#"
This is a demo: without --upstream, an embedded upstream answers. Try

curl -si http://{address}/v1/chat/completions \
  -H 'Content-Type: application/json' \
  -d '{{"model": "venice-uncensored", "messages": [{{"role": "user", "content": "Hi"}}]}}'

and add "stream": true for events. The models are at http://{address}/v1/models
"#
        )
    }
}
