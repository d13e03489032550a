//! The function as a process, between a mock of the runtime API, a registry and an upstream.

mod events;
mod runtime_api;
mod server;

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use axum::body::Body;
use http::Response;
use http_body_util::Channel;
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use events::{alb_event, http_event, rest_event};
use runtime_api::{Outcome, RuntimeApi};
use server::Server;

/// Longer than any step of a test takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

const PATH: &str = "/v1/chat/completions";
const CODE: &str = "0x8a8a";
const MISTRAL: &str = "0x3131";
const WHISPER: &str = "0xcbcb";
const MODELS: &str = r#"{"models":[
    {"Id":"0x8a8a","Name":"code","ModelType":"LLM"},
    {"Id":"0x3131","Name":"mistral-31-24b","ModelType":"LLM"},
    {"Id":"0xcbcb","Name":"Whisper-1","ModelType":"STT"}
]}"#;

/// A form with a model and a binary file.
const FORM: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
    --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.ogg\"\r\n\
    Content-Type: audio/ogg\r\n\r\nOggS\x00\xff\r\n--b--\r\n";
const FORM_IN_BASE64: &str = "LS1iDQpDb250ZW50LURpc3Bvc2l0aW9uOiBmb3JtLWRhdGE7IG5hbWU9Im1vZGVsIg0KDQp3\
    aGlzcGVyLTENCi0tYg0KQ29udGVudC1EaXNwb3NpdGlvbjogZm9ybS1kYXRhOyBuYW1lPSJm\
    aWxlIjsgZmlsZW5hbWU9ImEub2dnIg0KQ29udGVudC1UeXBlOiBhdWRpby9vZ2cNCg0KT2dn\
    UwD/DQotLWItLQ0K";

/// The function with everything around it.
struct Setup {
    runtime: RuntimeApi,
    registry: Server,
    upstream: Server,
    _function: Child,
}

impl Setup {
    /// Starts a function whose registry serves [`MODELS`].
    async fn start(invoke_mode: Option<&str>) -> Self {
        let registry = Server::start(|| Response::new(Body::from(MODELS))).await;
        Self::with_registry(invoke_mode, registry).await
    }

    async fn with_registry(invoke_mode: Option<&str>, registry: Server) -> Self {
        let runtime = RuntimeApi::start().await;
        let upstream = Server::start(|| Response::new(Body::from("{}"))).await;
        let mut command = function(&runtime);
        command.env("UPSTREAM_URL", format!("{}/base", upstream.url()));
        command.env("ACTIVE_MODELS_URL", registry.url());
        if let Some(mode) = invoke_mode {
            command.env("INVOKE_MODE", mode);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self {
            _function: command.spawn().unwrap(),
            runtime,
            registry,
            upstream,
        }
    }

    async fn invoke(&self, event: Value) -> Outcome {
        self.runtime.invoke(event).await
    }

    /// Invokes the function. Returns its response.
    async fn respond(&self, event: Value) -> Value {
        let outcome = self.invoke(event).await;
        assert!(!outcome.is_error, "{}", outcome.rest().await);
        outcome.json().await
    }
}

/// The function in the environment of Lambda.
fn function(runtime: &RuntimeApi) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambda"));
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime.address().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "gateway")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        // Lambda has CA certificates; this machine may have none.
        .env(
            "SSL_CERT_FILE",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ca.pem"),
        )
        // No refreshes during a test.
        .env("MODELS_MISS_REFRESH_SECONDS", "3600")
        .env("MODELS_TTL_SECONDS", "7200")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","n":1e400}}"#)
}

#[tokio::test]
async fn routes_events_of_every_source_with_one_catalog() {
    let setup = Setup::start(None).await;
    let completion = format!(r#"{{"id":"1","model":"{CODE}","x":1e400}}"#);
    let body = completion.clone();
    setup.upstream.respond_with(move || {
        Response::builder()
            .header("content-type", "application/json")
            .header("set-cookie", "c=3")
            .header("keep-alive", "timeout=5")
            .header("connection", "x-private")
            .header("x-private", "1")
            .header("proxy-authenticate", "Basic")
            .body(Body::from(body.clone()))
            .unwrap()
    });

    // The first invocation, of an HTTP API with its stage in the path.
    let event = http_event("prod", &format!("/prod{PATH}"), &chat("code"));
    let response = setup.respond(event).await;
    let expected = json!({
        "statusCode": 200,
        "headers": {
            "content-type": "application/json",
            "x-model-id": CODE,
            "x-model-name": "code",
        },
        "multiValueHeaders": {},
        "cookies": ["c=3"],
        "body": completion.replace(CODE, "code"),
        "isBase64Encoded": false,
    });
    assert_eq!(without_date(response), expected);
    let request = setup.upstream.request().await;
    assert_eq!(request.head.method, "POST");
    assert_eq!(request.head.uri, *format!("/base{PATH}?beta=true"));
    assert_eq!(request.text(), chat(CODE));
    let length = chat(CODE).len().to_string();
    assert_eq!(request.header("content-length"), Some(length.as_str()));
    assert_eq!(request.header("authorization"), Some("Bearer key"));
    assert_eq!(request.header("cookie"), Some("a=1; b=2"));
    let host = setup.upstream.address().to_string();
    assert_eq!(request.header("host"), Some(host.as_str()));

    for event in [
        // A function URL.
        http_event("$default", PATH, &chat("CODE")),
        rest_event("prod", PATH, &chat("code")),
        // A path that begins like the stage.
        rest_event("v1", PATH, &chat("code")),
        alb_event(PATH, &chat("code")),
    ] {
        let response = setup.respond(event).await;
        assert_eq!(response["statusCode"], 200, "{response}");
        assert_eq!(response["body"], completion.replace(CODE, "code"));
        let request = setup.upstream.request().await;
        assert_eq!(request.head.uri.path(), format!("/base{PATH}"));
        assert_eq!(request.text(), chat(CODE));
        for name in ["connection", "x-private", "proxy-authorization"] {
            assert_eq!(request.header(name), None);
        }
    }

    // A form, encoded by API Gateway.
    let mut event = http_event("$default", "/v1/audio/transcriptions", FORM_IN_BASE64);
    event["isBase64Encoded"] = json!(true);
    event["headers"]["content-type"] = json!("multipart/form-data; boundary=b");
    event["headers"]["content-length"] = json!(FORM.len().to_string());
    assert_eq!(setup.respond(event).await["statusCode"], 200);
    let form = setup
        .upstream
        .request()
        .await
        .body
        .escape_ascii()
        .to_string();
    let expected = FORM.escape_ascii().to_string();
    assert_eq!(form, expected.replace("whisper-1", WHISPER));

    // A fallback.
    let event = http_event("$default", PATH, &chat("gpt-9"));
    let response = setup.respond(event).await;
    assert_eq!(response["headers"]["x-model-fallback"], "true");
    assert_eq!(response["headers"]["x-model-name"], "mistral-31-24b");
    assert_eq!(setup.upstream.request().await.text(), chat(MISTRAL));

    // A rejection.
    let event = rest_event("prod", PATH, r#"{"model":"code","model":"code"}"#);
    let response = setup.respond(event).await;
    assert_eq!(response["statusCode"], 400, "{response}");
    assert_eq!(error_code(&response), "duplicate_model");

    assert!(!setup.upstream.has_request().await);
    assert_eq!(setup.registry.count(), 1);
}

/// The response without the `Date` of the scripted upstream.
fn without_date(mut response: Value) -> Value {
    let headers = response["headers"].as_object_mut().unwrap();
    headers.remove("date");
    response
}

fn error_code(response: &Value) -> String {
    let error: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn response_stream_mode_streams() {
    let setup = Setup::start(Some("RESPONSE_STREAM")).await;
    let event = |model: &str| format!("data: {{\"model\":\"{model}\"}}\n\n");
    for _ in 0..2 {
        let (mut events, body) = Channel::<_, axum::Error>::new(8);
        setup.upstream.respond_once(
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(Body::new(body))
                .unwrap(),
        );
        events.send_data(event(CODE).into()).await.unwrap();
        let mut outcome = setup
            .invoke(http_event("$default", PATH, &chat("code")))
            .await;
        assert!(!outcome.is_error);
        let mode = &outcome.headers["lambda-runtime-function-response-mode"];
        assert_eq!(mode, "streaming");
        let kind = &outcome.headers["content-type"];
        assert_eq!(kind, "application/vnd.awslambda.http-integration-response");

        // The first event arrives before the upstream sends the others.
        let mut start = Vec::new();
        while !start.ends_with(b"\n\n") {
            start.extend_from_slice(&outcome.frame().await.expect("the first event"));
        }
        let start = String::from_utf8(start).unwrap();
        let (prelude, first) = start.split_once("\0\0\0\0\0\0\0\0").unwrap();
        let expected = json!({
            "statusCode": 200,
            "headers": {
                "content-type": "text/event-stream",
                "x-model-id": CODE,
                "x-model-name": "code",
            },
            "cookies": [],
        });
        let prelude: Value = serde_json::from_str(prelude).unwrap();
        assert_eq!(without_date(prelude), expected);
        assert_eq!(first, event("code"));
        let rest = format!("{}data: [DONE]\n\n", event(CODE));
        events.send_data(rest.into()).await.unwrap();
        drop(events);
        let rest = format!("{}data: [DONE]\n\n", event("code"));
        assert_eq!(outcome.rest().await, rest);
        assert_eq!(setup.upstream.request().await.text(), chat(CODE));
    }
    assert_eq!(setup.registry.count(), 1);
}

#[tokio::test]
async fn failed_fetch_at_start_is_retried_by_requests() {
    let registry = Server::start(|| Response::new(Body::from(MODELS))).await;
    let error = Response::builder().status(500).body(Body::empty());
    registry.respond_once(error.unwrap());
    let setup = Setup::with_registry(None, registry).await;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let response = setup
            .respond(http_event("$default", PATH, &chat("code")))
            .await;
        if response["statusCode"] == 200 {
            break;
        }
        assert_eq!(response["statusCode"], 503, "{response}");
        assert!(response["headers"]["retry-after"].is_string(), "{response}");
        assert!(Instant::now() < deadline, "{response}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(setup.upstream.request().await.text(), chat(CODE));
    assert_eq!(setup.registry.count(), 2);
}

#[tokio::test]
async fn survives_a_failing_upstream() {
    let setup = Setup::start(None).await;
    let event = || http_event("$default", PATH, &chat("code"));

    setup.upstream.respond_with(server::disconnect);
    let response = setup.respond(event()).await;
    assert_eq!(response["statusCode"], 502, "{response}");
    assert_eq!(response["headers"]["content-type"], "application/json");
    assert_eq!(error_code(&response), "upstream_unavailable");

    let (mut frames, body) = Channel::<_, axum::Error>::new(1);
    let truncated = Response::builder().header("content-length", "99999999");
    let truncated = truncated.body(Body::new(body)).unwrap();
    setup.upstream.respond_once(truncated);
    let send = async {
        // More than the server buffers, so that the client has received the head.
        for _ in 0..32 {
            frames.send_data(vec![b'x'; 1 << 16].into()).await.unwrap();
        }
        frames.abort(axum::Error::new("truncated"));
    };
    let (outcome, ()) = tokio::join!(setup.invoke(event()), send);
    assert!(outcome.is_error, "a truncated response looks complete");

    setup
        .upstream
        .respond_with(|| Response::new(Body::from("{}")));
    let response = setup.respond(event()).await;
    assert_eq!(response["statusCode"], 200);
    assert_eq!(response["body"], "{}");
}

#[tokio::test]
async fn invalid_setting_is_an_error_that_names_the_variable() {
    let runtime = RuntimeApi::start().await;
    for (variable, value) in [
        ("UPSTREAM_URL", ""),
        ("UPSTREAM_URL", "ftp://127.0.0.1"),
        ("INVOKE_MODE", "STREAM"),
        ("MODELS_TTL_SECONDS", "five"),
    ] {
        let mut command = function(&runtime);
        command.env("UPSTREAM_URL", "http://127.0.0.1:9");
        command.env("ACTIVE_MODELS_URL", "http://127.0.0.1:9/active_models.json");
        let output = timeout(TIMEOUT, command.env(variable, value).output()).await;
        let Output { status, stderr, .. } = output.expect("the process did not end").unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(!status.success(), "{stderr}");
        assert!(stderr.contains(variable), "{stderr}");
    }
}
