//! The log: stderr that fails or is not read, and characters that terminals interpret.

use serde_json::{Value, json};

use super::{CHAT, Setup};
use test_support::client::{get, post};

#[cfg(unix)]
mod broken_stderr {
    use std::{fs::File, io::pipe, process::Stdio, sync::Arc};

    use tokio::{io::AsyncWriteExt, io::BufReader, net::TcpStream, sync::Semaphore};

    use super::*;
    use crate::until;
    use test_support::{client::read_response, upstream::Step};

    /// Returns the number of lines that the proxy has dropped.
    async fn dropped_lines(setup: &Setup) -> f64 {
        let page = get(setup.address(), "/metrics").await.text();
        let mut lines = page.lines();
        let count = lines.find_map(|line| line.strip_prefix("proxy_log_lines_dropped_total "));
        count.unwrap().parse().unwrap()
    }

    /// Lets the log fail while a response streams, and shuts the proxy down.
    async fn changes_nothing(stderr: Stdio) {
        let permits = Arc::new(Semaphore::new(0));
        let mut setup = Setup::with(|proxy| {
            proxy.env("RUST_LOG", "trace").stderr(stderr);
        })
        .await;
        setup.proxy.close_stdout();
        setup.warm_up().await;
        setup.upstream.script(vec![
            Step::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
            Step::Wait(Arc::clone(&permits)),
            Step::send("def"),
        ]);
        let mut busy = TcpStream::connect(setup.address()).await.unwrap();
        busy.write_all(b"GET /v1/files/1 HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .unwrap();
        setup.upstream.request().await;
        setup.upstream.script(vec![Step::response(200, "", "")]);
        until("lines are dropped", async || {
            let unknown = post(setup.address(), CHAT, r#"{"model":"no-such-model"}"#).await;
            assert_eq!(unknown.status(), 200);
            dropped_lines(&setup).await > 0.0
        })
        .await;

        setup.proxy.signal("TERM").await;
        permits.add_permits(1);
        let response = read_response(&mut BufReader::new(busy)).await.unwrap();
        assert_eq!(response.text(), "abcdef");
        let output = setup.proxy.wait().await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    #[tokio::test]
    async fn closed_stderr_changes_nothing() {
        let (_, stderr) = pipe().unwrap();
        changes_nothing(stderr.into()).await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn full_stderr_changes_nothing() {
        let stderr = File::options().write(true).open("/dev/full").unwrap();
        changes_nothing(stderr.into()).await;
    }

    #[tokio::test]
    async fn unread_stderr_changes_nothing() {
        let (_unread, stderr) = pipe().unwrap();
        changes_nothing(stderr.into()).await;
    }
}

#[tokio::test]
async fn control_characters_are_escaped_in_both_formats() {
    let hostile = "\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}";
    for format in ["text", "json"] {
        let mut setup = Setup::with(|proxy| {
            proxy.args(["--log-format", format]);
            proxy.env("RUST_LOG", "info,proxy=debug");
        })
        .await;
        setup.warm_up().await;
        let path = format!("/v1/{hostile}/find-me");
        get(setup.address(), &path).await;
        let line = setup.proxy.wait_for_log(&["find-me", "200"]).await;
        assert!(line.is_ascii(), "{line}");
        let body = json!({ "model": format!("find-me-too{hostile}") });
        post(setup.address(), CHAT, body.to_string()).await;
        setup.proxy.wait_for_log(&["find-me-too"]).await;
        let log = setup.proxy.log();
        assert!(!log.contains(|c| hostile.contains(c)), "{log}");
        if format == "json" {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["spans"][0]["path"], path);
        }
    }
}
