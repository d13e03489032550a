//! The Lambda example as a process, with a stand-in of the runtime API.

use std::{process::Stdio, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::support::{
    client::PATIENCE,
    process::{command, run},
    registry_server::{RegistryServer, Reply},
    runtime_api::{Outcome, RuntimeApi},
    upstream::{Act, Upstream},
};

const MODELS: &str = include_str!("support/models.json");
const MISTRAL: &str = "0x3131313131313131313131313131313131313131313131313131313131313131";
const CODE: &str = "0x8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a";
const WHISPER: &str = "0xcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcbcb";

/// A form with the model and a file that is no text.
const FORM: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
    --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.ogg\"\r\n\
    Content-Type: audio/ogg\r\n\r\nOggS\x00\xff\r\n--b--\r\n";
const FORM_IN_BASE64: &str = "LS1iDQpDb250ZW50LURpc3Bvc2l0aW9uOiBmb3JtLWRhdGE7IG5hbWU9Im1vZGVsIg0KDQp3\
    aGlzcGVyLTENCi0tYg0KQ29udGVudC1EaXNwb3NpdGlvbjogZm9ybS1kYXRhOyBuYW1lPSJm\
    aWxlIjsgZmlsZW5hbWU9ImEub2dnIg0KQ29udGVudC1UeXBlOiBhdWRpby9vZ2cNCg0KT2dn\
    UwD/DQotLWItLQ0K";

/// The function, what invokes it, and what it talks to.
struct Setup {
    runtime: RuntimeApi,
    registry: RegistryServer,
    upstream: Upstream,
    _function: Child,
}

impl Setup {
    async fn new(invoke_mode: Option<&str>, models: impl IntoIterator<Item = Reply>) -> Self {
        let runtime = RuntimeApi::start().await;
        let registry = RegistryServer::start(Reply::new(200, MODELS).etag("\"1\"")).await;
        for reply in models {
            registry.push(reply);
        }
        let upstream = Upstream::start().await;
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

    /// Invokes the function; its response.
    async fn respond(&self, event: Value) -> Value {
        let outcome = self.invoke(event).await;
        assert!(!outcome.is_error, "{}", outcome.rest().await);
        outcome.json().await
    }
}

/// The example in the environment that Lambda gives it.
fn function(runtime: &RuntimeApi) -> Command {
    let mut command = command("lambda");
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("AWS_LAMBDA_") {
            command.env_remove(variable);
        }
    }
    command.env_remove("INVOKE_MODE");
    command.env("AWS_LAMBDA_RUNTIME_API", runtime.address().to_string());
    command.env("AWS_LAMBDA_FUNCTION_NAME", "gateway");
    command.env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    // There as it is in Lambda, whatever this machine trusts.
    let certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
    command.env("SSL_CERT_FILE", certificates);
    // However slow this machine is, an unknown name fetches no second list.
    command.env("MODELS_MISS_REFRESH_SECONDS", "3600");
    command.env("MODELS_TTL_SECONDS", "7200");
    command
}

/// An event of an HTTP API or of a function URL: API Gateway's format 2.0.
fn http_event(stage: &str, path: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "beta=true",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "accept": "*/*",
            "authorization": "Bearer key",
            "content-length": body.len().to_string(),
            "content-type": "application/json",
            "host": "id.execute-api.eu-west-1.amazonaws.com",
            "user-agent": "OpenAI/Python 1.99.0",
            "x-amzn-trace-id": "Root=1-5eb33c07-de25b420912dee103a5db434",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": { "beta": "true" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "id",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "OpenAI/Python 1.99.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": "10/Mar/2026:05:16:23 +0000",
            "timeEpoch": 1_773_119_783_000_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// An event of a REST API: API Gateway's format 1.0.
fn rest_event(stage: &str, path: &str, body: &str) -> Value {
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "POST",
        "headers": {
            "Content-Type": "application/json",
            "Host": "id.execute-api.eu-west-1.amazonaws.com",
            "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": {
            "Content-Type": ["application/json"],
            "Host": ["id.execute-api.eu-west-1.amazonaws.com"],
            "X-Forwarded-Proto": ["https"],
        },
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": { "proxy": path.trim_start_matches('/') },
        "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.eu-west-1.amazonaws.com",
            "httpMethod": "POST",
            "identity": { "sourceIp": "192.0.2.1", "userAgent": "curl/8.5.0" },
            "path": format!("/{stage}{path}"),
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTimeEpoch": 1_773_119_783_000_u64,
            "resourceId": "us4z18",
            "resourcePath": "/{proxy+}",
            "stage": stage,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// An event of an Application Load Balancer.
fn alb_event(path: &str, body: &str) -> Value {
    json!({
        "requestContext": { "elb": {
            "targetGroupArn":
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/gateway/6d0ecf83",
        }},
        "httpMethod": "POST",
        "path": path,
        "queryStringParameters": {},
        "headers": {
            "connection": "keep-alive, x-private",
            "x-private": "1",
            "proxy-authorization": "Basic eA==",
            "content-type": "application/json",
            "host": "lb-846800462.eu-west-1.elb.amazonaws.com",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","n":1e400}}"#)
}

#[tokio::test]
async fn all_invocations_share_one_list_of_models() {
    let setup = Setup::new(None, []).await;
    let answer = format!(r#"{{"id":"1","model":"{CODE}","x":1e400}}"#);
    let json = "content-type: application/json\r\nset-cookie: c=3\r\n\
                keep-alive: timeout=5\r\nconnection: x-private\r\nx-private: 1\r\n\
                proxy-authenticate: Basic\r\n";
    setup.upstream.script(vec![Act::answer(200, json, &answer)]);

    // The cold one, from an HTTP API whose stage is in the path.
    let event = http_event("prod", "/prod/v1/chat/completions", &chat("code"));
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
        "body": answer.replace(CODE, "code"),
        "isBase64Encoded": false,
    });
    assert_eq!(response, expected);
    let request = setup.upstream.request().await;
    assert_eq!(request.method(), "POST");
    assert_eq!(request.target(), "/base/v1/chat/completions?beta=true");
    assert_eq!(request.text(), chat(CODE));
    let length = chat(CODE).len().to_string();
    assert_eq!(request.header("content-length"), Some(length.as_str()));
    assert_eq!(request.header("authorization"), Some("Bearer key"));
    assert_eq!(request.header("cookie"), Some("a=1; b=2"));
    let host = setup.upstream.address().to_string();
    assert_eq!(request.header("host"), Some(host.as_str()));

    // Warm ones: a function URL, a REST API with its stage, and one whose paths
    // begin in the same way as its stage, a load balancer.
    let path = "/v1/chat/completions";
    for event in [
        http_event("$default", path, &chat("CODE")),
        rest_event("prod", path, &chat("code")),
        rest_event("v1", path, &chat("code")),
        alb_event(path, &chat("code")),
    ] {
        let response = setup.respond(event).await;
        assert_eq!(response["statusCode"], 200, "{response}");
        assert_eq!(response["body"], answer.replace(CODE, "code"));
        let request = setup.upstream.request().await;
        assert_eq!(
            request.head.word(1).split('?').next(),
            Some("/base/v1/chat/completions")
        );
        assert_eq!(request.text(), chat(CODE));
        for name in ["connection", "x-private", "proxy-authorization"] {
            assert_eq!(request.header(name), None);
        }
    }

    // A form, which API Gateway encodes.
    let mut event = http_event("$default", "/v1/audio/transcriptions", FORM_IN_BASE64);
    event["isBase64Encoded"] = json!(true);
    event["headers"]["content-type"] = json!("multipart/form-data; boundary=b");
    event["headers"]["content-length"] = json!(FORM.len().to_string());
    assert_eq!(setup.respond(event).await["statusCode"], 200);
    let request = setup.upstream.request().await;
    assert!(request.payload.is_complete);
    let form = request.payload.bytes.escape_ascii().to_string();
    let expected = FORM.escape_ascii().to_string();
    assert_eq!(form, expected.replace("whisper-1", WHISPER));

    // A fallback is not silent.
    let response = setup
        .respond(http_event("$default", path, &chat("gpt-9")))
        .await;
    assert_eq!(response["headers"]["x-model-fallback"], "true");
    assert_eq!(response["headers"]["x-model-name"], "mistral-31-24b");
    assert_eq!(setup.upstream.request().await.text(), chat(MISTRAL));

    // A rejection is a response like any other.
    let event = rest_event("prod", path, r#"{"model":"code","model":"code"}"#);
    let response = setup.respond(event).await;
    assert_eq!(response["statusCode"], 400, "{response}");
    let error: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "duplicate_model");

    assert!(!setup.upstream.has_request().await);
    assert_eq!(setup.registry.requests().len(), 1);
}

#[tokio::test]
async fn answers_stream_as_they_come_when_the_function_does() {
    let setup = Setup::new(Some("RESPONSE_STREAM"), []).await;
    let permits = Arc::new(Semaphore::new(0));
    let event = |id: &str| format!("data: {{\"model\":\"{id}\"}}\n\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", event(CODE).len(), event(CODE));
    setup.upstream.script(vec![
        Act::send(&format!("{head}{chunk}")),
        Act::Wait(Arc::clone(&permits)),
        Act::send(&format!("{chunk}e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")),
    ]);
    for _ in 0..2 {
        let request = http_event("$default", "/v1/chat/completions", &chat("code"));
        let mut outcome = setup.invoke(request).await;
        assert!(!outcome.is_error);
        let mode = &outcome.headers["lambda-runtime-function-response-mode"];
        assert_eq!(mode, "streaming");
        let kind = &outcome.headers["content-type"];
        assert_eq!(kind, "application/vnd.awslambda.http-integration-response");

        // The first event is there while the upstream waits with the others.
        let mut begin = Vec::new();
        while !begin.ends_with(b"\n\n") {
            begin.extend_from_slice(&outcome.frame().await.expect("the first event"));
        }
        let begin = String::from_utf8(begin).unwrap();
        let (prelude, first) = begin.split_once("\0\0\0\0\0\0\0\0").unwrap();
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
        assert_eq!(prelude, expected);
        assert_eq!(first, event("code"));
        permits.add_permits(1);
        let rest = format!("{}data: [DONE]\n\n", event("code"));
        assert_eq!(outcome.rest().await, rest);
        assert_eq!(setup.upstream.request().await.text(), chat(CODE));
    }
    assert_eq!(setup.registry.requests().len(), 1);
}

#[tokio::test]
async fn a_list_that_could_not_be_fetched_at_the_start_is_fetched_later() {
    let setup = Setup::new(None, [Reply::status(500)]).await;
    let event = || http_event("$default", "/v1/chat/completions", &chat("code"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = setup.respond(event()).await;
        if response["statusCode"] == 200 {
            break;
        }
        assert_eq!(response["statusCode"], 503, "{response}");
        assert!(response["headers"]["retry-after"].is_string(), "{response}");
        assert!(Instant::now() < deadline, "{response}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(setup.upstream.request().await.text(), chat(CODE));
    assert_eq!(setup.registry.requests().len(), 2);
}

#[tokio::test]
async fn an_upstream_that_fails_does_not_end_the_function() {
    let setup = Setup::new(None, []).await;
    let event = || http_event("$default", "/v1/chat/completions", &chat("code"));

    setup.upstream.script(vec![Act::Close]);
    let response = setup.respond(event()).await;
    assert_eq!(response["statusCode"], 502, "{response}");
    assert_eq!(response["headers"]["content-type"], "application/json");
    let error: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "upstream_unavailable");

    let cut_off = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    setup.upstream.script(vec![Act::send(cut_off), Act::Close]);
    let outcome = setup.invoke(event()).await;
    assert!(outcome.is_error, "never half an answer for a whole one");

    setup.upstream.script(vec![Act::answer(200, "", "{}")]);
    let response = setup.respond(event()).await;
    assert_eq!(
        (&response["statusCode"], &response["body"]),
        (&json!(200), &json!("{}"))
    );
}

#[tokio::test]
async fn a_bad_setting_is_an_error_that_names_the_variable() {
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
        let remains = run(command.env(variable, value)).await;
        assert!(!remains.status.success(), "{remains:?}");
        assert!(remains.stderr.contains(variable), "{remains:?}");
    }
}
