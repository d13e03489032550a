//! The demo's registry and OpenAI-like upstream, on free ports of the loopback address.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io::{self, BufReader},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{self, ETAG, IF_NONE_MATCH},
};
use http_body::Frame;
use http_body_util::{BodyDataStream, BodyExt, Empty, Full, StreamBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tower_model_routing::BoxError;

use crate::{body::Body, response};

const CATALOG: &str = include_str!("models.json");
const CATALOG_ETAG: HeaderValue = HeaderValue::from_static("\"demo-1\"");

/// Starts the registry and returns its URL.
pub(crate) async fn start_registry() -> io::Result<String> {
    let address = start(async |request| active_models(&request)).await?;
    Ok(format!("http://{address}/active_models.json"))
}

/// Starts an upstream that reports the model it received, and returns its URL.
pub(crate) async fn start_upstream() -> io::Result<Uri> {
    let url = format!("http://{}", start(infer).await?);
    url.parse().map_err(io::Error::other)
}

async fn start<F>(
    service: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> io::Result<SocketAddr>
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = service(request);
                    async { Ok::<_, Infallible>(response.await) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                // The proxy may close its connections at any time.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

fn active_models(request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() != "/active_models.json" {
        return with_status(StatusCode::NOT_FOUND);
    }
    let mut response = if request.headers().get(IF_NONE_MATCH) == Some(&CATALOG_ETAG) {
        with_status(StatusCode::NOT_MODIFIED)
    } else {
        typed("application/json", response::boxed(Full::from(CATALOG)))
    };
    response.headers_mut().insert(ETAG, CATALOG_ETAG);
    response
}

fn with_status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(response::boxed(Empty::new()));
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// The part of a request that the demo shows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    model: Value,
    stream: Value,
    #[serde(skip)]
    bytes: u64,
}

/// Reads a body of any size in little memory.
async fn read(body: Incoming) -> Summary {
    let reader = tokio::task::spawn_blocking(|| {
        let mut bytes = 0;
        let data = BodyDataStream::new(body)
            .inspect_ok(|data| bytes += data.len() as u64)
            .map_err(io::Error::other);
        let mut data = SyncIoBridge::new(StreamReader::new(data));
        let summary: Summary =
            serde_json::from_reader(BufReader::new(&mut data)).unwrap_or_default();
        // The rest of a body that is not JSON.
        let _ = io::copy(&mut data, &mut io::sink());
        drop(data);
        Summary { bytes, ..summary }
    });
    reader.await.unwrap_or_default()
}

/// Responds to any path like the OpenAI API, and reports the model that it was sent.
async fn infer(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let Summary {
        model,
        stream,
        bytes,
    } = read(request.into_body()).await;
    let text = format!("Hello from the demo upstream. Your request came here with model {model}.");
    let streams = stream == true;
    if path.ends_with("/chat/completions") {
        match streams {
            true => events(chat_events(&model, &text)),
            false => response::json(StatusCode::OK, &chat_completion(&model, &text)),
        }
    } else if path.ends_with("/responses") {
        match streams {
            true => events(response_events(&model, &text)),
            false => response::json(StatusCode::OK, &response_object(&model, &text)),
        }
    } else if path.ends_with("/embeddings") {
        response::json(StatusCode::OK, &embeddings(&model))
    } else {
        let echo = json!({ "path": path, "bytes": bytes, "model": model, "text": text });
        response::json(StatusCode::OK, &echo)
    }
}

fn chat_completion(model: &Value, text: &str) -> Value {
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

fn chat_events(model: &Value, text: &str) -> Vec<String> {
    let chunk = |delta: Value, finish_reason: Value| {
        let chunk = json!({
            "id": "chatcmpl-demo",
            "object": "chat.completion.chunk",
            "created": 1_748_370_689,
            "model": model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        });
        format!("data: {chunk}\n\n")
    };
    let mut events = vec![chunk(
        json!({ "role": "assistant", "content": "" }),
        Value::Null,
    )];
    for word in text.split_inclusive(' ') {
        events.push(chunk(json!({ "content": word }), Value::Null));
    }
    events.push(chunk(json!({}), "stop".into()));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn response_object(model: &Value, text: &str) -> Value {
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

fn response_events(model: &Value, text: &str) -> Vec<String> {
    let event = |name: &str, data: Value| format!("event: {name}\ndata: {data}\n\n");
    let mut events = Vec::new();
    for word in text.split_inclusive(' ') {
        let name = "response.output_text.delta";
        let data = json!({ "type": name, "item_id": "msg_demo", "delta": word });
        events.push(event(name, data));
    }
    let name = "response.completed";
    let data = json!({ "type": name, "response": response_object(model, text) });
    events.push(event(name, data));
    events
}

fn embeddings(model: &Value) -> Value {
    json!({
        "object": "list",
        "model": model,
        "data": [{ "object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.75] }],
        "usage": { "prompt_tokens": 3, "total_tokens": 3 },
    })
}

/// Sends server-sent events one by one, at the pace of a quick model.
fn events(events: Vec<String>) -> Response<Body> {
    let frames = stream::iter(events).then(async |event| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from(event)))
    });
    typed("text/event-stream", StreamBody::new(frames).boxed_unsync())
}

/// The text that the demo prints.
pub(crate) struct Instructions {
    pub(crate) address: SocketAddr,
}

impl fmt::Display for Instructions {
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
This is a demo with an embedded upstream; --upstream sets a real one. Try

curl -si http://{address}/v1/chat/completions \
  -H 'Content-Type: application/json' \
  -d '{{"model": "venice-uncensored", "messages": [{{"role": "user", "content": "Hi"}}]}}'

and add "stream": true for server-sent events. The models are at http://{address}/v1/models
"#
        )
    }
}
