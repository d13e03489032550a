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

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A JSON object per line.
    Json,
}

/// What it contains if `RUST_LOG` does not say. The routing layer's span of each
/// request costs as much as routing does; what goes wrong here names the model
/// itself.
const DEFAULT: &str = "info,tower_model_routing::telemetry=warn";

/// Starts it. What it contains is up to `RUST_LOG`.
///
/// # Errors
///
/// `RUST_LOG` is not valid.
pub(crate) fn start(format: Format) -> Result<(), String> {
    let directives = match env::var("RUST_LOG") {
        Ok(directives) => directives,
        Err(_) => DEFAULT.to_owned(),
    };
    let filter = filter(&directives).map_err(|error| {
        format!(
            "RUST_LOG is {directives:?}: {error}; it must be levels, and targets with levels, \
             such as \"info,proxy=debug\""
        )
    })?;
    let log = fmt::layer().with_writer(io::stderr).with_ansi(false);
    let log = match format {
        Format::Text => log.boxed(),
        // The list of spans has the current one as well.
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    };
    tracing_subscriber::registry().with(filter).with(log).init();
    Ok(())
}

fn filter(directives: &str) -> Result<Targets, ParseError> {
    let directives = directives.split(',').map(str::trim);
    let directives: Vec<_> = directives.filter(|it| !it.is_empty()).collect();
    directives.join(",").parse()
}
