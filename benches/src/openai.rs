//! Requests and responses in the format of OpenAI's API.

use http::Request;

/// The client's API key.
pub const KEY: &str = "sk-0123456789abcdef";

/// The models by name, with their IDs. Requests name the first.
pub const MODELS: [(&str, &str); 2] = [
    (
        "venice-uncensored",
        "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d",
    ),
    (
        "mistral-31-24b",
        "0x8f4e0d4f4b7e0b9f1d2c3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f",
    ),
];

/// Returns a catalog of [`MODELS`].
pub fn catalog() -> String {
    let entries = MODELS.map(|(name, id)| format!(r#"{{"Name":"{name}","Id":"{id}"}}"#));
    format!(r#"{{"models":[{}]}}"#, entries.join(","))
}

/// Returns a chat request as an SDK sends it.
pub fn sdk_request<B>(body: B) -> Request<B> {
    Request::post("/v1/chat/completions")
        .header("host", "gateway.example")
        .header("user-agent", "OpenAI/Python 2.8.1")
        .header("accept", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(body)
        .expect("a valid request")
}

/// Returns the body of a chat request of about this length, the model first.
pub fn chat(len: usize, is_stream: bool) -> String {
    let start = format!(
        r#"{{"model": "{}", "messages": [{{"role": "user", "content": ""#,
        MODELS[0].0
    );
    let end = format!(r#""}}], "temperature": 0.7, "stream": {is_stream}}}"#);
    document(&start, &end, len)
}

/// Returns the body of a chat response of about this length.
pub fn completion(len: usize) -> String {
    let start = format!(
        r#"{{"id":"chatcmpl-CkZ2mQxT0b9yVn4LwR7sJd1aPe","object":"chat.completion","created":1764201600,"model":"{}","choices":[{{"index":0,"message":{{"role":"assistant","content":""#,
        MODELS[0].1
    );
    let end = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":24000,"total_tokens":24031}}"#;
    document(&start, end, len)
}

/// The last event of a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// Returns the 50 events of a chat response.
pub fn events() -> Vec<String> {
    let words = (0..49).map(|index| event(&format!(" word{index}")));
    words.chain([DONE.to_owned()]).collect()
}

/// Returns an event of a chat response with this content, escaped for a JSON string.
pub fn event(content: &str) -> String {
    let id = MODELS[0].1;
    format!(
        "data: {{\"id\":\"chatcmpl-CkZ2mQxT0b9yVn4LwR7sJd1aPe\",\"object\":\"chat.completion.chunk\",\
         \"created\":1764201600,\"model\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\
         \"{content}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

fn document(start: &str, end: &str, len: usize) -> String {
    let line = r"The swallow flies south with the sun.\n";
    let lines = len.saturating_sub(start.len() + end.len()) / line.len();
    [start, &line.repeat(lines), end].concat()
}
