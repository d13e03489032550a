//! Captures log output in memory.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::Dispatch;
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{MakeWriter, format::FmtSpan},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Returns the log output of all crates at all levels, as text and as JSON, from every thread of
/// the runtime that runs `scenario`.
pub(crate) fn capture(scenario: impl AsyncFn()) -> String {
    let output = Output::default();
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::TRACE)
        .with(
            tracing_subscriber::fmt::layer()
                .with_span_events(FmtSpan::FULL)
                .with_ansi(false)
                .with_writer(output.clone()),
        )
        .with(
            tracing_subscriber::fmt::layer()
                .json()
                .with_span_events(FmtSpan::FULL)
                .with_writer(output.clone()),
        );
    let dispatch = Dispatch::new(subscriber);
    let on_thread_start = {
        let dispatch = dispatch.clone();
        move || std::mem::forget(dispatch.clone().set_default())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(on_thread_start)
        .build()
        .unwrap();
    // Forwards the records of the `log` crate too.
    let guard = dispatch.set_default();
    // A callsite that another test registers at the same time can miss this subscriber. The first
    // run registers all callsites, the second one is complete.
    runtime.block_on(scenario());
    tracing::callsite::rebuild_interest_cache();
    runtime.block_on(scenario());
    drop(guard);
    let output = output.0.lock().unwrap().clone();
    String::from_utf8(output).unwrap()
}

/// Panics unless the log contains each of these.
pub(crate) fn assert_logged(log: &str, expected: &[&str]) {
    for expected in expected {
        assert!(log.contains(expected), "{expected} is not in:\n{log}");
    }
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
