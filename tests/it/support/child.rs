//! A test that runs itself again as a process with an environment of its own.

use std::process::{Command, Output};

use tracing_subscriber::{Layer, filter::LevelFilter, fmt::format::FmtSpan, prelude::*};

const CHILD: &str = "IT_TEST_CHILD";

/// Runs the test of this path as a process of its own, and returns what it has
/// written, when it has passed; `None` in that process.
pub(crate) fn output_of(test: &str, configure: impl FnOnce(&mut Command)) -> Option<Output> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    configure(&mut command);
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    Some(output)
}

/// Logs everything to stderr, as text and as JSON, from all threads and crates.
pub(crate) fn log_everything() {
    let everything = || LevelFilter::TRACE;
    let text = tracing_subscriber::fmt::layer()
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let json = tracing_subscriber::fmt::layer()
        .json()
        .with_span_events(FmtSpan::FULL)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(text.with_filter(everything()))
        .with(json.with_filter(everything()))
        .init();
}
