//! The proxy with an OpenAI client library.

use std::sync::Once;

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::{
        audio::{AudioInput, CreateTranscriptionRequestArgs},
        chat::{ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequestArgs},
        embeddings::CreateEmbeddingRequestArgs,
    },
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{Setup, VENICE};
use test_support::upstream::Step;

fn client(setup: &Setup) -> Client<OpenAIConfig> {
    static PROVIDER: Once = Once::new();
    // The library needs one even without TLS.
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let config = OpenAIConfig::new()
        .with_api_key("sk-test")
        .with_api_base(format!("http://{}/v1", setup.address()));
    Client::with_config(config)
}

fn chat() -> CreateChatCompletionRequestArgs {
    let message = ChatCompletionRequestUserMessageArgs::default()
        .content("Hi")
        .build()
        .unwrap();
    let mut request = CreateChatCompletionRequestArgs::default();
    request
        .model("venice-uncensored")
        .messages([message.into()]);
    request
}

fn json_response(body: &Value) -> Vec<Step> {
    let headers = "content-type: application/json\r\n";
    vec![Step::response(200, headers, &body.to_string())]
}

#[tokio::test]
async fn chat_completion() {
    let setup = Setup::scripted(json_response(&json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": VENICE,
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": { "role": "assistant", "content": "Hello", "refusal": null },
        }],
    })))
    .await;
    let request = chat().build().unwrap();
    let response = client(&setup).chat().create(request).await.unwrap();
    assert_eq!(
        response.choices[0].message.content.as_deref(),
        Some("Hello")
    );
    let request = setup.upstream.request().await;
    assert_eq!(request.target(), "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some("Bearer sk-test"));
    let body: Value = serde_json::from_str(request.text()).unwrap();
    assert_eq!(body["model"], VENICE);
    assert_eq!(body["messages"][0]["content"], "Hi");
}

#[tokio::test]
async fn streamed_chat_completion() {
    let mut events = String::new();
    for word in ["Hel", "lo"] {
        let chunk = json!({
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": VENICE,
            "choices": [{ "index": 0, "delta": { "content": word }, "finish_reason": null }],
        });
        events += &format!("data: {chunk}\n\n");
    }
    let headers = "content-type: text/event-stream\r\n";
    let setup = Setup::scripted(vec![Step::response(
        200,
        headers,
        &(events + "data: [DONE]\n\n"),
    )])
    .await;
    let request = chat().build().unwrap();
    let mut stream = client(&setup).chat().create_stream(request).await.unwrap();
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text += chunk.unwrap().choices[0].delta.content.as_deref().unwrap();
    }
    assert_eq!(text, "Hello");
    let body: Value = serde_json::from_str(setup.upstream.request().await.text()).unwrap();
    assert_eq!(
        (&body["model"], &body["stream"]),
        (&json!(VENICE), &json!(true))
    );
}

#[tokio::test]
async fn embedding() {
    let setup = Setup::scripted(json_response(&json!({
        "object": "list", "model": "m",
        "data": [{ "object": "embedding", "index": 0, "embedding": [0.5, -1.0] }],
        "usage": { "prompt_tokens": 1, "total_tokens": 1 },
    })))
    .await;
    let request = CreateEmbeddingRequestArgs::default()
        .model("text-embedding-bge-m3")
        .input("Hi")
        .build()
        .unwrap();
    let response = client(&setup).embeddings().create(request).await.unwrap();
    assert_eq!(response.data[0].embedding, [0.5, -1.0]);
    let body: Value = serde_json::from_str(setup.upstream.request().await.text()).unwrap();
    assert_eq!(body["model"], format!("0x{}", "e3".repeat(32)));
}

#[tokio::test]
async fn transcription() {
    let setup = Setup::scripted(json_response(&json!({
        "text": "Hello", "usage": { "type": "duration", "seconds": 1.0 },
    })))
    .await;
    let audio = "RIFF".repeat(100_000);
    let request = CreateTranscriptionRequestArgs::default()
        .file(AudioInput::from_vec_u8(
            "a.wav".into(),
            audio.clone().into(),
        ))
        .model("whisper-1")
        .build()
        .unwrap();
    let response = client(&setup).audio().transcription().create(request).await;
    assert_eq!(response.unwrap().text, "Hello");
    let request = setup.upstream.request().await;
    assert_eq!(request.target(), "/v1/audio/transcriptions");
    let id = format!("0x{}", "cb".repeat(32));
    assert!(
        request
            .text()
            .contains(&format!("name=\"model\"\r\n\r\n{id}\r\n"))
    );
    assert!(request.text().contains(&audio));
}

#[tokio::test]
async fn models() {
    let setup = Setup::new().await;
    let models = client(&setup).models().list().await.unwrap();
    let names: Vec<_> = models.data.iter().map(|model| &*model.id).collect();
    assert!(names.contains(&"venice-uncensored"), "{names:?}");
}

#[tokio::test]
async fn errors_parse_as_api_errors() {
    let setup = Setup::with(|proxy| {
        proxy.env("DEFAULT_FALLBACK_MODEL", "");
    })
    .await;
    let request = chat().model("no-such-model").build().unwrap();
    let error = client(&setup).chat().create(request).await.unwrap_err();
    let async_openai::error::OpenAIError::ApiError(error) = error else {
        panic!("{error:?}");
    };
    let text = format!("{error:?}");
    assert!(text.contains("model_not_found"), "{text}");
}
