//! The admin routes.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{CHAT, MISTRAL, Setup, VENICE, until};
use test_support::{
    MODELS,
    client::{get, post, read_response, send},
    registry_server::{RegistryServer, Reply},
};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// The keys of the registry's statistics.
const STATS: [&str; 14] = [
    "age_seconds",
    "ambiguous_names",
    "cache_duration",
    "cache_expiry",
    "cached_blockchain_ids",
    "cached_models",
    "fetches",
    "last_error",
    "last_etag",
    "last_hash",
    "refreshes_changed",
    "refreshes_failed",
    "refreshes_unchanged",
    "seconds_until_expiry",
];

#[tokio::test]
async fn models_are_listed_in_openai_format() {
    let setup = Setup::new().await;
    let list = get(setup.address(), "/v1/models").await;
    assert_eq!(list.header("content-type"), Some("application/json"));
    let list = list.json();
    assert_eq!(
        keys(&list),
        ["data", "first_id", "has_more", "last_id", "object"]
    );
    assert_eq!(list["object"], "list");
    let data = list["data"].as_array().unwrap();
    let venice = json!({
        "id": "venice-uncensored",
        "object": "model",
        "type": "model",
        "display_name": "venice-uncensored",
        "created": 1_748_370_689,
        "created_at": "2025-05-27T18:31:29Z",
        "owned_by": "0x23d25ead101cb9bfdd7970176597e72da344557e",
        "blockchainID": VENICE,
        "tags": ["venice-uncensored"],
        "modelType": "LLM",
    });
    assert_eq!(data[0], venice);
    let names: Vec<_> = data
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 10, "{names:?}");
    let ambiguous: Vec<_> = data
        .iter()
        .filter(|model| model["id"] == "Llama 7.1-dev")
        .collect();
    assert_eq!(ambiguous.len(), 1);
    assert_eq!(ambiguous[0]["created"], 1_742_424_888);
    for model in data {
        assert!(
            model["owned_by"].is_string() && model["created"].is_u64(),
            "{model}"
        );
    }
    let query = "/api/v1/models?limit=1";
    assert_eq!(get(setup.address(), query).await.json(), list);
}

#[tokio::test]
async fn other_methods_at_admin_routes_go_upstream() {
    let setup = Setup::new().await;
    for path in [
        "/v1/models",
        "/api/v1/models",
        "/v1/models/code",
        "/health",
        "/health/models",
        "/metrics",
    ] {
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let response = send(setup.address(), head).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.body.length, 0);
        assert_ne!(response.header("content-length"), Some("0"));
        assert!(!setup.upstream.has_request().await);

        let response = post(setup.address(), path, r#"{"model":"venice-uncensored"}"#).await;
        assert_eq!(response.status(), 200);
        let request = setup.upstream.request().await;
        assert_eq!((request.method(), request.target()), ("POST", path));
        assert_eq!(request.text(), format!(r#"{{"model":"{VENICE}"}}"#));
    }
}

#[tokio::test]
async fn single_models_are_found_by_name() {
    let setup = Setup::new().await;
    let name = "meta-llama/Llama-3.2-3B-Instruct";
    for path in ["/v1/models", "/api/v1/models"] {
        let response = get(setup.address(), &format!("{path}/{name}")).await;
        assert!(response.header("etag").is_some());
        let response = response.json();
        assert_eq!(
            (&response["id"], &response["object"]),
            (&json!(name), &json!("model"))
        );
        let response = get(setup.address(), &format!("{path}/no-such-model")).await;
        assert_eq!(response.error(), (404, "model_not_found".to_owned()));
    }
    assert!(!setup.upstream.has_request().await);
}

#[tokio::test]
async fn tasks_of_connections_are_counted() {
    const CONNECTIONS: usize = 20;

    let setup = Setup::new().await;
    let tasks = async || {
        let page = get(setup.address(), "/metrics").await.text();
        let mut lines = page.lines();
        let count = lines.find_map(|line| line.strip_prefix("proxy_tasks "));
        count.unwrap().parse::<usize>().unwrap()
    };
    setup.warm_up().await;
    // The process itself has only a few.
    let many = tasks().await + CONNECTIONS / 2;
    let mut kept = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = BufReader::new(TcpStream::connect(setup.address()).await.unwrap());
        let request = b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n";
        stream.write_all(request).await.unwrap();
        read_response(&mut stream).await.unwrap();
        kept.push(stream);
    }
    assert!(tasks().await >= many);
    drop(kept);
    until("the tasks have ended", async || tasks().await < many).await;
}

#[tokio::test]
async fn health_reports_the_catalog() {
    let setup = Setup::new().await;
    let response = get(setup.address(), "/health").await;
    assert_eq!(response.status(), 200);
    let health = response.json();
    assert_eq!(health["status"], "healthy");
    let service = &health["model_service"];
    let expected = [
        "active_models_url",
        "cache_info",
        "default_fallback_model",
        "model_count",
        "status",
    ];
    assert_eq!(keys(service), expected);
    assert_eq!(service["status"], "healthy");
    assert_eq!(service["model_count"], 11);
    assert_eq!(service["active_models_url"], setup.registry.url());
    assert_eq!(service["default_fallback_model"], "mistral-31-24b");
    assert_eq!(keys(&service["cache_info"]), STATS);
}

#[tokio::test]
async fn health_of_models_has_all_details() {
    let setup = Setup::with(|proxy| {
        proxy.env("DEFAULT_FALLBACK_TTS_MODEL", "no-such-voice");
        proxy.env("DEFAULT_FALLBACK_STT_MODEL", "");
        proxy.env("MODELS_TTL_SECONDS", "7.5");
    })
    .await;
    let health = get(setup.address(), "/health/models").await.json();
    assert_eq!(health["status"], "healthy");
    let config = json!({
        "active_models_url": setup.registry.url(),
        "default_fallback_model": "mistral-31-24b",
        "default_fallback_embeddings_model": "text-embedding-bge-m3",
        "default_fallback_tts_model": "no-such-voice",
        "default_fallback_stt_model": null,
        "cache_duration_seconds": 7.5,
        "fetch_timeout_seconds": 10.0,
        "miss_refresh_seconds": 10.0,
    });
    assert_eq!(health["service_config"], config);
    let counts = json!({ "total_models": 11, "active_mappings": 10, "blockchain_ids": 10 });
    assert_eq!(health["model_counts"], counts);
    assert_eq!(health["available_models"].as_array().unwrap().len(), 10);
    let results = json!({
        "venice-uncensored": { "status": "resolved", "blockchain_id": VENICE },
        "mistral-31-24b": { "status": "resolved", "blockchain_id": MISTRAL },
        "text-embedding-bge-m3": {
            "status": "resolved",
            "blockchain_id": format!("0x{}", "e3".repeat(32)),
        },
        "no-such-voice": { "status": "not_found", "blockchain_id": null },
    });
    assert_eq!(health["test_results"], results);

    let stats = &health["cache_stats"];
    assert_eq!(keys(stats), STATS);
    assert_eq!(stats["cached_models"], 11);
    assert_eq!(stats["cached_blockchain_ids"], 10);
    assert_eq!(stats["last_etag"], "\"models-1\"");
    assert_eq!(stats["last_hash"].as_str().unwrap().len(), 64);
    assert_eq!(stats["cache_duration"], 7.5);
    assert_eq!(stats["ambiguous_names"], 1);
    assert_eq!(stats["refreshes_changed"], 1);
    assert_eq!(stats["last_error"], Value::Null);
    let expiry = stats["cache_expiry"].as_str().unwrap();
    assert!(
        expiry.starts_with("20") && expiry.ends_with('Z'),
        "{expiry}"
    );
    assert!(stats["age_seconds"].is_f64() && stats["seconds_until_expiry"].is_f64());
}

#[tokio::test]
async fn metrics_have_no_text_of_clients_and_valid_lines() {
    let hostile = json!("a\"} 1\nforged{b=\"\\\r\n").to_string();
    let catalog = MODELS.replace("\"code\"", &hostile);
    let registry = RegistryServer::start(Reply::new(200, catalog)).await;
    let setup = Setup::with(|proxy| {
        proxy.env("ACTIVE_MODELS_URL", registry.url());
    })
    .await;
    post(setup.address(), CHAT, format!(r#"{{"model":{hostile}}}"#)).await;
    post(setup.address(), CHAT, r#"{"model":"venice-uncensored"}"#).await;
    post(setup.address(), CHAT, r#"{"model":"no-such-model-{}"}"#).await;
    post(setup.address(), CHAT, r#"{"model":"a","model":"b"}"#).await;
    let metrics = get(setup.address(), "/metrics").await;
    assert_eq!(metrics.status(), 200);
    let content_type = metrics.header("content-type");
    assert_eq!(
        content_type,
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = metrics.text();
    for line in [
        "# TYPE model_routing_requests_total counter",
        r#"model_routing_requests_total{outcome="name",model="venice-uncensored"} 1"#,
        r#"model_routing_requests_total{outcome="fallback",model="mistral-31-24b"} 1"#,
        r#"model_routing_requests_total{outcome="rejected",model="unknown"} 1"#,
        r#"model_routing_rejections_total{code="duplicate_model"} 1"#,
        r#"model_registry_refreshes_total{result="changed"} 1"#,
        "# TYPE model_routing_layer_seconds histogram",
        "model_routing_layer_seconds_count 4",
        "model_routing_held_bytes 0",
        "model_registry_models ",
        "model_registry_age_seconds ",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("no-such-model"), "{text}");
    assert!(text.contains("forged"), "{text}");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(
                ["gen_ai_", "model_", "proxy_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix)),
                "{line}"
            );
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

/// Starts a proxy with an admin listener, and returns the listener's address.
pub(super) async fn with_admin_listener() -> (Setup, SocketAddr) {
    let mut setup = Setup::with(|proxy| {
        proxy.args(["--admin-listen", "127.0.0.1:0"]);
    })
    .await;
    let admin = admin_address(&mut setup).await;
    (setup, admin)
}

/// Reads the address of the admin listener from the proxy's output.
pub(super) async fn admin_address(setup: &mut Setup) -> SocketAddr {
    let line = setup.proxy.next_line().await;
    let address = line.strip_prefix("admin on http://").unwrap();
    address.parse().unwrap()
}

#[tokio::test]
async fn admin_listener_takes_the_internal_routes() {
    let (setup, admin) = with_admin_listener().await;
    let health = get(setup.address(), "/health").await;
    assert_eq!(health.status(), 200);
    assert_eq!(health.json(), json!({ "status": "healthy" }));
    for path in ["/metrics", "/health/models"] {
        assert_eq!(get(setup.address(), path).await.text(), r#"{"ok":true}"#);
        assert_eq!(setup.upstream.request().await.target(), path);
    }
    let health = get(admin, "/health").await.json();
    assert_eq!(health["model_service"]["model_count"], 11);
    let details = get(admin, "/health/models").await.json();
    assert_eq!(details["model_counts"]["total_models"], 11);
    assert!(get(admin, "/metrics").await.text().contains("proxy_tasks"));
    let chat = post(admin, CHAT, r#"{"model":"code"}"#).await;
    assert_eq!(chat.error(), (404, "not_found".to_owned()));
    assert!(!setup.upstream.has_request().await);
    // The model list is public.
    assert_eq!(get(setup.address(), "/v1/models").await.status(), 200);
}

#[tokio::test]
async fn health_has_its_status_without_a_catalog() {
    let registry = RegistryServer::start(Reply::status(500)).await;
    let setup = Setup::with(|proxy| {
        proxy.args(["--admin-listen", "127.0.0.1:0"]);
        proxy.env("ACTIVE_MODELS_URL", registry.url());
    })
    .await;
    let health = get(setup.address(), "/health").await;
    assert_eq!(health.status(), 503);
    assert_eq!(health.json(), json!({ "status": "unhealthy" }));
}

#[tokio::test]
async fn listed_names_are_limited() {
    let models: Vec<_> = (0..1500)
        .map(|i| json!({ "Name": format!("model-{i}"), "Id": format!("0x{i}") }))
        .collect();
    let catalog = json!({ "models": models }).to_string();
    let registry = RegistryServer::start(Reply::new(200, catalog)).await;
    let setup = Setup::with(|proxy| {
        proxy.env("ACTIVE_MODELS_URL", registry.url());
    })
    .await;
    let details = get(setup.address(), "/health/models").await.json();
    assert_eq!(details["model_counts"]["active_mappings"], 1500);
    let names = details["available_models"].as_array().unwrap();
    assert_eq!(names.len(), 1000);
    assert_eq!(names[999], "model-999");
}
