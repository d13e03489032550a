//! The log on stderr.

use std::{env, io};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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
    let filter = match env::var("RUST_LOG") {
        Err(_) => EnvFilter::new(DEFAULT),
        Ok(filter) => EnvFilter::try_new(&filter)
            .map_err(|error| format!("RUST_LOG is {filter:?}: {error}"))?,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false);
    match format {
        Format::Text => log.init(),
        // The list of spans has the current one as well.
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
    }
    Ok(())
}
