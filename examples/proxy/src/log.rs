//! The log on stderr, which never blocks or fails a request, and the export of traces.

use std::{
    borrow::Cow,
    env, fmt as text,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::ValueEnum;
use metrics::{counter, describe_counter};
use tracing::Subscriber;
#[cfg(feature = "otlp")]
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

#[cfg(feature = "otlp")]
use crate::otlp::{self, Traces};

/// The format of a log line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

/// The filter without `RUST_LOG`. It leaves out the routing layer's span of each
/// request, which costs as much as routing; the proxy's own lines name the model.
const DEFAULT_FILTER: &str = "info,tower_model_routing=warn,tower_model_routing::registry=info";

/// The lines that wait for stderr; further ones are dropped.
const MAX_BUFFERED_LINES: usize = 4096;

const DROPPED_LINES: &str = "proxy_log_lines_dropped_total";

/// The installed log. Writes the buffered lines when dropped, for about a second.
pub(crate) struct Log {
    writer: NonBlocking,
    guard: Option<WorkerGuard>,
    failed_writes: Arc<AtomicU64>,
    #[cfg(feature = "otlp")]
    traces: Option<Traces>,
}

impl Log {
    /// Installs the subscriber, with the filter of `RUST_LOG`, and logs panics.
    ///
    /// # Errors
    ///
    /// Returns an error if `RUST_LOG` or a variable of the export of traces is invalid.
    pub(crate) fn init(format: Format) -> Result<Self, String> {
        let filter = env::var("RUST_LOG").unwrap_or(DEFAULT_FILTER.to_owned());
        let filter = parse_filter(&filter).map_err(|error| {
            format!(
                "RUST_LOG is {filter:?}: {error}; it must be a list of levels and TARGET=LEVEL, \
                 such as info,proxy=debug"
            )
        })?;
        let failed_writes = Arc::default();
        let stderr = LineWriter {
            inner: io::stderr(),
            failed_writes: Arc::clone(&failed_writes),
        };
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_BUFFERED_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(stderr);
        #[cfg(feature = "otlp")]
        let traces = Traces::from_env()?;
        // The filter is the log's alone: what is exported does not depend on it.
        #[cfg(feature = "otlp")]
        tracing_subscriber::registry()
            .with(traces.as_ref().map(Traces::layer))
            .with(
                layer(format, writer.clone())
                    .with_filter(filter.with_target(otlp::TARGET, LevelFilter::OFF)),
            )
            .init();
        // A filter for all costs each request less.
        #[cfg(not(feature = "otlp"))]
        tracing_subscriber::registry()
            .with(filter)
            .with(layer(format, writer.clone()))
            .init();
        // The default hook writes to stderr, which may block.
        panic::set_hook(Box::new(
            |panic| tracing::error!(%panic, "a thread panicked"),
        ));
        Ok(Self {
            writer,
            guard: Some(guard),
            failed_writes,
            #[cfg(feature = "otlp")]
            traces,
        })
    }

    /// Prints lines of text to stderr, after the lines that have been logged.
    pub(crate) fn print(&self, text: &dyn text::Display) {
        let mut writer = self.writer.clone();
        for line in text.to_string().split_inclusive('\n') {
            // Never fails: lines that do not fit are dropped.
            let _ = writer.write_all(line.as_bytes());
        }
    }

    /// Returns the counter of dropped lines.
    pub(crate) fn dropped_lines(&self) -> DroppedLines {
        describe_counter!(
            DROPPED_LINES,
            "Log lines dropped because stderr failed or was not read fast enough."
        );
        DroppedLines {
            dropped: self.writer.error_counter(),
            failed_writes: Arc::clone(&self.failed_writes),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // It may log.
        #[cfg(feature = "otlp")]
        drop(self.traces.take());
        // If stderr is not read, this prints to stdout, and panics if that is closed.
        let guard = self.guard.take();
        let _ = panic::catch_unwind(AssertUnwindSafe(move || drop(guard)));
    }
}

/// Returns the layer that writes the lines.
fn layer<S>(format: Format, writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let log = fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        // It would print them to stderr.
        .log_internal_errors(false);
    match format {
        Format::Text => log.boxed(),
        // The list of spans includes the current one.
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    }
}

/// The counter `proxy_log_lines_dropped_total`.
#[derive(Debug)]
pub(crate) struct DroppedLines {
    dropped: ErrorCounter,
    failed_writes: Arc<AtomicU64>,
}

impl DroppedLines {
    /// Sets the counter. Call it before each export.
    pub(crate) fn record(&self) {
        let failed = self.failed_writes.load(Ordering::Relaxed);
        counter!(DROPPED_LINES).absolute(self.dropped.dropped_lines() as u64 + failed);
    }
}

/// Writes lines, whose unsafe characters it escapes, and counts those that fail.
struct LineWriter<W> {
    inner: W,
    failed_writes: Arc<AtomicU64>,
}

impl<W: Write> Write for LineWriter<W> {
    /// Writes one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.inner.write_all(escape(line).as_bytes()).is_err() {
            self.failed_writes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes characters that break a line, control a terminal or reorder text, as JSON does.
fn escape(line: &[u8]) -> Cow<'_, str> {
    let line = String::from_utf8_lossy(line);
    let content = line.strip_suffix('\n').unwrap_or(&line);
    if !content.contains(is_unsafe) {
        return line;
    }
    let mut escaped = String::with_capacity(line.len() + 64);
    for c in content.chars() {
        if is_unsafe(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    escaped.into()
}

/// All of these have at most four hexadecimal digits.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

fn parse_filter(filter: &str) -> Result<Targets, ParseError> {
    let directives = filter.split(',').map(str::trim);
    let directives: Vec<_> = directives.filter(|it| !it.is_empty()).collect();
    directives.join(",").parse()
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn default_leaves_out_the_span_of_each_request() {
        let filter = parse_filter(DEFAULT_FILTER).unwrap();
        assert!(!filter.would_enable("tower_model_routing", &Level::INFO));
        assert!(filter.would_enable("tower_model_routing", &Level::WARN));
        assert!(filter.would_enable("tower_model_routing::registry::refresh", &Level::INFO));
        assert!(filter.would_enable("proxy::server", &Level::INFO));
    }

    #[test]
    fn unsafe_characters_are_escaped() {
        let unsafe_characters =
            "\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}";
        for c in unsafe_characters.chars() {
            let line = escape(format!("a{c}b\n").as_bytes()).into_owned();
            assert_eq!(line, format!("a\\u{:04x}b\n", u32::from(c)));
        }
        let line = "größe \"e\u{301}\" 模型 \u{1f980}\\n\n";
        assert_eq!(escape(line.as_bytes()), line);
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let text = "a\u{7f}\u{85}\u{2028}\u{202e}b";
        let line = format!("{}\n", serde_json::json!({ "message": text }));
        let escaped = escape(line.as_bytes());
        assert!(escaped.is_ascii());
        let value: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(value["message"], text);
    }

    #[test]
    fn failed_writes_are_counted() {
        struct Full;

        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let failed_writes = Arc::new(AtomicU64::new(0));
        let mut writer = LineWriter {
            inner: Full,
            failed_writes: Arc::clone(&failed_writes),
        };
        writer.write_all(b"1\n").unwrap();
        writer.write_all(b"2\n").unwrap();
        assert_eq!(failed_writes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn filters_are_levels_by_target() {
        let filter = parse_filter("info, proxy=debug,,h2=off,").unwrap();
        assert!(filter.would_enable("other", &Level::INFO));
        assert!(!filter.would_enable("other", &Level::DEBUG));
        assert!(filter.would_enable("proxy::server", &Level::DEBUG));
        assert!(!filter.would_enable("h2", &Level::ERROR));
        for invalid in ["proxy=loud", "[request{id=1}]=debug", "a=b=c"] {
            assert!(parse_filter(invalid).is_err(), "{invalid}");
        }
    }
}
