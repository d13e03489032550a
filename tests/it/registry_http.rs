//! The HTTP source against real sockets.

use std::error::Error;
use std::time::{Duration, Instant};

use tower_model_routing::{
    Fetched, Refreshed, Registry, RegistryError, RegistryPolicy, RegistrySource, ReqwestSource,
};

use crate::support::registry_server::{RegistryServer, Reply};

fn one() -> Reply {
    Reply::catalog(&[("one", "0x1")])
}

fn two() -> Reply {
    Reply::catalog(&[("two", "0x2")])
}

fn registry(url: &str) -> Registry {
    Registry::new(ReqwestSource::new(url).unwrap())
}

fn impatient(url: &str, patience: Duration) -> Registry {
    let mut policy = RegistryPolicy::default();
    policy.fetch_timeout = patience;
    Registry::with_policy(ReqwestSource::new(url).unwrap(), policy, None)
}

fn id(registry: &Registry, name: &str) -> Option<String> {
    let catalog = registry.snapshot()?;
    let (entry, _) = catalog.find(name)?;
    Some(entry.id().to_owned())
}

/// Everything an error says in any way.
fn all_text(error: &RegistryError) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.report());
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

/// What the error says when the source answers like this, while there is a catalog.
async fn failure_with(reply: Reply) -> String {
    let server = RegistryServer::start(one().etag("\"1\"")).await;
    let registry = registry(&server.url());
    registry.refresh().await.unwrap();
    server.reply(reply);
    let error = registry.refresh().await.unwrap_err();
    // The last good catalog stays, and so does its ETag.
    assert_eq!(id(&registry, "one").as_deref(), Some("0x1"));
    assert_eq!(registry.stats().last_etag.as_deref(), Some("\"1\""));
    server.reply(two());
    assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
    assert_eq!(id(&registry, "two").as_deref(), Some("0x2"));
    error.report().to_string()
}

#[tokio::test]
async fn a_list_is_fetched_and_confirmed_by_its_etag() {
    for etag in ["\"1\"", "W/\"1\""] {
        let server = RegistryServer::start(one().etag(etag)).await;
        let registry = registry(&server.url());
        assert!(server.requests().is_empty());
        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
        assert_eq!(id(&registry, "one").as_deref(), Some("0x1"));
        let first = server.last_request();
        assert_eq!(first.method, "GET");
        assert_eq!(first.target, RegistryServer::PATH);
        assert_eq!(first.header("accept"), Some("application/json"));
        assert_eq!(first.header("if-none-match"), None);
        let agent = concat!("tower-model-routing/", env!("CARGO_PKG_VERSION"));
        assert_eq!(first.header("user-agent"), Some(agent));

        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Unchanged);
        assert_eq!(server.last_request().header("if-none-match"), Some(etag));

        server.reply(two().etag("\"2\""));
        assert_eq!(registry.refresh().await.unwrap(), Refreshed::Changed);
        assert_eq!(id(&registry, "one"), None);
        let stats = registry.stats();
        assert_eq!(stats.last_etag.as_deref(), Some("\"2\""));
        assert_eq!((stats.fetches, stats.refreshes_failed), (3, 0));
    }
}

#[tokio::test]
async fn a_source_can_be_used_by_itself() {
    let server = RegistryServer::start(one()).await;
    let source = ReqwestSource::new(&server.url()).unwrap();
    source.fetch(None).await.unwrap();
    let source = ReqwestSource::with_client(&server.url(), reqwest_client()).unwrap();
    source.fetch(None).await.unwrap();
    assert_eq!(server.last_request().header("x-mine"), Some("yes"));
}

fn reqwest_client() -> reqwest::Client {
    // reqwest wants a crypto provider even for http.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let headers = [("x-mine", "yes")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
    reqwest::Client::builder()
        .no_proxy()
        .default_headers(headers.into_iter().collect())
        .build()
        .unwrap()
}

#[tokio::test]
async fn only_200_carries_a_list() {
    for (status, hint) in [
        (500, "trouble"),
        (503, "trouble"),
        (404, "check the path"),
        (401, "check the credentials"),
        (403, "check the credentials"),
        (429, "TTL"),
        (206, "only 200"),
        (203, "only 200"),
        (300, "no usable Location"),
    ] {
        let error = failure_with(one().with_status(status)).await;
        assert!(error.contains(&format!("HTTP status {status}")), "{error}");
        assert!(error.contains(hint), "{error}");
    }
    let error = failure_with(Reply::status(204)).await;
    assert!(error.contains("HTTP status 204"), "{error}");
}

#[tokio::test]
async fn a_304_that_was_not_asked_for_is_a_failure() {
    let server = RegistryServer::start(Reply::status(304)).await;
    let registry = registry(&server.url());
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("304"), "{error}");
}

#[tokio::test]
async fn a_document_that_is_no_list_is_a_failure() {
    for body in [
        "<!DOCTYPE html><html><body>Sign in</body></html>",
        "",
        "null",
        r#"{"models":[]}"#,
        r#"{"models":[{"Name":"no id"}]}"#,
        r#"{"data":[{"Id":"0x1","Name":"one"}]}"#,
        r#"[{"Id":"0x1","Name":"one"}]"#,
    ] {
        let error = failure_with(Reply::new(200, body)).await;
        assert!(error.contains("not a usable catalog"), "{error}");
    }
    let error = failure_with(Reply::new(200, "<!DOCTYPE html>\n<html>")).await;
    assert!(error.contains("HTML"), "{error}");
    assert!(!error.contains("DOCTYPE"), "{error}");
}

#[tokio::test]
async fn an_encoded_answer_is_a_failure() {
    let error = failure_with(one().header("content-encoding", "gzip")).await;
    assert!(error.contains("gzip"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_failure() {
    for reply in [one().truncated(), one().reset()] {
        let error = failure_with(reply).await;
        assert!(error.contains("the answer broke off"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_a_failure() {
    let server = RegistryServer::start(one()).await;
    let registry = registry(&server.url());
    registry.refresh().await.unwrap();
    drop(server);
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("no connection"), "{error}");
    assert_eq!(id(&registry, "one").as_deref(), Some("0x1"));
}

#[tokio::test]
async fn a_registry_that_hangs_is_given_up() {
    let server = RegistryServer::start(Reply::silent()).await;
    let registry = impatient(&server.url(), Duration::from_millis(100));
    let before = Instant::now();
    let error = registry.refresh().await.unwrap_err();
    assert!(error.is_timeout());
    assert!(before.elapsed() < Duration::from_secs(5));

    server.reply(Reply::catalog(&[("one", "0x1")]).delay(Duration::from_secs(60)));
    let error = registry.refresh().await.unwrap_err();
    assert!(error.is_timeout());
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let server = RegistryServer::start(Reply::endless(vec![b' '; 1 << 20])).await;
    let registry = registry(&server.url());
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("larger than 32 MiB"), "{error}");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let large = (32 << 20) + 1;
    let reply = one().header("content-length", large.to_string());
    let server = RegistryServer::start(reply).await;
    // Were it read, it would break off.
    let registry = registry(&server.url());
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("larger than 32 MiB"), "{error}");
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_read() {
    let server = RegistryServer::start(Reply::new(200, vec![b' '; 32 << 20])).await;
    let source = ReqwestSource::new(&server.url()).unwrap();
    match source.fetch(None).await.unwrap() {
        Fetched::Document { body, .. } => assert_eq!(body.len(), 32 << 20),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn three_redirects_are_followed_and_a_fourth_is_not() {
    let server = RegistryServer::start(one().etag("\"1\"")).await;
    let registry = registry(&server.url_of("/start?key=secret"));
    for _ in 0..2 {
        for (status, to) in [(301, "/a"), (302, "b"), (308, &*server.url())] {
            server.push(Reply::redirect(status, to));
        }
        registry.refresh().await.unwrap();
        assert_eq!(server.last_request().target, RegistryServer::PATH);
        assert_eq!(server.last_request().header("referer"), None);
    }
    assert_eq!(server.last_request().header("if-none-match"), Some("\"1\""));
    assert_eq!(registry.stats().refreshes_unchanged, 1);

    for to in ["/a", "/b", "/c", "/d"] {
        server.push(Reply::redirect(302, to));
    }
    let before = server.requests().len();
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("more than 3 redirects"), "{error}");
    assert_eq!(server.requests().len(), before + 4);
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let server = RegistryServer::start(Reply::redirect(302, RegistryServer::PATH)).await;
    let registry = registry(&server.url());
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("more than 3 redirects"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_scheme_is_not_followed() {
    let error = failure_with(Reply::redirect(302, "ftp://h/list.json")).await;
    assert!(error.contains("neither http nor https"), "{error}");
}

#[tokio::test]
async fn an_error_after_a_redirect_says_where() {
    let server = RegistryServer::start(Reply::status(404)).await;
    server.push(Reply::redirect(302, "/moved?key=secret"));
    let registry = registry(&server.url());
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("/moved after a redirect"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let server = RegistryServer::start(one()).await;
    let url = |host: &str| format!("http://user:secret@{host}/secretless?key=secret#secret");
    let here = url(&server.address().to_string());
    let registry = registry(&here);
    registry.refresh().await.unwrap();
    // "user:secret" in base 64.
    let expected = Some("Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(server.last_request().header("authorization"), expected);
    assert_eq!(server.last_request().target, "/secretless?key=secret");

    let mut errors = Vec::new();
    for reply in [
        Reply::status(500),
        Reply::new(200, "<html>"),
        one().truncated(),
        one().reset(),
        one().header("content-encoding", "br"),
        one().header("content-length", "99999999999"),
        Reply::redirect(302, "/x?key=secret"),
        Reply::redirect(302, "ftp://user:secret@h/x?key=secret"),
        Reply::redirect(302, "http://user:secret@127.0.0.1:1/x?key=secret"),
        Reply::redirect(302, "http://user:secret@[bad/x?key=secret"),
    ] {
        server.reply(reply);
        errors.push(registry.refresh().await.unwrap_err());
    }
    server.reply(Reply::silent());
    let hasty = impatient(&here, Duration::from_millis(100));
    errors.push(hasty.refresh().await.unwrap_err());
    drop(server);
    errors.push(registry.refresh().await.unwrap_err());
    for host in ["127.0.0.1:1", "does-not-exist.invalid"] {
        let registry = impatient(&url(host), Duration::from_secs(2));
        errors.push(registry.refresh().await.unwrap_err());
    }
    for error in &errors {
        let text = all_text(error).replace("secretless", "");
        assert!(!text.contains("secret"), "{text}");
        assert!(!text.contains("dXNlcjpzZWNyZXQ"), "{text}");
        assert!(error.to_string().contains("/secretless"), "{error}");
    }
    let stats = serde_json::to_string(&registry.stats()).unwrap();
    let text = format!("{registry:?} {} {stats}", registry.location());
    assert!(!text.replace("secretless", "").contains("secret"), "{text}");
}

#[test]
fn a_source_needs_no_runtime_to_be_made() {
    let registry = registry("https://models.example/active_models.json?key=secret");
    assert_eq!(
        registry.location(),
        "https://models.example/active_models.json"
    );
}
