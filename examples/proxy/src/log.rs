//! The log on stderr.

use std::{env, io};

use clap::ValueEnum;
use tracing_subscriber::{
    Layer,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

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

/// Installs the subscriber, with the filter of `RUST_LOG`.
///
/// # Errors
///
/// Returns an error if `RUST_LOG` does not parse.
pub(crate) fn init(format: Format) -> Result<(), String> {
    let filter = env::var("RUST_LOG").unwrap_or(DEFAULT_FILTER.to_owned());
    let filter = parse_filter(&filter).map_err(|error| {
        format!(
            "RUST_LOG is {filter:?}: {error}; it must be a list of levels and TARGET=LEVEL, \
             such as info,proxy=debug"
        )
    })?;
    let log = fmt::layer().with_writer(io::stderr).with_ansi(false);
    let log = match format {
        Format::Text => log.boxed(),
        // The list of spans includes the current one.
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    };
    tracing_subscriber::registry().with(filter).with(log).init();
    Ok(())
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
