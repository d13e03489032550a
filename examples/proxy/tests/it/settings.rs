//! Flags and environment.

use tokio::net::TcpListener;

use super::{CHAT, Setup, models, proxy};
use test_support::{
    client::{get, post, post_chunked},
    process::{Process, run},
    registry_server::RegistryServer,
};

#[tokio::test]
async fn a_bad_value_is_an_error_that_names_the_variable_and_the_flag() {
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
        ("RUST_LOG", "proxy=loud"),
    ] {
        let remains = run(proxy().env(variable, value)).await;
        assert_eq!(
            remains.status.code(),
            Some(2),
            "{variable}={value}: {remains:?}"
        );
        assert_eq!(remains.stdout, "");
        assert!(remains.stderr.contains(variable), "{remains:?}");
        assert!(!remains.stderr.contains("secret"), "{remains:?}");
    }
    for (flag, value) in [
        ("--listen", "nowhere"),
        ("--upstream", "nowhere"),
        ("--models-url", "nowhere"),
        ("--upstream-connect-timeout", "0"),
        ("--upstream-first-byte-timeout", "soon"),
        ("--upstream-idle-timeout", "1e99"),
        ("--client-idle-timeout", ""),
        ("--drain-timeout", "inf"),
        ("--max-held-bytes", "1.5"),
        ("--held-timeout", "for ever"),
        ("--no-such-flag", "1"),
    ] {
        let remains = run(proxy().args([flag, value])).await;
        assert_eq!(
            remains.status.code(),
            Some(2),
            "{flag} {value}: {remains:?}"
        );
        assert_eq!(remains.stdout, "");
        assert!(remains.stderr.contains(flag), "{remains:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_value_that_is_not_text_is_an_error_that_names_the_variable() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    for variable in ["LISTEN_ADDR", "UPSTREAM_URL", "DEFAULT_FALLBACK_MODEL"] {
        let remains = run(proxy().env(variable, OsStr::from_bytes(b"\xff"))).await;
        assert_eq!(remains.status.code(), Some(2), "{remains:?}");
        assert!(remains.stderr.contains(variable), "{remains:?}");
    }
}

#[tokio::test]
async fn a_busy_port_is_an_error_that_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let remains = run(proxy().args(["--listen", &address])).await;
    assert_eq!(remains.status.code(), Some(1), "{remains:?}");
    assert_eq!(remains.stdout, "");
    assert!(remains.stderr.contains(&address), "{remains:?}");
}

#[tokio::test]
async fn help_lists_the_settings_but_not_their_values() {
    let mut command = proxy();
    command.env("UPSTREAM_URL", "http://user:secret@example.com");
    let remains = run(command.arg("--help")).await;
    assert!(remains.status.success(), "{remains:?}");
    for setting in [
        "--listen",
        "UPSTREAM_URL",
        "ACTIVE_MODELS_URL",
        "MODELS_TTL_SECONDS",
    ] {
        assert!(remains.stdout.contains(setting), "{setting}");
    }
    assert!(!remains.stdout.contains("secret"));
}

#[tokio::test]
async fn a_flag_goes_before_its_variable() {
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
async fn the_bytes_that_are_held_have_bounds() {
    for (variable, flag) in [
        ("MAX_HELD_BYTES", "--max-held-bytes"),
        ("MAX_TOTAL_HELD_BYTES", "--max-total-held-bytes"),
    ] {
        let setup = Setup::with(|proxy| {
            proxy.env(variable, "1").args([flag, "100"]);
        })
        .await;
        for (padding, expected) in [(50, 200), (100, 413)] {
            let front = format!(r#"{{"a":"{}""#, "x".repeat(padding));
            let chunks = [front.as_bytes(), br#","model":"code"}"#];
            let json = [("content-type", "application/json")];
            let answer = post_chunked(setup.address(), CHAT, &json, &chunks).await;
            assert_eq!(answer.status(), expected, "{variable}");
        }
    }
}

#[tokio::test]
async fn a_models_url_without_an_upstream_goes_with_the_demo_upstream() {
    let registry = RegistryServer::start(models()).await;
    let mut command = proxy();
    command.args(["--models-url", &registry.url()]);
    let proxy = Process::start(&mut command).await;
    let answer = post(
        proxy.address(),
        "/v1/chat/completions",
        r#"{"model":"code"}"#,
    )
    .await;
    assert_eq!(answer.header("x-model-name"), Some("code"));
    assert!(answer.text().contains("the demo upstream"), "{answer:?}");
}

#[tokio::test]
async fn an_upstream_without_a_models_url_goes_with_the_production_list() {
    let mut command = proxy();
    // Answered by nobody, and so is the list.
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
