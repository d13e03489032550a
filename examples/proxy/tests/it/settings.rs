//! Flags and environment variables.

use tokio::net::TcpListener;

use super::{CHAT, Setup, VENICE, models, proxy};
use test_support::{
    client::{get, post, post_chunked},
    process::{Process, run},
    registry_server::RegistryServer,
    upstream::Step,
};

#[tokio::test]
async fn errors_name_the_variable_or_the_flag() {
    for (variable, value) in [
        ("LISTEN_ADDR", ""),
        ("LISTEN_ADDR", "8080"),
        ("LISTEN_ADDR", "127.0.0.1"),
        ("LISTEN_ADDR", "127.0.0.1:99999"),
        ("UPSTREAM_URL", ""),
        ("UPSTREAM_URL", "example.com"),
        ("UPSTREAM_URL", "ftp://example.com"),
        ("UPSTREAM_URL", "http://"),
        ("UPSTREAM_URL", "http://user:secret@example.com"),
        ("UPSTREAM_URL", "http://example.com/?key=secret"),
        ("ACTIVE_MODELS_URL", ""),
        ("ACTIVE_MODELS_URL", "models.json"),
        ("ACTIVE_MODELS_URL", "http://user:secret@:80/"),
        ("MODELS_TTL_SECONDS", "five"),
        ("MODELS_TTL_SECONDS", "0"),
        ("MODELS_FETCH_TIMEOUT_SECONDS", "-1"),
        ("MODELS_FETCH_TIMEOUT_SECONDS", ""),
        ("MODELS_MISS_REFRESH_SECONDS", "NaN"),
        ("MAX_HELD_BYTES", "0"),
        ("MAX_TOTAL_HELD_BYTES", "64M"),
        ("HELD_TIMEOUT_SECONDS", "0"),
        ("UNKNOWN_MODEL", "guess"),
        ("MISSING_MODEL", "suggest"),
        ("MODEL_ALIASES", "a"),
        ("MODEL_ALIASES", "*a*=b"),
        ("MODEL_ENDPOINTS", "ask=llm"),
        ("MODEL_ENDPOINTS", "/ask=image"),
        ("RESPONSE_MODEL", "catalog"),
        ("RUST_LOG", "proxy=loud"),
        ("RUST_LOG", "[request{id=1}]=debug"),
        ("LOG_FORMAT", "xml"),
    ] {
        let output = run(proxy().env(variable, value)).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{variable}={value}: {output:?}"
        );
        assert_eq!(output.stdout, "");
        assert!(output.stderr.contains(variable), "{output:?}");
        assert!(!output.stderr.contains("secret"), "{output:?}");
    }
    for (flag, value) in [
        ("--listen", "nowhere"),
        ("--admin-listen", "nowhere"),
        ("--upstream", "nowhere"),
        ("--models-url", "nowhere"),
        ("--upstream-connect-timeout", "0"),
        ("--upstream-first-byte-timeout", "soon"),
        ("--upstream-idle-timeout", "1e99"),
        ("--client-idle-timeout", ""),
        ("--drain-timeout", "inf"),
        ("--max-held-bytes", "1.5"),
        ("--max-connections", "0"),
        ("--cors-origin", "app.example.com"),
        ("--cors-origin", "https://app.example.com/"),
        ("--cors-origin", "https://user@app.example.com"),
        ("--max-requests", "many"),
        ("--unknown-model", "guess"),
        ("--missing-model", "suggest"),
        ("--alias", "a"),
        ("--alias", "*a*=b"),
        ("--endpoint", "/ask=image"),
        ("--endpoint", "ask=llm"),
        ("--held-timeout", "never"),
        ("--no-such-flag", "1"),
    ] {
        let output = run(proxy().args([flag, value])).await;
        assert_eq!(output.status.code(), Some(2), "{flag} {value}: {output:?}");
        assert_eq!(output.stdout, "");
        assert!(output.stderr.contains(flag), "{output:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn values_must_be_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    for variable in ["LISTEN_ADDR", "UPSTREAM_URL", "DEFAULT_FALLBACK_MODEL"] {
        let output = run(proxy().env(variable, OsStr::from_bytes(b"\xff"))).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stderr.contains(variable), "{output:?}");
    }
}

#[tokio::test]
async fn a_used_port_is_an_error_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = run(proxy().args(["--listen", &address])).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains(&address), "{output:?}");
}

#[tokio::test]
async fn help_lists_settings_without_values() {
    let mut command = proxy();
    command.env("UPSTREAM_URL", "http://user:secret@example.com");
    let output = run(command.arg("--help")).await;
    assert!(output.status.success(), "{output:?}");
    for setting in [
        "--listen",
        "UPSTREAM_URL",
        "ACTIVE_MODELS_URL",
        "MODELS_TTL_SECONDS",
        "SSL_CERT_FILE",
    ] {
        assert!(output.stdout.contains(setting), "{setting}");
    }
    assert!(!output.stdout.contains("secret"));
}

#[tokio::test]
async fn version_is_that_of_the_package() {
    let output = run(proxy().arg("--version")).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        output.stdout,
        concat!("proxy ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[tokio::test]
async fn flags_take_precedence() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--listen", "localhost:0"]);
        proxy.env("LISTEN_ADDR", "nonsense");
    })
    .await;
    assert!(setup.address().ip().is_loopback());
    assert_ne!(setup.address().port(), 0);
    let health = get(setup.address(), "/health").await.json();
    assert_eq!(
        health["model_service"]["active_models_url"],
        setup.registry.url()
    );
}

#[tokio::test]
async fn held_bytes_are_limited() {
    for (variable, flag) in [
        ("MAX_HELD_BYTES", "--max-held-bytes"),
        ("MAX_TOTAL_HELD_BYTES", "--max-total-held-bytes"),
    ] {
        let setup = Setup::with(|proxy| {
            proxy.env(variable, "1").args([flag, "100"]);
        })
        .await;
        for (padding, expected) in [(50, 200), (100, 413)] {
            let prefix = format!(r#"{{"a":"{}""#, "x".repeat(padding));
            let chunks = [prefix.as_bytes(), br#","model":"code"}"#];
            let json = [("content-type", "application/json")];
            let response = post_chunked(setup.address(), CHAT, &json, &chunks).await;
            assert_eq!(response.status(), expected, "{variable}");
        }
    }
}

#[tokio::test]
async fn a_models_url_works_with_the_demo_upstream() {
    let registry = RegistryServer::start(models()).await;
    let mut command = proxy();
    command.args(["--models-url", &registry.url()]);
    let proxy = Process::start(&mut command).await;
    let response = post(
        proxy.address(),
        "/v1/chat/completions",
        r#"{"model":"code"}"#,
    )
    .await;
    assert_eq!(response.header("x-model-name"), Some("code"));
    assert!(
        response.text().contains("the demo upstream"),
        "{response:?}"
    );
}

#[tokio::test]
async fn an_upstream_uses_the_production_catalog() {
    let mut command = proxy();
    // Both connections are refused.
    command.args(["--upstream", "http://127.0.0.1:9"]);
    command.env("HTTPS_PROXY", "http://127.0.0.1:9");
    let proxy = Process::start(&mut command).await;
    let health = get(proxy.address(), "/health").await;
    assert_eq!(health.status(), 503);
    let service = &health.json()["model_service"];
    let url = "https://active.mor.org/active_models.json";
    assert_eq!(service["active_models_url"], url);
    assert_eq!(service["status"], "unhealthy");
}

#[tokio::test]
async fn invalid_credentials_are_not_shown() {
    for key in ["", " ", "Bearer sk-\u{e9}", "Bearer sk-1\nsk-2"] {
        let output = run(proxy().env("UPSTREAM_AUTHORIZATION", key)).await;
        assert_eq!(output.status.code(), Some(2), "{key:?}: {output:?}");
        assert!(output.stderr.contains("UPSTREAM_AUTHORIZATION"));
        assert!(!output.stderr.contains("sk-"), "{output:?}");
    }
    for headers in [
        "x-api-key sk-1",
        "x-api-key: sk-\u{e9}",
        "a: b\nhost: sk-1",
        ": sk-1",
    ] {
        let output = run(proxy().env("UPSTREAM_HEADERS", headers)).await;
        assert_eq!(output.status.code(), Some(2), "{headers:?}: {output:?}");
        assert!(output.stderr.contains("UPSTREAM_HEADERS"));
        assert!(!output.stderr.contains("sk-"), "{output:?}");
    }
}

#[tokio::test]
async fn aliases_and_endpoints_come_from_flags_and_variables() {
    let setup = Setup::with(|command| {
        command.env("MODEL_ALIASES", "gpt-*=venice-uncensored,claude=code");
        command.env("MODEL_ENDPOINTS", "/rerank=embedding");
        command.args([
            "--alias",
            "claude=venice-uncensored",
            "--endpoint",
            "=/ask=llm",
        ]);
    })
    .await;
    for name in ["gpt-9", "Claude"] {
        let response = post(setup.address(), "/ask", format!(r#"{{"model":"{name}"}}"#)).await;
        assert_eq!(response.header("x-model-name"), Some("venice-uncensored"));
    }
    let response = post(setup.address(), "/v1/rerank", r#"{"model":"gpt-9"}"#).await;
    assert_eq!(response.error(), (400, "model_type_mismatch".to_owned()));
    let list = get(setup.address(), "/v1/models").await.json();
    let models = list["data"].as_array().unwrap();
    assert_eq!(
        models
            .iter()
            .filter(|model| model["id"] == "claude")
            .count(),
        1
    );
}

#[tokio::test]
async fn policy_flags_override_the_variables() {
    for (arguments, unknown, missing) in [
        (&[][..], (404, "model_not_found"), (400, "model_required")),
        (
            &["--unknown-model", "forward", "--missing-model=forward"],
            (200, ""),
            (200, ""),
        ),
    ] {
        let setup = Setup::with(|command| {
            command.env("UNKNOWN_MODEL", "reject");
            command.env("MISSING_MODEL", "reject");
            command.args(arguments);
        })
        .await;
        for (body, (status, code)) in [(r#"{"model":"gpt-9"}"#, unknown), ("{}", missing)] {
            let response = post(setup.address(), CHAT, body).await;
            assert_eq!(response.status(), status, "{response:?}");
            assert!(response.text().contains(code), "{response:?}");
        }
    }
}

#[tokio::test]
async fn response_names_the_requested_model_unless_set_otherwise() {
    for (variable, arguments, expected) in [
        (None, &[][..], "Venice-Uncensored"),
        (Some("served"), &[], "venice-uncensored"),
        (
            Some("served"),
            &["--response-model=requested"],
            "Venice-Uncensored",
        ),
    ] {
        let setup = Setup::with(|command| {
            if let Some(variable) = variable {
                command.env("RESPONSE_MODEL", variable);
            }
            command.args(arguments);
        })
        .await;
        let body = format!(r#"{{"model":"{VENICE}"}}"#);
        let headers = "content-type: application/json\r\n";
        let steps = vec![Step::response(200, headers, &body)];
        setup.upstream.script(steps);
        let response = post(setup.address(), CHAT, r#"{"model":"Venice-Uncensored"}"#).await;
        assert_eq!(response.json()["model"], expected, "{variable:?}");
    }
}
